"""An invented phone system over real HTTP, and the endpoint that reads it. Honest: it shows what its filter lets through.

An answer has one record per line; its last line begins with `=` and says how the page ended.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from anyio.abc import ByteStream
from fake_clock import FakeClock
from http_peer import Asked, answer

from poller.errors import BadRecord, ClockChange, Denied, Malformed, Truncated
from poller.model import (
    DAY,
    Ask,
    CallData,
    Keys,
    Kind,
    Limits,
    Mention,
    Normal,
    Page,
    Party,
    RecordingData,
    Request,
    Window,
    utc,
)

Record = dict[str, Any]


@dataclass
class Query:
    """One request as the vendor understood it."""

    path: str
    window: Window
    cursor: str | None
    at: float
    ask: dict[str, str]


Say = Callable[[Query], bytes | None]
"""A whole answer instead of the usual one; None leaves it to the usual one."""


@dataclass
class Phones:
    """The vendor. `skew`: its clock minus ours; `takes`: seconds of the fake clock that each answer lasts."""

    clock: FakeClock
    skew: float = 0.0
    dated: bool = False
    takes: float = 0.0
    page: int | None = None
    rows: dict[str, list[tuple[float, float, Record]]] = field(default_factory=dict)
    asked: list[Query] = field(default_factory=list)
    say: Say | None = None

    @property
    def now(self) -> float:
        """The vendor's own clock."""
        return self.clock.now() + self.skew

    def add(self, own: float, visible: float | None = None, *, path: str = "calls", **record: Any) -> None:
        """A row that shows from `visible` on (the vendor's clock); at once unless given."""
        row = {"id": f"c{len(self.rows.get(path, ()))}", "own": own} | record
        self.rows.setdefault(path, []).append((own, own if visible is None else visible, row))

    async def respond(self, asked: Asked, stream: ByteStream) -> None:
        url = urlsplit(asked.target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        window = Window(int(query.pop("begin")), int(query.pop("end")))
        path = url.path.rsplit("/", 1)[-1]
        one = Query(path, window, query.pop("cursor", None), self.now, query)
        self.asked.append(one)
        said = self.say(one) if self.say is not None else None
        body = self.whole(self.usual(one)) if said is None else said
        self.clock.wall += self.takes
        self.clock.time += self.takes
        await stream.send(body)

    def visible(self, query: Query) -> list[Record]:
        """The rows of the window that show now."""
        begin, end = query.window.begin, query.window.end
        rows = self.rows.get(query.path, [])
        return [row for own, at, row in rows if begin <= own <= end and at <= query.at]

    def usual(self, query: Query) -> bytes:
        """One page."""
        rows, first = self.visible(query), int(query.cursor or 0)
        if self.page is None:
            return lines(rows)
        last = first + self.page
        return lines(rows[first:last], next=str(last) if last < len(rows) else None)

    def whole(self, body: bytes, status: int = 200, **headers: str) -> bytes:
        """An answer with its head."""
        if self.dated:
            headers["date"] = formatdate(self.now, usegmt=True)
        return answer(status, body, **headers)


def lines(rows: Iterable[Record | bytes], **end: Any) -> bytes:
    """A page; `end` are the fields of Page (`gap` as a pair), `clock_change` and `offset` (at the window's end)."""
    found = [row if isinstance(row, bytes) else msgspec.json.encode(row) for row in rows]
    return b"\n".join([*found, b"=" + msgspec.json.encode(end), b""])


class Listed:
    """One list of the invented vendor."""

    version = 1

    def __init__(self, kind: Kind = "call", *, asks: tuple[Ask, ...] = (Ask(),), **limits: Any) -> None:
        self.kind = kind
        self.name = f"phones.{kind}s"
        self.asks = asks
        self.limits = Limits(**({"max_span": 31 * DAY, "first_span": 31 * DAY} | limits))
        self.mended = False
        """Whether the parser understands what it did not understand before."""

    def request(self, ask: Ask, window: Window, cursor: str | None) -> Request:
        query = [("begin", str(window.begin)), ("end", str(window.end)), *ask.fields]
        query += [("cursor", cursor)] if cursor is not None else []
        return Request(method="GET", path=f"{self.kind}s", query=tuple(query))

    def reading(self, ask: Ask, window: Window, cursor: str | None) -> "LinesReading":  # noqa: ARG002 the protocol's
        return LinesReading()

    def keys(self, record: bytes, offset: int | None) -> Keys:  # noqa: ARG002 the protocol's
        row = self._read(record)
        if "defect" in row and not self.mended:
            raise ZeroDivisionError("a defect")
        own = row.get("own") if self.limits.shows_own_time else None
        counted = row.get("id") is None
        name = f"{row['own']}|{row.get('caller')}" if counted else str(row["id"])
        return Keys(name, row.get("day", int(row["own"] // DAY)), str(row.get("state", "")), own, counted)

    def normalise(self, record: bytes, offset: int | None) -> Normal:  # noqa: ARG002 the protocol's
        row = self._read(record)
        if "later_defect" in row and not self.mended:
            raise KeyError("a defect that shows later")
        at, raw = utc(row["own"]), msgspec.Raw(msgspec.json.encode(row) if self.mended else record)
        caller, called = Party(row.get("caller")), Party(row.get("called"))
        if self.kind == "recording":
            recording = RecordingData(
                recording_id=row["id"], call_id=row.get("call"), started_at=at, from_=caller, to=called,
                media_url=row.get("url"), vendor=raw,
            )  # fmt: skip
            return Normal(data=recording, subject=row["id"], time=at, partition_key=row.get("call") or row["id"])
        call = str(row.get("id"))
        mentions = [
            Mention(
                id=name,
                day=int(row["own"] // DAY),
                data=RecordingData(
                    recording_id=name, partial=True, call_id=call, started_at=at, from_=caller, to=called
                ),
            )
            for name in row.get("recordings", ())
        ]
        data = CallData(call_id=call, started_at=at, from_=caller, to=called, vendor=raw)
        return Normal(data=data, subject=call, time=at, partition_key=call, mentions=mentions)

    def _read(self, record: bytes) -> Record:
        try:
            row: Record = msgspec.json.decode(record, type=dict[str, Any])
        except msgspec.DecodeError:
            if not self.mended:
                raise BadRecord("is no JSON") from None
            row = {"id": "mended", "own": 1_699_999_000}
        return row


class LinesReading:
    """One answer of the invented vendor."""

    def __init__(self) -> None:
        self.offset: int | None = None
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        if whole and whole[-1].startswith(b"="):
            self._rest = whole.pop()
        return whole

    def close(self) -> Page:
        if not self._rest.startswith(b"="):
            raise Truncated("the answer ends before its last line")
        try:
            end = msgspec.json.decode(self._rest[1:], type=dict[str, Any])
        except msgspec.DecodeError:
            raise Malformed("the last line is no JSON") from None
        if end.pop("denied", False):
            raise Denied("the vendor refuses the credential")
        self.offset = end.pop("offset", None)
        if end.pop("clock_change", False):
            raise ClockChange("the clock changed inside the window")
        gap = end.pop("gap", None)
        return Page(**end, gap=Window(*gap) if gap else None)
