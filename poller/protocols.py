"""What a source, a sink and a store must offer. One folder per subject under `sources`, `sinks` and `stores` implements these.

Endpoints do no I/O, know no clock and write no log: bytes in, records and values out.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from poller.kept import Attempted, Discarded, LetterHead, LetterPlace, LetterTotal, Place, Retry, Which
from poller.model import (
    Ask,
    Behind,
    CheckpointKey,
    DeadEvent,
    DeadRecord,
    Healing,
    Held,
    Keys,
    Kind,
    Limits,
    Normal,
    Page,
    PageCommit,
    Position,
    Progress,
    Request,
    SeenKey,
    Segment,
    Sighting,
    Window,
)

# --- sources ---------------------------------------------------------------------------------------------------------


class Reading(Protocol):
    """One answer while it is being read."""

    offset: int | None
    """The vendor's UTC offset in seconds as this answer shows it; None where it shows none (yet).

    With ClockChange, that of the window's end: without any the next window could not be made shorter.
    """

    def feed(self, data: bytes) -> list[bytes]:
        """The records that are complete now, each as JSON bytes. Raises BadAnswer, Denied or Refused."""
        ...

    def close(self) -> Page:
        """The rest, once the body has ended. Raises BadAnswer where the answer was not whole."""
        ...


class Endpoint(Protocol):
    """One list of one vendor. Pure."""

    name: str
    """`mor.user_calls`."""
    kind: Kind
    version: int
    """Of the identity: raised whenever the id or the declared fields change."""
    limits: Limits
    asks: tuple[Ask, ...]
    """Never empty; what is asked of each window, one checkpoint for each."""

    def request(self, ask: Ask, window: Window, cursor: str | None) -> Request:
        """The request for one page; `cursor` is None for the first one."""
        ...

    def reading(self, ask: Ask, window: Window, cursor: str | None) -> Reading:
        """A parser for the answer to `request` with the same arguments."""
        ...

    def keys(self, record: bytes, offset: int | None) -> Keys:
        """What identifies the record. Raises BadRecord. The hottest function of the program."""
        ...

    def normalise(self, record: bytes, offset: int | None) -> Normal:
        """The record in the program's words. Raises BadRecord."""
        ...


class Token(Struct, frozen=True):
    """A credential that was logged in for. `expires` in epoch seconds."""

    headers: tuple[tuple[str, str], ...]
    expires: float

    def __repr__(self) -> str:
        """Without the credential."""
        return f"<Token until {self.expires:.0f}>"


class Login(Protocol):
    """How a source that needs a token gets one. Pure; the caller keeps one login in flight per source."""

    def request(self) -> Request:
        """The login request."""
        ...

    def token(self, body: bytes, now: float) -> Token:
        """Reads the answer. Raises Denied or BadAnswer."""
        ...


class Media(Protocol):
    """Where the file of a recording can be fetched. Pure."""

    def find(self, recording_id: str, known: Mapping[str, object] | None) -> Request | None:
        """A request whose answer helps to locate the file; None where the id is enough. `known`: the event's `data`, if any."""
        ...

    def files(self, recording_id: str, known: Mapping[str, object] | None, found: bytes | None) -> list["MediaFile"]:
        """Candidates in the order to try. Raises Refused with a sentence where there cannot be a file."""
        ...


class MediaFile(Struct, frozen=True):
    """One place to fetch a file from. `size`: expected bytes, where the vendor said so."""

    request: Request
    size: int | None = None


class Source(Protocol):
    """One configured vendor system."""

    endpoints: Mapping[str, Endpoint]
    """By their config key: `user_calls`."""
    login: Login | None
    media: Media | None


# --- sinks -----------------------------------------------------------------------------------------------------------


class Sent(Struct):
    """The result of one `send`."""

    position: Position
    """Everything up to here is delivered, except `dead`."""
    dead: list[DeadEvent]
    """Events that the sink can never take. Not empty: nothing was sent; write these first, then send the same segments again."""


