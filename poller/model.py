"""The values that pass between the parts. No I/O, no clock, no vendor names.

Times are UTC epoch seconds (int where whole seconds are meant, float for instants of our own clock) unless a field says otherwise.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Raw, Struct, field

Kind: TypeAlias = Literal["call", "recording"]
Topic: TypeAlias = Literal["call", "recording", "window"]
"""What an event is about: a thing of a vendor, or an hour of a list that is whole."""
Direction: TypeAlias = Literal["inbound", "outbound", "internal"]
Disposition: TypeAlias = Literal["answered", "no_answer", "busy", "failed", "cancelled", "unknown"]
Precision: TypeAlias = Literal["second", "minute", "hour"]
"""How exactly `started_at` is known; `hour`: the local time lies in a doubled hour and nothing tells which one."""

DAY = 86_400
HOUR = 3_600


# --- asking ----------------------------------------------------------------------------------------------------------


class Window(Struct, frozen=True, order=True):
    """A span of the vendor's filter time. Which ends are inclusive is the endpoint's business: slices overlap."""

    begin: int
    end: int

    @property
    def span(self) -> int:
        """Seconds."""
        return self.end - self.begin


class Ask(Struct, frozen=True):
    """What is asked besides time: one combination of user, direction and filters. Each has a checkpoint of its own."""

    fields: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """Stable text, the checkpoint's key; empty for an endpoint that is asked in one way only."""
        return "&".join(f"{name}={value}" for name, value in self.fields)

    def get(self, name: str) -> str | None:
        """The value of one field, None when this combination does not ask for it."""
        return dict(self.fields).get(name)


class Limits(Struct, frozen=True, kw_only=True):
    """What the vendor allows and shows, in seconds."""

    resolution: int = 1
    """Bounds are whole multiples of it, and slices overlap by it."""
    max_span: int
    """The longest window that the vendor takes."""
    first_span: int
    """The length that slices begin with; it shrinks on timeouts and grows again."""
    min_span: int = 1
    """Never halved below this."""
    min_span_unknown_zone: int = 0
    """Least length while the vendor's zone is not known (a shorter window may lie inside a doubled hour)."""
    shows_own_time: bool = True
    """Whether a record shows the time that the filter looks at."""
    cap: int | None = None
    """The most rows that one answer can hold, where a window with more has to be cut."""
    zone: str | None = None
    """IANA zone of the vendor's local bounds, when configured: windows are split at its clock changes."""
    month_borders: bool = False
    """Rows of a thing that crosses a month's end (UTC) appear only in a window that spans it."""
    learns_offset: bool = False
    """The answer itself says the vendor's offset (Reading.offset)."""


class Request(Struct, frozen=True, kw_only=True):
    """One HTTP request, relative to the source's base URL. Never logged whole: query and form may carry hashes.

    It asks and changes nothing, whatever its method, so it may be sent a second time where it got lost. Only a login is sent once:
    a vendor may count it.
    """

    method: Literal["GET", "POST"]
    path: str
    query: tuple[tuple[str, str], ...] = ()
    form: tuple[tuple[str, str], ...] | None = None
    json: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    basic: tuple[str, str] | None = None

    def __repr__(self) -> str:
        """Names only: values may be secrets."""
        return f"<Request {self.method} {self.path} {[name for name, _ in self.query + (self.form or ())]}>"


class Page(Struct, kw_only=True):
    """How an answer ended, once it was found whole."""

    records: list[bytes] = field(default_factory=list)
    """The records that `feed` had not returned yet."""
    next: str | None = None
    """The cursor of the next page of this walk; None: this was the last one."""
    cut: bool = False
    """The window holds more than can be asked for: halve it. The records that came are good."""
    total: int | None = None
    """How many the vendor says there are in the window, where it says so."""
    again: bool = False
    """Read again on purpose (a larger page from the same key, a second walk): its rows may be those of an earlier page."""
    gap: Window | None = None
    """A span inside the window that this walk had to leave out (more rows in one second than a page can hold)."""
    doubtful: bool = False
    """Nothing came, not even an empty list, and some installations mean that by it: believed only when it comes twice."""
    suspicions: tuple[str, ...] = ()
    """Names from a closed set per endpoint: counted, logged once, never taken for the end of the data."""


