"""Pure: what is known to be complete for one combination of an endpoint, and what may be claimed from it.

Times are whole UTC epoch seconds of the vendor's clock.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct, field

from poller.errors import Damaged
from poller.model import DAY, CheckpointKey, Window

MODEL = 1


class RungState(Struct):
    """How far one rung has come. A rung is known by its `back` (seconds)."""

    back: int
    last: int | None = None
    """End of the window of its last successful pass; every claim rests on it."""
    ahead: int | None = None
    """End of later passes that rest on one that is still in progress: counts once that one is done."""
    ahead_by: int = 0
    """The number of the pass that came so far."""


class Gap(Struct):
    """A span that could not be read. `since`: when that was found."""

    begin: int
    end: int
    since: int
    reason: str

    @property
    def window(self) -> Window:
        """The span."""
        return Window(self.begin, self.end)


class Pass(Struct):
    """One pass in progress: `begin` to `end` are fixed when it is planned and survive retries and restarts."""

    number: int
    """In the order of planning: a pass may rest on what one with a smaller number is still reading."""
    top: int
    """`back` of the rung for which it was planned."""
    begin: int
    end: int
    rungs: list[int]
    """`back` of every rung whose window it covers."""
    done: list[Window] = field(default_factory=list)
    skipped: list[Gap] = field(default_factory=list)
    """Unreadable at the least length; gaps once the pass is done."""
    borders: list[Window] = field(default_factory=list)
    """Windows over a month's end that are still to be read whole."""
    retries: list[Window] = field(default_factory=list)
    """Open gaps that this pass still has to try again."""


class Hour(Struct, array_like=True):
    """What became of the records whose own time lies in one hour (UTC), and how late the latest of them was, in seconds."""

    begin: int
    new: int = 0
    updated: int = 0
    duplicate: int = 0
    invalid: int = 0
    late_by: float | None = None


class Hours(Struct):
    """Whole hours on their way to being told. Absent while no sink asks for them."""

    first: int
    """Where the first hour begins that is told at all."""
    counted: int
    """Hours from here on have been counted from their beginning."""
    told: int | None = None
    """Where the last hour ends that was told; None: none was."""
    open: list[Hour] = field(default_factory=list)
    """Those with records that are not told yet, in order."""

    @property
    def next(self) -> int:
        """Where the next hour begins that is to be told."""
        return max(self.first, self.told or self.first)


class Checkpoint(Struct):
    """All that is kept for one (endpoint, user, direction, filters)."""

    start: int
    """Resolved once, at the first pass; clips every window."""
    configured_start: float
    """The setting it was resolved from, to say when an edit changes nothing."""
    rungs: list[RungState]
    span: int
    """Length of the next slices."""
    planned: int = 0
    """How many passes were planned."""
    passes: list[Pass] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    offset: int | None = None
    """The vendor's UTC offset as last learnt from an answer."""
    changes: list[int] = field(default_factory=list)
    """Clock changes of the vendor's zone that were learnt from answers."""
    identities: list[tuple[int, str, int]] = field(default_factory=list)
    """(since, dedupe_by, identity version), oldest first."""
    hours: Hours | None = None
    model: int = MODEL

    def rung(self, back: int) -> RungState:
        """The state of the rung that reaches back so far. Raises KeyError."""
        for rung in self.rungs:
            if rung.back == back:
                return rung
        raise KeyError(back)


class Step(Struct, frozen=True):
    """One rung as configured, in whole seconds; `every` 0 is due at every poll."""

    back: int
    every: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Checkpoint).decode


def dump(checkpoint: Checkpoint) -> bytes:
    """The form that the store keeps."""
    return _encode(checkpoint)


def read(data: bytes, key: CheckpointKey) -> Checkpoint:
    """What the store kept under this key. Raises Damaged."""
    try:
        found = _decode(data)
        if found.rungs:
            return found
        why = "it has no rungs"
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        why = str(error)
    asked = f" ({key.ask})" if key.ask else ""
    raise Damaged(
        f"the store's note of how far {key.source} {key.endpoint}{asked} was read is damaged ({why}), so it is not asked any more. Put "
        "a backup of the store in place; or take the source out of the configuration, restart, run "
        f"`poller sources forget {key.source}` and put it back with a `start` that lies within `seen_ttl`: it is read again from there, and older things would come twice"
    )


def load(data: bytes, ladder: Sequence[Step]) -> Checkpoint:
    """Reads what `dump` wrote just now and fits it to the ladder as it is configured now."""
    checkpoint = _decode(data)
    fit(checkpoint, ladder)
    return checkpoint


def begin(start: float, target: int, ladder: Sequence[Step], span: int) -> Checkpoint:
    """A new checkpoint. `start`: epoch seconds, or seconds before `target` when not positive."""
    at = int(start) if start > 0 else target + int(start)
    return Checkpoint(at, start, [RungState(step.back) for step in ladder], span)


def fit(checkpoint: Checkpoint, ladder: Sequence[Step]) -> None:
    """Edited ladders: a new rung takes the last pass of the next longer old one; without one it begins at `start`."""
    backs = [step.back for step in ladder]
    old = {rung.back: rung for rung in checkpoint.rungs}
    if sorted(old) == backs:
        return
    checkpoint.rungs = [old.get(back) or RungState(back, _last_of_longer(old, back)) for back in backs]
    kept = [item for item in checkpoint.passes if item.top in backs]
    for item in checkpoint.passes:
        if item not in kept:
            _forget_ahead(checkpoint, item)
    for item in kept:
        item.rungs = [back for back in item.rungs if back in backs]
    checkpoint.passes = kept


def _last_of_longer(old: dict[int, RungState], back: int) -> int | None:
    longer = [rung for rung in old.values() if rung.back > back]
    return min(longer, key=lambda rung: rung.back).last if longer else None


def _forget_ahead(checkpoint: Checkpoint, item: Pass) -> None:
    """What rested on a pass that will never end counts for nothing."""
    for rung in checkpoint.rungs:
        if rung.back in item.rungs:
            rung.ahead = None


def rewind(checkpoint: Checkpoint, to: int) -> None:
    """Begins again at the earlier of `start` and `to`: the store has lost its memory."""
    checkpoint.start = min(checkpoint.start, to)
    checkpoint.passes, checkpoint.gaps = [], []
    checkpoint.rungs = [RungState(rung.back) for rung in checkpoint.rungs]
    checkpoint.hours = None


def read_until(checkpoint: Checkpoint) -> int | None:
    """The end of the lowest rung's last pass."""
    return checkpoint.rungs[0].last


def complete_until(checkpoint: Checkpoint) -> int | None:
    """Every row with own time in [start, this) that was not later than the ladder promises has been seen; None: nothing yet."""
    top = checkpoint.rungs[-1]
    if top.last is None:
        return None
    bounds = [top.last - top.back, *(gap.begin for gap in checkpoint.gaps)]
    bounds += [gap.begin for item in checkpoint.passes for gap in item.skipped]
    claim = min(bounds)
    return claim if claim > checkpoint.start else None


def horizon(checkpoint: Checkpoint, seen_ttl: int) -> int:
    """A record with own time before this is never new: its seen key may be gone."""
    last = checkpoint.rungs[-1].last
    return checkpoint.start if last is None else max(checkpoint.start, last - seen_ttl)


def seen_day(checkpoint: Checkpoint, seen_ttl: int) -> int:
    """Seen days before this one are of no more use to this checkpoint (one day of room on each side of the look-up)."""
    return horizon(checkpoint, seen_ttl) // DAY - 2
