"""Pure: a normalised record as a CloudEvent, encoded once for every sink."""

from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from poller.identity import event_id
from poller.model import CallData, Event, Kind, Normal, RecordingData, SeenKey

SCHEMAS = {
    "call": "urn:telephony:schema:call:1",
    "recording": "urn:telephony:schema:recording:1",
    "window": "urn:telephony:schema:window:1",
}
WINDOW = "telephony.window.complete"
CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"


class WindowCounts(Struct, kw_only=True, gc=False):
    """What became of the records of a window."""

    new: int = 0
    updated: int = 0
    duplicate: int = 0
    invalid: int = 0


class WindowData(Struct, kw_only=True, gc=False, rename={"from_": "from"}):
    """`data` of a window event."""

    source: str
    endpoint: str
    kind: Kind
    from_: datetime
    until: datetime
    counts: WindowCounts | None
    late_by_seconds: float | None


class CloudEvent(Struct, frozen=True, omit_defaults=True, gc=False):
    """The structured form. Absent attributes are left out; `data` keeps its nulls."""

    specversion: str
    id: str
    source: str
    type: str
    datacontenttype: str
    dataschema: str
    partitionkey: str
    recordedtime: str
    sequence: str
    data: CallData | RecordingData | WindowData
    subject: str | None = None
    time: str | None = None
    dataref: str | None = None


_TYPES: dict[Kind, tuple[str, str]] = {
    "call": ("telephony.call.updated", "telephony.call.new"),
    "recording": ("telephony.recording.updated", "telephony.recording.new"),
}
"""By whether the thing is new."""
_json = msgspec.json.Encoder()
_encode, _encode_into = _json.encode, _json.encode_into
_buffer = bytearray()
"""Where a body is written, in the loop's thread alone: bytes that grow with each body anew are moved three times before it ends."""
_MOST_KEPT = 1 << 20


def sequence(seq: int) -> str:
    """The log's number, zero-padded so that text sorts as numbers do."""
    return str(seq).zfill(20)


def instant(at: float) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Encoder:
    """Encodes the events of one source and kind."""

    def __init__(self, source: str, kind: Kind) -> None:
        self._source = f"/poller/{source}/{kind}s"
        self._types = _TYPES[kind]
        self._schema = SCHEMAS[kind]

    def event(self, normal: Normal, key: SeenKey, *, new: bool, seq: int, recorded: str) -> Event:
        """One entry of the log. `seq` is the one that it will have; `recorded` is when we first saw it."""
        data = normal.data
        identifier = event_id(key, new=new)
        time = _encode(normal.time)[1:-1].decode() if normal.time is not None else None
        kind = self._types[new]
        _encode_into(
            CloudEvent(
                specversion="1.0",
                id=identifier,
                source=self._source,
                type=kind,
                datacontenttype="application/json",
                dataschema=self._schema,
                partitionkey=normal.partition_key,
                recordedtime=recorded,
                sequence=sequence(seq),
                data=data,
                subject=normal.subject,
                time=time,
                dataref=data.media_url if isinstance(data, RecordingData) else None,
            ),
            _buffer,
        )
        body = bytes(_buffer)
        if len(body) > _MOST_KEPT:
            _buffer.clear()
        return Event(identifier, kind, self._source, normal.subject, time, normal.partition_key, key, body)


def window_event(data: WindowData, key: SeenKey, *, seq: int, recorded: str, only: tuple[str, ...]) -> Event:
    """Says that a window is whole, to the sinks that ask for it. Those of one list share a key, so that they come in order."""
    identifier, source = event_id(key, new=True), f"/poller/{data.source}/windows"
    time, partition = _encode(data.from_)[1:-1].decode(), f"{data.source}/{data.endpoint}"
    body = _encode(
        CloudEvent(
            specversion="1.0",
            id=identifier,
            source=source,
            type=WINDOW,
            datacontenttype="application/json",
            dataschema=SCHEMAS["window"],
            partitionkey=partition,
            recordedtime=recorded,
            sequence=sequence(seq),
            data=data,
            subject=data.endpoint,
            time=time,
        )
    )
    return Event(identifier, WINDOW, source, data.endpoint, time, partition, key, body, only)
