"""How a source and its endpoints stand: the values that the status page and the command line show. Times are epoch seconds."""

from msgspec import Struct

from poller.recent import Polled


class GapStatus(Struct, frozen=True, kw_only=True):
    """A span that could not be read; every pass of the longest rung tries it again."""

    begin: float
    end: float
    since: float
    """When that was found."""
    reason: str


class EndpointStatus(Struct, frozen=True, kw_only=True):
    """One endpoint of one source."""

    source: str
    endpoint: str
    read_until: float | None = None
    """The lowest rung's last pass ended here."""
    complete_until: float | None = None
    """Everything up to here has been seen."""
    last_success: float | None = None
    open_gaps: int = 0
    overdue_rungs: int = 0
    configured: bool = True
    error: str | None = None
    """The last failure, None while all is well."""
    reason: str | None = None
    """The same in one word of a closed set."""
    failing_since: float | None = None
    behind: float = 0.0
    """Seconds by which the end of a rung's last pass lies further back than its turn allows; the largest of all rungs."""
    next_poll: float | None = None
    """When it is asked next; None: it is asked right now, or by another replica, or no daemon runs."""
    polling_since: float | None = None
    """When the poll began that is under way."""
    late_rows: int = 0
    """New rows and updates found in spans that had been read before, since this process began to read the endpoint."""
    late_most: float | None = None
    """By how many seconds the latest of them was late."""
    late_last: float | None = None
    """When one was found last."""
    gaps: list[GapStatus] = []
    """The first of the open ones, oldest span first."""
    here: bool = True
    """False: another replica reads it, and knows what is not in the store."""


class RungStatus(Struct, frozen=True, kw_only=True):
    """One rung of a ladder. Seconds, but for the times."""

    back: float
    every: float
    """The time between two of its passes, the endpoint's interval included."""
    last: float | None = None
    """The end of its last pass; None: it has made none yet."""
    due: float | None = None
    """When its next pass is; None: as soon as it can be."""


class PassStatus(Struct, frozen=True, kw_only=True):
    """One pass in progress: the span that it reads, and how much of that it has read (0 to 1)."""

    begin: float
    end: float
    back: float
    """Of the rung for which it is made."""
    share: float


class AskStatus(Struct, frozen=True, kw_only=True):
    """One endpoint, asked in one way."""

    ask: str
    """Of which user or direction; empty where there is only one way."""
    start: float | None = None
    """Where its first pass began; None: there was none yet."""
    window: float | None = None
    """Seconds of the next windows at most."""
    rungs: list[RungStatus] = []
    passes: list[PassStatus] = []
    gaps: list[GapStatus] = []
    """All that are open."""
    polls: list[Polled] = []
    """The last ones of this process, newest first."""
    failures: list[Polled] = []
    """The last ones of this process that failed, newest first."""


class EndpointDetail(Struct, frozen=True, kw_only=True):
    """One endpoint with all that is known of it."""

    it: EndpointStatus
    interval: float
    settle: float
    asks: list[AskStatus]


class SourceStatus(Struct, frozen=True, kw_only=True):
    """One configured source."""

    name: str
    id: str
    kind: str
    address: str
    """Scheme, host and port."""
    shard: int
    owner: str | None = None
    """The replica that reads it; None: this process, or nobody."""
    here: bool = True
    credential: str = ""
    """A sentence about what it is asked with."""
    skew: float | None = None
    """The vendor's clock minus ours, in seconds."""
    endpoints: list[EndpointDetail] = []
    dead_letters: int = 0
