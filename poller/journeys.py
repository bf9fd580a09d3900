"""What is known of the way of one call, recording or event: the values that the status page and the command line show.

Times are epoch seconds. What is not kept is None, or said in a sentence.
"""

from typing import Literal

from msgspec import Struct

from poller.model import Kind
from poller.recent import Note, Polled

Standing = Literal[
    "delivered", "waiting", "to be tried again", "dead letter", "filtered out", "not for it", "not known"
]


class Stop(Struct, frozen=True, kw_only=True):
    """How one event stands with one sink."""

    sink: str
    kind: str | None = None
    """None: the sink is not configured any more."""
    standing: Standing
    where: str = ""
    """Topic and partition, address, or file."""
    attempts: int | None = None
    """Made so far; None: not kept."""
    first: float | None = None
    """When the first attempt began."""
    next: float | None = None
    """When it is tried again."""
    reason: str = ""
    error: str = ""
    """What the other side said last."""
    letter: str | None = None
    """The id of its dead letter."""
    notes: list[Note] = []
    """What this process remembers of its attempts, oldest first."""


class Leg(Struct, frozen=True, kw_only=True):
    """One event: an entry of the log, or what is remembered of one that is not kept any more."""

    event: str | None = None
    """Its id; None: not known any more."""
    type: str | None = None
    kind: Kind | None = None
    """None: it tells a whole hour of a list, which is its subject."""
    source: str | None = None
    """The source's name, its id where it is not configured any more."""
    subject: str | None = None
    time: str | None = None
    """When the call or recording began, RFC 3339."""
    first_seen: float | None = None
    """By the poll that brought it."""
    committed: float | None = None
    late: bool | None = None
    """Its span had been claimed complete."""
    revision: int | None = None
    lists: list[str] = []
    """The endpoints that showed it, as far as its record tells."""
    mentioned: bool = False
    """It was named by a call, and no list of recordings had shown it."""
    poll: Polled | None = None
    """The poll that brought it, where this process remembers it."""
    shard: int
    seq: int
    """Its number in the shard's log."""
    together: int | None = None
    """How many events its commit had."""
    day: str | None = None
    """The day under which the id is remembered."""
    again: bool = False
    """An entry that was appended again: a replay, a retry or a healing."""
    stops: list[Stop] = []
    body: bytes | None = None
    """The event as JSON, while it is kept and not too large."""


class Journey(Struct, frozen=True, kw_only=True):
    """All that was found of one id, oldest first."""

    wanted: str
    legs: list[Leg] = []
    letters: list[str] = []
    """Ids of dead letters of records that hold the id and were not understood."""
    remembered: int = 0
    """States of ids that are remembered without an event: known from before, or not to be published."""
    looked: list[str] = []
    """Sentences: what was looked through, and where that ended."""