class Lane(Protocol):
    """One shard's way into a sink, from taking it over until an error."""

    progress: Progress | None
    """What this sink says was published, None where it keeps no progress or there is none."""

    def published(self, since: float | None) -> AsyncIterator["Published"]:
        """Reads back what is in the sink (whole, or written at or after `since`), to heal a store."""
        ...

    async def send(self, segments: Sequence[Segment]) -> Sent:
        """Delivers whole segments, all or nothing. Raises SinkFault; the lane is then of no more use."""
        ...

    async def note(self, position: Position, *, moved: str | None = None) -> None:
        """Writes `position` as progress without events; to `moved`, the identity under which the work goes on, at the same moment."""
        ...

    async def close(self) -> None:
        """Bounded; never raises."""
        ...


class Published(Struct, frozen=True):
    """One event as found in a sink."""

    id: str
    seen: SeenKey | None
    type: str
    source: str
    subject: str
    time: str | None
    key: str
    body: bytes
    at: float


class Sink(Protocol):
    """Where events go."""

    name: str
    keeps_progress: bool
    """Whether a lane's `progress` decides what was delivered (exactly once)."""
    pauses_polling: bool
    """What a backlog over `max_pending` does: pause polling (nothing is dropped), or make dead letters of the oldest events."""

    def identity(self, shard: int) -> str:
        """What the progress of a shard hangs on; kept in the store so that changed settings are noticed. Empty: nothing."""
        ...

    async def peek(self, shard: int, identity: str = "") -> Progress | None:
        """The progress, read without taking the shard over. `identity`: another one's. Raises SinkFault or SinkRefused."""
        ...

    async def lane(self, shard: int, identity: str = "") -> Lane:
        """Takes the shard over: fences an older sender and reads the progress. Raises SinkFault or SinkRefused.

        `identity`: an earlier one, to settle what was sent under it.
        """
        ...

    async def close(self) -> None:
        """Bounded; never raises."""
        ...


# --- stores ----------------------------------------------------------------------------------------------------------


class Facts(Struct, kw_only=True):
    """Figures for metrics and `poller status`."""

    bytes: int
    limit_bytes: int | None
    free_bytes: int | None = None
    """Of the disk; None: the store has none of its own, or it cannot be asked."""
    least_free_bytes: int | None = None
    """Below which nothing is polled."""
    seen_ids: int
    dead_records: int
    dead_events: int


