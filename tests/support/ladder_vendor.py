"""An invented vendor in this process, with the manners of the three real ones, and the endpoint that reads it.

Honest: it shows what its filter lets through at the moment it is asked. Times are whole epoch seconds of its own clock.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import anyio.lowlevel
from fake_clock import FakeClock
from msgspec import Struct, field
from msgspec.json import decode
from polling_vendor import Listed, Record, lines

from poller.errors import RateLimited, Unreachable
from poller.model import DAY, Ask, Keys, Limits, Request, Window

WARSAW = ZoneInfo("Europe/Warsaw")
USERS = ("5", "9")
ASKS = {user: Ask((("user", user),)) for user in USERS}


class Manner(Struct, frozen=True):
    """How a vendor answers. `local`: it filters by its own wall clock, whose texts carry no offset."""

    limits: Limits
    local: bool = False
    page: int | None = None


MANNERS = {
    "mor": Manner(
        Limits(max_span=31 * DAY, first_span=3_600, min_span_unknown_zone=10_800, learns_offset=True), local=True
    ),
    "thulium": Manner(
        Limits(resolution=60, min_span=60, max_span=31 * DAY, first_span=21_600, zone="Europe/Warsaw", cap=8),
        local=True,
    ),
    "fonouc": Manner(Limits(max_span=9_000, first_span=3_600, shows_own_time=False, month_borders=True), page=4),
}
"""One answer of the second holds 8 rows, where the real one's hold 100."""


class Row(Struct):
    """One call. `shown`: since when it shows which state, oldest first."""

    id: str
    own: int
    began: int
    """What a record shows where the filter looks at something else."""
    users: tuple[str, ...]
    shown: list[int]
    text: int
    """What the filter compares."""
    crossed: int
    """How long it went on after a month's end (UTC); 0 where it lies in one month."""

    @property
    def visible(self) -> int:
        """When it appeared."""
        return self.shown[0]

    def state(self, at: int) -> int:
        """Which state it shows; -1: it does not show yet."""
        return sum(1 for since in self.shown if since <= at) - 1


class Faults(Struct):
    """What happens to the next requests, one after the other: `away`, `busy`, or an answer cut off at so many hundredths."""

    next: list[str | int] = field(default_factory=list)
    unreadable: int | None = None
    """A second of which no answer can be read."""


class Said(Struct):
    """What the way in sees of an answer."""

    body: bytes
    vendor_time: float | None
    skew: float | None
    ahead: float

    async def chunks(self) -> AsyncIterator[bytes]:
        """In two pieces."""
        half = len(self.body) // 2
        for piece in (self.body[:half], self.body[half:]):
            await anyio.lowlevel.checkpoint()
            yield piece


