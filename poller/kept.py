"""What sinks did not take, and records that nobody understood: the values that stores keep of them until they are over. No I/O.

Times are epoch seconds.
"""

from typing import Literal

from msgspec import Struct, field

from poller.model import DeadEvent, DeadRecord, Event, Position

# --- to be tried again -----------------------------------------------------------------------------------------------


class Retry(Struct, frozen=True, kw_only=True):
    """An event that a sink could not take yet, with its bytes. `seq` is its number in the log."""

    sink: str
    shard: int
    seq: int
    event: Event
    attempts: int = 0
    """Made so far."""
    step: int = 0
    """How much of the sink's schedule is used up."""
    first: float | None = None
    """When the first attempt began; None: there was none."""
    due: float | None = None
    """Not to be tried before; None: it waits behind an earlier event of its key."""
    reason: str = ""
    error: str = ""
    """What the other side said last."""


class Place(Struct, frozen=True):
    """What is known of a Retry without reading its bytes. `size`: of the event's body."""

    seq: int
    key: str
    due: float | None
    size: int


class Attempted(Struct, kw_only=True):
    """What one transaction of a delivery one by one writes."""

    position: Position
    """Up to here every event is delivered, kept to be tried again, or dead."""
    done: tuple[int, ...] = ()
    """Numbers behind `position` of which the same is true. What was noted before is replaced."""
    later: list[Retry] = field(default_factory=list)
    """To be kept; each replaces the one with its number."""
    due: dict[int, float] = field(default_factory=dict)
    """When retries that are kept already are due from now on, by number."""
    over: list[int] = field(default_factory=list)
    """Numbers of retries that are delivered or dead."""
    dead: list[DeadEvent] = field(default_factory=list)


# --- dead letters ----------------------------------------------------------------------------------------------------


class Which(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters are meant; None: any. Records belong to no sink."""

    sink: str | None = None
    source: str | None = None
    """Its id."""
    reason: str | None = None

    def fits(self, sink: str | None, source: str, reason: str) -> bool:
        """Whether a letter of these is among them."""
        return self.sink in (None, sink) and self.source in (None, source) and self.reason in (None, reason)


class LetterPlace(Struct, frozen=True, array_like=True):
    """A place among the dead letters, which are ordered by time and id. The beginning is (0, "")."""

    at: float = 0.0
    id: str = ""


class LetterHead(Struct, frozen=True, kw_only=True):
    """A dead letter without its bytes."""

    what: Literal["record", "event"]
    id: str
    source: str
    endpoint: str | None = None
    """Of a record."""
    sink: str | None = None
    """Of an event."""
    shard: int = 0
    """Of an event."""
    reason: str
    error: str
    at: float
    size: int
    """Bytes of the record or of the event's body."""

    @property
    def place(self) -> LetterPlace:
        """Where it stands among all."""
        return LetterPlace(self.at, self.id)


class LetterTotal(Struct, frozen=True, order=True):
    """How many dead letters of one sort are kept, and the sum of their sizes. `sink` is empty for records."""

    what: Literal["record", "event"]
    sink: str
    source: str
    reason: str
    letters: int
    bytes: int


class Discarded(Struct, frozen=True):
    """Dead letters that were deleted: how many, the sum of their sizes, and when the newest of them was set aside."""

    letters: int = 0
    bytes: int = 0
    until: float = 0.0


def head_of(letter: DeadRecord | DeadEvent) -> LetterHead:
    """The same without its bytes."""
    if isinstance(letter, DeadRecord):
        return LetterHead(
            what="record", id=letter.id, source=letter.source, endpoint=letter.endpoint, reason=letter.reason,
            error=letter.error, at=letter.at, size=len(letter.raw),
        )  # fmt: skip
    return LetterHead(
        what="event", id=letter.id, source=letter.source, sink=letter.sink, shard=letter.shard, reason=letter.reason,
        error=letter.error, at=letter.at, size=len(letter.event.body),
    )  # fmt: skip