class Store(Protocol):
    """Seen ids, event log, checkpoints, positions and dead letters. Raises StoreFault, StoreRefused, Outdated.

    Every write for a shard compares `held` with what is stored and raises Outdated where they differ.
    """

    kind: str
    shards: int

    async def close(self) -> None:
        """Bounded; never raises."""
        ...

    async def hold(self, shard: int) -> Held:
        """What the store has for the shard; taking it over raises the epoch."""
        ...

    async def look_up(self, held: Held | None, keys: Sequence[SeenKey]) -> dict[int, Sighting]:
        """For each index whose key is not known exactly: the other states of its id under its day, the day before or after.

        Raises Outdated where the store is not as `held` believes, by which a commit will rest on the answer.
        """
        ...

    async def commit_page(self, held: Held, page: PageCommit) -> Held:
        """One transaction: seen ids, events, checkpoints, dead records. Returns the new belief."""
        ...

    async def checkpoints(self, source: str | None = None) -> dict[CheckpointKey, bytes]:
        """All checkpoints, or those of one source."""
        ...

    async def segments_after(self, shard: int, seq: int, max_bytes: int) -> list[Segment]:
        """Whole segments whose `last` is behind `seq`, oldest first, at least one where there is any."""
        ...

    async def holds(self, shard: int, position: Position) -> bool:
        """Whether the log has a segment that ends with exactly this seq and chain, or `position` is the beginning."""
        ...

    async def find_event(self, shard: int, key: SeenKey) -> Segment | None:
        """The segment in which the id of `key` (its state is ignored) was published last, while it is kept."""
        ...

    async def states_of(self, ids: Sequence[bytes]) -> list[tuple[SeenKey, int]]:
        """What is remembered of these ids (16 bytes each) under any day: each state with the number of its event, 0 where there was none.

        By day, id and state. Looks by keys: one look for each id and day.
        """
        ...

    async def segments_before(self, shard: int, seq: int, max_bytes: int) -> list[Segment]:
        """Whole segments whose `last` is before `seq`, newest first, at least one where there is any."""
        ...

    async def position(self, sink: str, shard: int) -> Position | None:
        """Where a sink is; None: it has none yet."""
        ...

    async def positions(self) -> dict[tuple[str, int], Position]:
        """All positions by (sink, shard), those of removed sinks included."""
        ...

    async def delivered(self, held: Held, sink: str, position: Position, dead: Sequence[DeadEvent] = ()) -> None:
        """Moves a sink's position; its dead letters are written in the same transaction."""
        ...

    async def attempted(self, held: Held, sink: str, attempted: Attempted) -> None:
        """What came of attempts, in one transaction: the position, what is to be tried again, what is over, what is dead."""
        ...

    async def done(self, sink: str, shard: int) -> tuple[int, ...]:
        """The numbers behind a sink's position that need not be sent again, ascending."""
        ...

    async def places(self, sink: str, shard: int) -> list[Place]:
        """What a sink is to try again, by number."""
        ...

    async def retries(self, sink: str, shard: int, seqs: Sequence[int]) -> list[Retry]:
        """Those of these numbers, with their bytes, by number."""
        ...

    async def retrying(self) -> dict[tuple[str, int], int]:
        """How many retries are kept, by (sink, shard); those of removed sinks included."""
        ...

    async def heal(self, held: Held, healing: Healing) -> Held:
        """Applies a healing in one transaction."""
        ...

    async def backlog(self, shard: int, seq: int, sink: str) -> Behind:
        """What lies behind `seq`, without the segments that are for other sinks alone."""
        ...

    async def expire(
        self, *, log_before: float, seen_before_day: int, limit: int, sinks: Collection[str] | None = None
    ) -> int:
        """Deletes segments that every sink has passed and seen days below the horizon, at most `limit` rows; how many went.

        `sinks`: those whose positions hold segments back (the configured ones); None: all that have a position. A shard in
        which none of them has a position keeps everything. The segment at which any position stands is always kept.
        """
        ...

    async def letter_totals(self) -> list[LetterTotal]:
        """How many dead letters of each sort are kept, sorted. Flat in their number."""
        ...

    async def letter_heads(self, which: Which, *, after: LetterPlace, until: float, limit: int) -> list[LetterHead]:
        """Dead letters behind a place, oldest first, at most `limit`, none set aside later than `until`; bodies are not read."""
        ...

    async def letters_like(self, start: str, limit: int) -> list[LetterHead]:
        """Dead letters whose ids begin so, in the order of their ids, at most `limit`; bodies are not read."""
        ...

    async def letters(self, ids: Sequence[str]) -> list[DeadRecord | DeadEvent]:
        """Those of these ids that are kept, in this order, each once."""
        ...

    async def dead_record_ids(self, source: str) -> set[str]:
        """Ids of one source's dead records."""
        ...

    async def expire_letters(self, *, before: float, limit: int) -> tuple[int, int]:
        """Deletes dead letters that were set aside earlier, oldest first, at most `limit`: how many records and events went."""
        ...

    async def discard_letters(self, sink: str, *, keep: int, limit: int) -> Discarded:
        """Deletes the oldest dead letters of a sink, at most `limit`, until the sizes of the rest sum up to at most `keep` bytes."""
        ...

    async def forget_sink(self, sink: str) -> bool:
        """Removes a sink's positions, retries and dead letters; False where there is no such sink."""
        ...

    async def forget_source(self, source: str) -> bool:
        """Removes a source's checkpoints (so that its seen days may expire); False where there are none."""
        ...

    async def empty(self, held: Sequence[Held]) -> None:
        """Takes out everything but those facts, of all shards, in one transaction. `held`: each of them; epochs stay."""
        ...

    async def get_meta(self, name: str) -> str | None:
        """A small fact kept under a name (transactional id and progress topic of a sink, identity versions)."""
        ...

    async def put_meta(self, name: str, value: str | None) -> None:
        """Writes or (None) removes such a fact."""
        ...

    async def swap_meta(self, name: str, before: str | None, value: str) -> bool:
        """Writes it where it is `before` (None: there is none), in one step; False where it is not."""
        ...

    async def facts(self) -> Facts:
        """Figures; must not be slow on a large store (counts may be estimates)."""
        ...


@runtime_checkable
class SeenList(Protocol):
    """What a store offers that can be exported."""

    async def seen_after(self, after: SeenKey | None, limit: int) -> list[SeenKey]:
        """What is known, in the order of the keys (day, id, state), behind `after`, at most `limit`."""
        ...
