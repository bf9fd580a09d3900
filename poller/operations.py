"""What the command line asks of a daemon, or of the store itself when no daemon runs. Times are epoch seconds."""

from typing import Literal, Protocol

from msgspec import Struct

from poller.health import State
from poller.journeys import Journey
from poller.kept import LetterPlace, Which
from poller.source_status import EndpointStatus, SourceStatus


class SinkStatus(Struct, frozen=True, kw_only=True):
    """One sink, configured or only remembered by the store."""

    sink: str
    kind: str | None = None
    configured: bool = True
    pending: int = 0
    """Events that it has not taken: those of the log and those that are tried again."""
    retrying: int = 0
    """Of these, the ones that are kept to be tried again."""
    oldest_pending: float | None = None
    dead_letters: int = 0
    error: str | None = None
    state: State | None = None
    """Of a sink that takes events one by one; None for others."""
    since: float | None = None
    """When that state began; None: it has never been in another one."""


class ShardStatus(Struct, frozen=True, kw_only=True):
    """One shard of a store that several replicas may share."""

    shard: int
    owner: str | None = None
    """The replica that works on it; None: nobody does now."""
    epoch: int | None = None
    """Of the lease that was given last; None: there was none yet, or it was given back."""
    lease_left: float | None = None
    """Seconds until the lease ends unless it is renewed; negative: since it ended."""
    here: bool = False
    """The daemon that was asked works on it."""
    sources: list[str] = []
    """The configured ones that belong to it."""
    pending: dict[str, int] = {}
    """Events of its log that each configured sink has not taken."""


class WebhookStatus(Struct, frozen=True, kw_only=True):
    """One configured webhook."""

    sink: str
    url: str
    """Scheme, host and port: the rest may be a secret."""
    state: State
    since: float | None = None
    """When the state began; None: it has never been in another one."""
    why: str | None = None
    """What it said when it was slowed, down or disabled, or who disabled it and why."""
    next_try: float | None = None
    """When something is tried next; None: nothing is to be tried, or not before it is enabled. In the past: at once."""
    heard_at: float | None = None
    heard: str | None = None
    """What came of the daemon's last attempt; of the next event to be tried again where it made none yet."""
    failures: int | None = None
    """Attempts that failed one after the other up to now, since the daemon started; None: there is no daemon."""
    waiting: int = 0
    """Events of the log that have not been tried."""
    retrying: int = 0
    """Events that are kept to be tried again."""
    next_retry: float | None = None
    """When the first of them is due."""
    oldest_pending: float | None = None
    """When the oldest of all these was committed."""
    dead_letters: int = 0


class Switched(Struct, frozen=True, kw_only=True):
    """What enabling or disabling a webhook did."""

    sink: str
    before: State
    state: State
    since: float | None = None
    why: str = ""


class Status(Struct, frozen=True, kw_only=True):
    """The whole installation."""

    version: str
    running: bool
    """False when no daemon runs and the store was asked directly."""
    started_at: float | None = None
    store: str
    store_bytes: int
    store_limit_bytes: int | None = None
    seen_ids: int
    paused: list[str] = []
    """Why polling pauses; empty when it does not."""
    endpoints: list[EndpointStatus] = []
    sinks: list[SinkStatus] = []
    shards: list[ShardStatus] = []
    """Of a store that several replicas may share; empty for others."""
    replicas: list[str] = []
    """Those that are there, whether they work on a shard or not."""


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A record that could not be understood, or an event that a sink can never take."""

    id: str
    what: Literal["record", "event"]
    source: str | None = None
    endpoint: str | None = None
    sink: str | None = None
    reason: str
    error: str
    at: float
    size: int
    """Bytes of the body."""
    body: bytes | None = None
    """The record's raw bytes or the event as JSON; None in lists."""


class Listing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters to list."""

    which: Which = Which()
    after: LetterPlace = LetterPlace()
    """Where the part before ended."""
    limit: int = 1_000
    """At most so many; fewer may come."""
    bodies: bool = False


class Listed(Struct, frozen=True, kw_only=True):
    """A part of a list of dead letters, oldest first."""

    letters: list[DeadLetter]
    after: LetterPlace | None
    """Where to go on; None: there are no more."""
    total: int
    """So many fit in all."""


class Cursor(Struct, frozen=True, array_like=True):
    """How far a retry has come, and when it began: what dies again meanwhile is not tried again by it."""

    after: LetterPlace
    until: float


class Again(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters to try again."""

    ids: tuple[str, ...] | None = None
    """These, each by its id or an unambiguous beginning; None: by `which`."""
    which: Which = Which()
    cursor: Cursor | None = None
    """What the step before gave; None: this is the first one. Of no use with ids: those that were tried are left out instead."""


class Retried(Struct, frozen=True, kw_only=True):
    """What became of one dead letter."""

    id: str
    done: bool
    error: str | None = None


class Tried(Struct, frozen=True, kw_only=True):
    """What one step of a retry did."""

    results: list[Retried] = []
    """In the order of the letters; of ids, the first ones."""
    cursor: Cursor
    ended: bool = False
    """There was nothing left to try."""
    total: int
    """How many fitted before this step, those that an earlier step tried in vain included."""
    waiting: int = 0
    """So many events wait for `sink` that this step did nothing; 0: it did not wait."""
    sink: str | None = None


