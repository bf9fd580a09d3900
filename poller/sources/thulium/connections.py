"""thulium.connections: every call, unanswered ones included (BEHAVIOUR 2.2)."""

from zoneinfo import ZoneInfo

import msgspec
from msgspec import Raw, Struct

from poller.errors import BadRecord
from poller.jsontext import Text, fields, number, words
from poller.jsontext import normal as plain
from poller.model import (
    Ask,
    CallData,
    Direction,
    Disposition,
    Keys,
    Kind,
    Mention,
    Normal,
    Party,
    RecordingData,
    RecordingRef,
    Request,
    Window,
    utc,
)
from poller.sources.thulium.config import ConnectionsOptions
from poller.sources.thulium.media import content_type
from poller.sources.thulium.pages import PageReading, limits, page_request
from poller.sources.thulium.times import DAY, id_instant, instants, resolve, start, sure


class Row(Struct, gc=False):
    """What both lists have. `connection_id` as written: as a number `.10` would become `.1`."""

    connection_id: Raw = Raw(b'""')
    date: Text = ""
    src: Text = ""
    dst: Text = ""
    disposition: Text = ""
    duration: Text = ""
    billsec: Text = ""
    user: Text = ""
    filename: Text = ""
    type: Text = ""


class _Connection(Row, gc=False):
    queue_id: Text = ""


_connection = msgspec.json.Decoder(_Connection).decode
_text = msgspec.json.Decoder(str).decode
_NO_ID = {b"n", b"t", b"f", b"[", b"{"}
"""How null, true, false, lists and objects begin."""

DIRECTIONS: dict[str, Direction] = {"inbound": "inbound", "outbound": "outbound", "internal": "internal"}
DISPOSITIONS: dict[str, Disposition] = {
    "answered": "answered",
    "no answer": "no_answer",
    "busy": "busy",
    "failed": "failed",
    "congestion": "failed",
    "cancel": "cancelled",
    "cancelled": "cancelled",
}


class Connections:
    """The endpoint."""

    name = "thulium.connections"
    kind: Kind = "call"
    version = 1
    asks: tuple[Ask, ...] = (Ask(),)

    def __init__(self, options: ConnectionsOptions, basic: tuple[str, str], timezone: str) -> None:
        self._path = options.path
        self._basic = basic
        self._zone = ZoneInfo(timezone)
        self.limits = limits(timezone)

    def request(self, ask: Ask, window: Window, cursor: str | None) -> Request:
        """100 rows by call date."""
        return page_request(self._path, self._basic, self._zone, window, cursor)

    def reading(self, ask: Ask, window: Window, cursor: str | None) -> PageReading:
        """The answer to it."""
        return PageReading(self.name, window, cursor)

    def keys(self, record: bytes, offset: int | None) -> Keys:
        """The connection_id, and the state of disposition, numbers, durations, user, queue and filename."""
        row = _row(record)
        identity = connection_id(row)
        if not identity:
            raise BadRecord("a connection without connection_id")
        hint = id_instant(identity)
        epochs = instants(plain(row.date), self._zone)
        declared = (row.disposition, row.src, row.dst, row.duration, row.billsec, row.user, row.queue_id, row.filename)
        day = placed(hint, resolve(epochs, hint))
        return Keys(identity, day, "\x1f".join(map(plain, declared)), own=sure(epochs, hint))

    def normalise(self, record: bytes, offset: int | None) -> Normal:
        """The call; its file name becomes a mention."""
        row = _row(record)
        identity = connection_id(row)
        if not identity:
            raise BadRecord("a connection without connection_id")
        hint = id_instant(identity)
        epochs = instants(plain(row.date), self._zone)
        began, precision = start(epochs, plain(row.date), hint)
        duration, billed = number(row.duration), number(row.billsec)
        data = CallData(
            connection_id=identity,
            started_at=utc(began) if began is not None else None,
            started_at_precision=precision,
            ended_at=utc(began + duration)
            if began is not None and duration is not None and precision == "second"
            else None,
            direction=DIRECTIONS.get(plain(row.type).strip().lower()),
            disposition=DISPOSITIONS.get(plain(row.disposition).strip().lower().replace("_", " "), "unknown"),
            from_=Party(words(row.src)),
            to=Party(words(row.dst)),
            duration_seconds=duration,
            billable_seconds=billed,
            ringing_seconds=ringing(duration, billed),
            agent=words(row.user),
            queue=words(row.queue_id),
            vendor=Raw(record),
        )
        normal = Normal(data=data, subject=identity, time=data.started_at, partition_key=identity)
        if filename := words(row.filename):
            data.recordings.append(RecordingRef(filename, filename))
            normal.mentions.append(_mention(data, filename, placed(hint, resolve(epochs, hint))))
        return normal


def _mention(data: CallData, filename: str, day: int) -> Mention:
    return Mention(
        id=filename,
        day=day,
        data=RecordingData(
            recording_id=filename,
            partial=True,
            connection_id=data.connection_id,
            started_at=data.started_at,
            content_type=content_type(filename),
            filename=filename,
            from_=data.from_,
            to=data.to,
        ),
    )


def _row(record: bytes) -> _Connection:
    try:
        return _connection(record)
    except (ValueError, RecursionError):
        return fields(record, _connection, _Connection)


def connection_id(row: Row) -> str:
    """The id as text, whether it was written as text or as a number; what is neither is no id."""
    raw = bytes(row.connection_id)
    if raw[:1] == b'"':
        return _text(raw).strip()
    return "" if raw[:1] in _NO_ID else raw.decode()


def placed(hint: int | None, own: int | None) -> int:
    """The day of the id's instant, else of the call's date. Raises BadRecord."""
    instant = own if hint is None else hint
    if instant is None:
        raise BadRecord("no sane date, and no instant in connection_id")
    return instant // DAY


def ringing(duration: float | None, billed: float | None) -> float | None:
    """The platform counts the duration from the first ring and the billed time from the answer."""
    return duration - billed if duration is not None and billed is not None and duration >= billed else None