class World:
    """The vendor. `skew`: its clock minus ours; `dated`: whether its answers show it; `takes`: seconds of each answer.

    `open_ends`: a row at a window's very bound is not in it (where a clock change cuts windows, that would lose it).
    """

    def __init__(self, manner: Manner, now: int, rnd: random.Random, *, open_ends: bool = False) -> None:
        self.open_ends = open_ends
        self.manner = manner
        self.clock = FakeClock(now)
        self.rnd = rnd
        self.skew, self.dated, self.takes = 0, True, 0
        self.rows: list[Row] = []
        self.faults = Faults()

    @property
    def now(self) -> int:
        """The vendor's own clock."""
        return int(self.clock.now()) + self.skew

    def pass_time(self, seconds: int) -> None:
        """Nobody sleeps."""
        self.clock.wall += seconds
        self.clock.time += seconds

    def add(self, own: int, visible: int) -> None:
        """A call of one user or of both; some change once or twice after they have appeared."""
        rnd = self.rnd
        users = rnd.choice([USERS[:1], USERS[1:], USERS])
        shown = [visible, *sorted(visible + rnd.choice([1, 100, 2_000]) for _ in range(rnd.choice([0, 0, 0, 1, 2])))]
        crossed = own - month_start(own)
        if not self.manner.limits.month_borders or crossed > 250 or rnd.random() < 0.3:
            crossed = 0
        self.rows.append(
            Row(f"c{len(self.rows)}", own, own - crossed - 5, users, sorted(set(shown)), self.text(own), crossed)
        )

    # --- answering ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def fetch(self, request: Request, **_: Any) -> AsyncIterator[Said]:
        """As poller.http.Vendor does it. What is shown is what is there when the answer begins."""
        await anyio.lowlevel.checkpoint()
        fault = self.faults.next.pop(0) if self.faults.next else None
        began = self.now
        body = self.body(request)
        self.pass_time(self.takes)
        if fault == "away":
            raise Unreachable("the vendor is away")
        if fault == "busy":
            raise RateLimited("fewer requests, please", 30.0)
        if isinstance(fault, int):
            body = body[: len(body) * fault // 100]
        time, skew = (began, self.skew + 0.5) if self.dated else (None, None)
        yield Said(body, time, skew, self.clock.now() - self.clock.mono())

    def body(self, request: Request) -> bytes:
        """One answer. Where a second cannot be read, it breaks off there."""
        query = dict(request.query)
        window = Window(int(query["begin"]), int(query["end"]))
        end: dict[str, Any] = {}
        if self.manner.limits.learns_offset:
            end = {"offset": offset(window.end), "clock_change": offset(window.begin) != offset(window.end)}
        asked = Window(self.text(window.begin), self.text(window.end))
        rows = [row for row in self.rows if self.shows(row, asked, query["user"])]
        rows.sort(key=lambda row: (row.own, row.id), reverse=True)
        found, more = self.page(rows, window, query.get("cursor"))
        said = lines([self.record(row) for row in found], **end, **more)
        broken = self.faults.unreadable
        return said if broken is None or not window.begin <= broken <= window.end else said[: len(said) // 2]

    def shows(self, row: Row, window: Window, user: str) -> bool:
        """Whether a row passes the filter now. `window`: as texts."""
        if not window.begin <= row.text <= window.end or user not in row.users or row.visible > self.now:
            return False
        if self.open_ends and (
            row.text == window.begin or (row.text == window.end and self.manner.limits.resolution == 1)
        ):
            return False
        return not row.crossed or window.begin < row.own - row.crossed

    def page(self, rows: list[Row], window: Window, cursor: str | None) -> tuple[list[Row], dict[str, Any]]:
        """Pages go from the newest to the oldest by a key; more than a cap cannot be asked for in a long window."""
        cap, size = self.manner.limits.cap, self.manner.page
        if cap is not None and len(rows) > cap and window.span > 2 * self.manner.limits.resolution:
            return rows[:cap], {"cut": True}
        if size is None:
            return rows, {}
        own, _, name = (cursor or "").partition("|")
        left = [row for row in rows if cursor is None or (row.own, row.id) <= (int(own), name)]
        return left[:size], {"next": f"{left[size].own}|{left[size].id}"} if len(left) > size else {}

    def text(self, at: int) -> int:
        """What the filter compares: whole minutes where there are no seconds, local time where there is no offset."""
        at += offset(at) if self.manner.local else 0
        return at - at % self.manner.limits.resolution

    def record(self, row: Row) -> Record:
        """As it shows now."""
        local = row.own + offset(row.own) if self.manner.local else row.began
        return {"id": row.id, "own": local - local % self.manner.limits.resolution, "state": row.state(self.now)}


class Calls(Listed):
    """The vendor's list, asked for each of some users."""

    def __init__(self, manner: Manner, users: list[str]) -> None:
        super().__init__("call", asks=tuple(ASKS[user] for user in users))
        self.limits = manner.limits
        self._manner = manner

    def keys(self, record: bytes, offset: int | None) -> Keys:
        """A local time that can mean two instants shows none."""
        row = decode(record)
        offsets = [0]
        if self._manner.local:
            offsets = readings(row["own"]) if offset is None else [offset]
        own = row["own"] - offsets[0]
        sure = self.limits.shows_own_time and len(offsets) == 1
        return Keys(row["id"], own // DAY, str(row["state"]), own if sure else None)


def offset(at: int) -> int:
    """Seconds that the vendor's wall clock is ahead of UTC."""
    shift = datetime.fromtimestamp(at, WARSAW).utcoffset()
    assert shift is not None
    return int(shift.total_seconds())


def readings(local: int) -> list[int]:
    """The offsets that a local time can have."""
    wall = datetime.fromtimestamp(local, UTC).replace(tzinfo=WARSAW)
    return sorted({local - int(wall.replace(fold=fold).timestamp()) for fold in (0, 1)}, reverse=True)


def month_start(at: int) -> int:
    """The first moment of the month (UTC) in which it lies."""
    first = datetime.fromtimestamp(at, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return int(first.timestamp())
