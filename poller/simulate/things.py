"""What the world is made of: rows of the vendors' lists with the states they go through, and the files of recordings."""

from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["call", "recording"]
Raw: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class State:
    """One state of a row: visible from `visible_at` until the next state comes. `fields`: the whole raw record."""

    visible_at: float
    fields: Raw
    mentions: tuple[str, ...] = ()
    """Ids of recordings that the record names."""


@dataclass(slots=True)
class Row:
    """One row of one list of one vendor."""

    endpoint: str
    kind: Kind
    id: str
    own_time: int
    """What the vendor's filter looks at, epoch seconds (UTC)."""
    states: list[State]
    counted: bool = False
    """No vendor id: equal rows are different things."""
    place: Raw = field(default_factory=dict)
    """What the vendor's server needs to know beyond the record: users, month database, local second."""

    def at(self, now: float) -> State | None:
        """The state that the vendor shows at `now`; None before the first."""
        shown = None
        for state in self.states:
            if state.visible_at > now:
                break
            shown = state
        return shown


@dataclass(slots=True)
class File:
    """The file of a recording. Before `empty_from` it is not found, then it has 0 bytes until `whole_from`."""

    name: str
    size: int
    empty_from: float
    whole_from: float
    purged_at: float = inf
    content_type: str = "audio/mpeg"


@dataclass(slots=True)
class Batch:
    """What one vendor's feed makes of one bucket of time."""

    rows: list[Row] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