class Mark(Struct, frozen=True, array_like=True):
    """How far a replay has read one shard's log, and where it ends; both are numbers of events."""

    seq: int
    last: int


class Replay(Struct, frozen=True, kw_only=True):
    """What a sink is to be sent again: events that were first seen from `since` until before `until`."""

    sink: str
    since: float
    until: float
    types: tuple[str, ...] = ()
    """Only these; empty: all."""
    dry_run: bool = False
    """Only count."""
    cursor: tuple[Mark, ...] | None = None
    """What the step before gave, one for each shard; None: this is the first one."""


class Replayed(Struct, frozen=True, kw_only=True):
    """What one step of a replay did."""

    cursor: tuple[Mark, ...]
    ended: bool
    """There is nothing left to do."""
    reached: float
    """What was first seen before this is done."""
    types: dict[str, int] = {}
    """How many events of each type this step appended, or found where it only counts."""
    waiting: int = 0
    """So many events wait for the sink that this step did nothing; 0: it did not wait."""
    kept_from: float | None = None
    """Earlier events of the asked time are no longer kept; None: all are, or this is not the first step."""


class Reconcile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A span of one list that is to be read again and compared; whole epoch seconds of own time, `end` not included."""

    source: str
    """Its name in the configuration."""
    endpoint: str
    """`mor.user_calls`, or its key in the configuration."""
    begin: int
    end: int


class Difference(Struct, frozen=True, kw_only=True):
    """One thing that the vendor shows otherwise than it was published."""

    what: Literal["missing", "unknown", "changed"]
    """The vendor has it and it was never published; it was published and the vendor does not show it now; it was published last in
    another state."""
    id: str
    """The vendor's."""
    own: float | None = None
    """Its own time, where that shows."""
    event: str
    """The id that its first event has, or would have."""


class Unread(Struct, frozen=True):
    """A span that the vendor did not give."""

    begin: int
    end: int
    reason: str


class Reconciled(Struct, frozen=True, kw_only=True):
    """What one span showed."""

    begin: int
    end: int
    """As it was read: whole multiples of what the vendor's filter knows."""
    records: int = 0
    """That lie in the span, each once."""
    differences: list[Difference] = []
    """At most so many as are of use to a person; `counts` has all."""
    counts: dict[str, int] = {}
    """missing, unknown, changed; `invalid`: not understood; `forgotten`: from before what the store still knows."""
    unread: list[Unread] = []
    known_from: int | None = None
    """Ids from before it are no longer kept (seen_ttl); None: all of the span are."""
    published_from: float | None = None
    """Events that were first seen before it are no longer kept (retention), so what is unknown can be told of later ones only; None:
    of all."""
    judges_unknown: bool = True
    """False where the list does not show the time by which the vendor filters."""
    complete_until: int | None = None
    """Later rows may still be found by polling."""


class Operations(Protocol):
    """Raises errors.Unknown for a name or id that does not exist, and PollerError for whatever else is refused."""

    async def status(self) -> Status:
        """How things stand."""
        ...

    async def source(self, name: str) -> SourceStatus:
        """How one configured source stands: its endpoints with their ladders, its last polls and errors."""
        ...

    async def journey(self, wanted: str) -> Journey:
        """What became of the call, recording or event of this id. Bounded in what it looks through, and says so."""
        ...

    async def dead_letters(self, asked: Listing) -> Listed:
        """A part of the list, bounded in number and bytes. Whoever asks goes on where it ended."""
        ...

    async def dead_letter(self, letter: str) -> DeadLetter:
        """One with its body. `letter` is its id or an unambiguous beginning of it."""
        ...

    async def retry(self, asked: Again) -> Tried:
        """One step of a retry, bounded in number and bytes. Those that succeed are closed.

        Whoever asks gives the cursor of the step before, and waits where it says so.
        """
        ...

    async def recording(self, source: str, recording_id: str) -> dict[str, object] | None:
        """`data` of the newest event of a recording, None where the log has none (any more). `source`: its name."""
        ...

    async def webhooks(self, name: str | None = None) -> list[WebhookStatus]:
        """How the configured webhooks stand, or one of them."""
        ...

    async def enable_webhook(self, name: str) -> Switched:
        """A disabled one is probed with one event, one that is down is so at once; others are left as they are."""
        ...

    async def disable_webhook(self, name: str, why: str) -> Switched:
        """Nothing is tried until it is enabled. One that is disabled already keeps its reason."""
        ...

    async def forget_sink(self, name: str) -> None:
        """Removes the position and the dead letters of a sink that is not configured any more."""
        ...

    async def forget_source(self, source: str) -> None:
        """Removes the checkpoints of a source that is not configured any more."""
        ...

    async def rebuild(self, *, sink: str | None, accept_duplicates: bool) -> list[str]:
        """Goes on with a store that does not share its history with a sink; sentences that say what was done."""
        ...

    async def replay(self, asked: Replay) -> Replayed:
        """One step of a replay, bounded in bytes. Whoever asks gives the cursor of the step before, and waits where it says so."""
        ...

    async def reconcile(self, asked: Reconcile) -> Reconciled:
        """Reads a span again, as polling would, and compares it with what was published. Writes nothing."""
        ...