# --- identity --------------------------------------------------------------------------------------------------------


class Keys(Struct, gc=False):
    """What identifies a record, taken from its raw bytes."""

    id: str
    """The thing's id as the vendor gives it, or the composed one where there is none."""
    day: int
    """Days since 1970 (UTC) of the instant in the id, else of the call's own date. Places the key, is not part of it."""
    state: str
    """The normal form of the declared fields: absent = null = "", "196" = 196."""
    own: float | None = None
    """The time that the vendor's filter looks at, where the record shows it."""
    counted: bool = False
    """There is no vendor id: equal ids within one answer are told apart by their ordinal."""


class SeenKey(Struct, frozen=True, gc=False, array_like=True):
    """One row of `seen`: an id in a state. What is read of another length is refused: stores put keys behind each other."""

    day: int
    id: Annotated[bytes, Meta(min_length=16, max_length=16)]
    state: Annotated[bytes, Meta(min_length=8, max_length=8)]


class Sighting(Struct, frozen=True, gc=False):
    """What the store knows of a key that it does not hold exactly: `states` other states of the id, under `day`."""

    day: int
    states: int


# --- events ----------------------------------------------------------------------------------------------------------


class Party(Struct, gc=False):
    """One side of a call; empty strings become null."""

    number: str | None
    name: str | None = None


class Cost(Struct, gc=False):
    """A decimal string and an ISO 4217 code where the vendor names one."""

    amount: str
    currency: str | None = None


class RecordingRef(Struct, gc=False):
    """A recording that a call mentions."""

    recording_id: str
    filename: str | None = None


class CallData(Struct, kw_only=True, gc=False, rename={"from_": "from"}):
    """`data` of a call event; not frozen because `revision` and `late` are known only after the look-up."""

    uniqueid: str | None = None
    connection_id: str | None = None
    call_id: str | None = None
    cdr_id: str | None = None
    interaction_id: str | None = None
    revision: int = 1
    late: bool = False
    started_at: datetime | None = None
    started_at_precision: Precision = "second"
    ended_at: datetime | None = None
    direction: Direction | None = None
    disposition: Disposition = "unknown"
    hangup_cause: str | None = None
    q850_cause: int | None = None
    from_: Party
    to: Party
    duration_seconds: float | None = None
    billable_seconds: float | None = None
    ringing_seconds: float | None = None
    agent: str | None = None
    queue: str | None = None
    cost: Cost | None = None
    recordings: list[RecordingRef] = field(default_factory=list)
    vendor: Raw | None = None


class RecordingData(Struct, kw_only=True, gc=False, rename={"from_": "from"}):
    """`data` of a recording event."""

    recording_id: str
    revision: int = 1
    partial: bool = False
    late: bool = False
    uniqueid: str | None = None
    connection_id: str | None = None
    call_id: str | None = None
    cdr_id: str | None = None
    interaction_id: str | None = None
    started_at: datetime | None = None
    created_at: datetime | None = None
    duration_seconds: float | None = None
    size_bytes: int | None = None
    content_type: str | None = None
    filename: str | None = None
    from_: Party
    to: Party
    media_url: str | None = None
    vendor: Raw | None = None


class Mention(Struct, kw_only=True, gc=False):
    """A recording that a call's record names: published as new and partial when its id is unseen."""

    id: str
    day: int
    data: RecordingData


class Normal(Struct, kw_only=True, gc=False):
    """A record in the program's own words. `data.vendor` is set by the endpoint to the raw record."""

    data: CallData | RecordingData
    subject: str
    """The vendor's id."""
    time: datetime | None
    """When the call or recording began, UTC."""
    partition_key: str
    """The call's id, so that a call and its recordings share a partition; else the recording's own."""
    mentions: list[Mention] = field(default_factory=list)


