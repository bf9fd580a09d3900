"""Pure: what happened last, in memory only, for whoever looks: the polls of a track, and what came of deliveries to a sink."""

from collections import deque

from msgspec import Struct

POLLS = 3
"""Of each track."""
FAILURES = 3
"""Of each track, so that an error outlives the polls that went well after it."""
NOTES = 256
"""Of each way to a sink."""
TOGETHER = 10.0
"""Seconds: deliveries of whole segments that are no further apart share a note, so that the notes of a busy day reach back an hour."""

# --- polls -----------------------------------------------------------------------------------------------------------


class Polled(Struct, frozen=True, kw_only=True, gc=False):
    """One poll: when it began (epoch seconds), how long it took, what became of the records, and why it failed, if it did."""

    at: float
    seconds: float
    new: int = 0
    updated: int = 0
    duplicate: int = 0
    invalid: int = 0
    filtered: int = 0
    begin: int | None = None
    """The windows that it asked for lie between this and `end`; None: it asked for none."""
    end: int | None = None
    reason: str | None = None
    error: str | None = None


class Lately(Struct):
    """Of one track, since it was taken by this process. Times are epoch seconds."""

    next_poll: float | None = None
    polling_since: float | None = None
    """A poll is under way."""
    asked: tuple[int, int] | None = None
    """Between which moments the windows lie that it has asked for."""
    failing_since: float | None = None
    polls: tuple[Polled, ...] = ()
    """The last ones, newest first."""
    failures: tuple[Polled, ...] = ()
    """The last ones that failed, newest first."""
    late_rows: int = 0
    """Rows that were found in spans that had been read before."""
    late_most: float | None = None
    """Seconds between the own time of the latest of them and when it was found."""
    late_last: float | None = None
    """When one was found last."""

    def begun(self, now: float) -> None:
        """A poll is under way."""
        self.polling_since, self.asked = now, None

    def asks(self, begin: int, end: int) -> None:
        """It asks for a window."""
        first, last = self.asked or (begin, end)
        self.asked = min(first, begin), max(last, end)

    def polled(self, one: Polled) -> None:
        """A poll is over."""
        self.polling_since = None
        self.polls = (one, *self.polls[: POLLS - 1])
        if one.error is None:
            self.failing_since = None
            return
        self.failing_since = self.failing_since or one.at
        self.failures = (one, *self.failures[: FAILURES - 1])

    def late(self, rows: int, most: float, now: float) -> None:
        """A poll found so many late rows, the latest of them so many seconds late."""
        if rows:
            self.late_rows += rows
            self.late_most = max(self.late_most or 0.0, most)
            self.late_last = now


# --- deliveries ------------------------------------------------------------------------------------------------------


class Note(Struct, frozen=True, kw_only=True):
    """What came of the events `first` to `last` of a shard's log: `delivered`, `later` or `dead`."""

    shard: int
    first: int
    last: int
    begin: float
    """They were tried, or delivered, between these two moments (epoch seconds)."""
    end: float
    outcome: str = "delivered"
    number: int = 0
    """Of the attempt; 0: whole segments, which are sent again until they are taken."""
    reason: str = ""
    error: str = ""


class Notes:
    """The last ones of one way to a sink."""

    def __init__(self, limit: int = NOTES) -> None:
        self._kept: deque[Note] = deque(maxlen=limit)

    def add(self, note: Note) -> None:
        """The oldest is forgotten."""
        self._kept.append(note)

    def passed(self, shard: int, first: int, last: int, now: float) -> None:
        """Whole segments were delivered. Those that came within seconds share a note."""
        before = self._kept[-1] if self._kept else None
        if before is not None and before.last + 1 == first and now - before.begin < TOGETHER:
            self._kept[-1] = Note(shard=shard, first=before.first, last=last, begin=before.begin, end=now)
        else:
            self.add(Note(shard=shard, first=first, last=last, begin=now, end=now))

    def of(self, shard: int, seq: int) -> list[Note]:
        """Those about one event, oldest first."""
        return [one for one in self._kept if one.shard == shard and one.first <= seq <= one.last]