class Event(Struct, frozen=True, array_like=True, gc=False):
    """One entry of the log: the encoded event and what a sink needs to send it without decoding the body."""

    id: str
    type: str
    source: str
    subject: str
    time: str | None
    key: str
    seen: SeenKey | None
    """What `seen` remembers of it, so that it can be read back from Kafka; None for an entry appended again by a retry or a replay."""
    body: bytes
    """The structured CloudEvent, JSON."""
    only: tuple[str, ...] | None = None
    """The sinks that this entry is for (a dead letter's retry, a replay, a healing); None: all."""
    replay: bool = False
    """Whether somebody asked for it again; sinks say so beside the event."""


# --- the store -------------------------------------------------------------------------------------------------------


class Position(Struct, frozen=True):
    """A place in a shard's log: the last entry of a segment. The beginning is (0, b"")."""

    seq: int = 0
    chain: bytes = b""


class Progress(Struct, frozen=True):
    """What a sink says was published under one identity.

    `at`: when it was written. `moved`: the identity under which the work went on from there; None where it did not. `shards`: how
    many the store has of whoever wrote it; 0: not known.
    """

    position: Position
    at: float
    moved: str | None = None
    shards: int = 0


class Held(Struct, frozen=True):
    """What a writer believes about its shard; every write compares it with the store."""

    shard: int
    epoch: int
    last: Position


class Segment(Struct, frozen=True):
    """The events of one commit: seqs `first` to `last`, `chain` after the last one, `data` = segment.pack(events)."""

    first: int
    last: int
    chain: bytes
    at: float
    data: bytes
    recorded_bytes: int = 0
    """Size of the bodies before compression."""
    only: tuple[str, ...] | None = None
    """The sinks that all of its entries are for (a replay, a retry, a healing); None: not all for the same ones, or for all."""


class Behind(Struct, frozen=True):
    """What lies behind a place in the log, as far as it may be meant for one sink."""

    events: int = 0
    size: int = 0
    """Bytes of the bodies before compression."""
    oldest: float | None = None
    """When the oldest was committed; None where there is none."""


class CheckpointKey(Struct, frozen=True):
    """Whose checkpoint: source id, endpoint name, Ask.key."""

    source: str
    endpoint: str
    ask: str = ""


class DeadRecord(Struct, frozen=True, kw_only=True):
    """A record that could not be understood. `id`: hash of source, endpoint and raw bytes, so the same row is kept once."""

    id: str
    source: str
    endpoint: str
    ask: str
    reason: str
    error: str
    raw: bytes
    offset: int | None
    """The vendor's UTC offset that its answer showed, needed to read it again."""
    at: float


class DeadEvent(Struct, frozen=True, kw_only=True):
    """An event that a sink can never take, with its bytes."""

    id: str
    sink: str
    shard: int
    seq: int
    reason: str
    error: str
    event: Event
    at: float

    @property
    def source(self) -> str:
        """The id of the source that it came from, as the event names it (`/poller/ID/calls`); empty where it names none."""
        parts = self.event.source.split("/")
        return parts[2] if len(parts) > 2 else ""


class PageCommit(Struct, kw_only=True):
    """What one transaction of the way in writes. `seen` pairs a key with the seq of its event (0: none)."""

    segment: Segment | None = None
    seen: list[tuple[SeenKey, int]] = field(default_factory=list)
    checkpoints: Mapping[CheckpointKey, bytes] = field(default_factory=dict)
    dead: list[DeadRecord] = field(default_factory=list)
    closes: tuple[str, ...] = ()
    """Ids of dead letters that this commit closes (a retry)."""


class Healing(Struct, kw_only=True):
    """How a store that does not share its history with what one sink published is brought in line (the progress rule).

    Nothing of the log is dropped: other sinks still need it. What the sink lacks is appended again as `segments`, numbered
    above everything that was ever published, and the sink's position moves to right before them.
    """

    sink: str
    position: Position
    """The sink's position afterwards: (the larger of the log's last seq and the published one, the log's last chain)."""
    last: Position
    """The shard's last position afterwards: the end of `segments`, or `position` where there are none."""
    segments: list[Segment] = field(default_factory=list)
    seen: list[tuple[SeenKey, int]] = field(default_factory=list)
    checkpoints: Mapping[CheckpointKey, bytes] = field(default_factory=dict)


def utc(epoch: float) -> datetime:
    """An epoch as an aware datetime."""
    return datetime.fromtimestamp(epoch, UTC)
