"""Pure: what to ask for next. Checkpoint + ladder + the vendor's present → passes → slices.

A pass of a rung reads from `back` before the end of the window of that rung's last successful pass up to the present. So a row
that becomes visible no later than `back` after its own time is found by the rung's next pass, and an outage widens that pass by
itself. A longer rung's pass may take hours: the shorter rungs go on meanwhile, and what they read counts once it is done.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from poller.checkpoint import Checkpoint, Gap, Pass, RungState, Step
from poller.model import DAY, Limits, Window

NEWEST = 3600
"""A pass longer than this reads its newest hour first."""
WITNESS = 6
"""So many unreadable slices of the least length side by side are an outage and not gaps. One bad second spoils three of them,
because slices overlap and bounds are inclusive."""
QUARTER = 900
"""Clock changes happen at whole quarters of an hour (UTC)."""


class Slice(Struct, frozen=True):
    """One window to ask for. `covers`: the part of the pass that it reads; None for a border or a gap's retry."""

    asked: Window
    covers: Window
    kind: Literal["plain", "border", "retry"] = "plain"


# --- passes ----------------------------------------------------------------------------------------------------------


def plan(
    checkpoint: Checkpoint, ladder: Sequence[Step], target: int, limits: Limits, *, force: bool = False
) -> list[Pass]:
    """Adds the passes that are due and returns the new ones. `target`: the vendor's present minus `settle`.

    One pass per rung may be in progress; a new one covers every shorter rung too. `force`: every rung is due.
    """
    end = target - target % limits.resolution
    planned: list[Pass] = []
    for step in reversed(ladder):
        if any(item.top == step.back for item in checkpoint.passes):
            continue
        if not _due(checkpoint, step, end, force=force and not planned):
            continue
        item = _new_pass(checkpoint, step, end, limits, is_top=step is ladder[-1])
        if item.begin < item.end:
            checkpoint.passes.append(item)
            planned.append(item)
    return planned


def _due(checkpoint: Checkpoint, step: Step, end: int, *, force: bool) -> bool:
    reach = _reach(checkpoint, checkpoint.rung(step.back))
    if reach is None or force:
        return True
    # A present before what was read is a clock that went back: the claim was false and is read again.
    return end != reach if not step.every else end - reach >= step.every or end < reach - step.every


def _reach(checkpoint: Checkpoint, rung: RungState) -> int | None:
    """Where this rung's windows have come to, passes in progress included."""
    ends = [item.end for item in checkpoint.passes if rung.back in item.rungs]
    known = [at for at in (rung.last, rung.ahead, *ends) if at is not None]
    return max(known) if known else None


def _begin(checkpoint: Checkpoint, rung: RungState, end: int) -> int:
    reach = _reach(checkpoint, rung)
    return checkpoint.start if reach is None else max(checkpoint.start, min(reach, end) - rung.back)


def _new_pass(checkpoint: Checkpoint, step: Step, end: int, limits: Limits, *, is_top: bool) -> Pass:
    begin = _begin(checkpoint, checkpoint.rung(step.back), end)
    covered = [rung.back for rung in checkpoint.rungs if _begin(checkpoint, rung, end) >= begin]
    begin -= begin % limits.resolution
    checkpoint.planned += 1
    return Pass(
        number=checkpoint.planned,
        top=step.back,
        begin=begin,
        end=end,
        rungs=covered,
        borders=_borders(begin, end, step.back, limits) if limits.month_borders else [],
        retries=[gap.window for gap in checkpoint.gaps] if is_top else [],
    )


def _borders(begin: int, end: int, back: int, limits: Limits) -> list[Window]:
    """One window for each month's first moment that lies in the pass, or less than `back` before it.

    Rows of a thing that crosses a month's end are shown only in a window that spans it (BEHAVIOUR 3.4, month boundary).
    """
    return [
        Window(first - 1, min(end, first - 1 + limits.max_span))
        for first in _month_starts(begin - back, end)
        if first - 1 < end
    ]


def _month_starts(begin: int, end: int) -> Iterator[int]:
    at = datetime.fromtimestamp(begin, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while (first := int(at.timestamp())) <= end:
        if first >= begin:
            yield first
        at = at.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)


# --- slices ----------------------------------------------------------------------------------------------------------


def current(checkpoint: Checkpoint) -> Pass | None:
    """The pass to go on with: the shortest rung first, so that new time is read while a long pass is in progress."""
    return min(checkpoint.passes, key=lambda item: item.top, default=None)


def next_slice(checkpoint: Checkpoint, item: Pass, limits: Limits) -> Slice | None:
    """What to ask for next within a pass; None when nothing is left."""
    unread = _subtract(Window(item.begin, item.end), [*item.done, *(gap.window for gap in item.skipped)])
    if unread:
        covers = _cut(checkpoint, _first_unread(item, unread), limits)
        return Slice(_asked(checkpoint, covers, limits), covers)
    if item.borders:
        return Slice(item.borders[0], item.borders[0], "border")
    if item.retries:
        return Slice(_asked(checkpoint, item.retries[0], limits), item.retries[0], "retry")
    return None


def _first_unread(item: Pass, unread: list[Window]) -> Window:
    """The newest hour first, then the rest oldest first."""
    newest = item.end - NEWEST
    if item.begin < newest:
        for window in unread:
            if window.end > newest:
                return Window(max(window.begin, newest), window.end)
    return unread[0]


def _cut(checkpoint: Checkpoint, unread: Window, limits: Limits) -> Window:
    span = max(limits.min_span, min(checkpoint.span, limits.max_span))
    end = min(unread.end, unread.begin + span)
    return Window(
        unread.begin, min([end, *(at for at in _changes(checkpoint, limits, unread) if unread.begin < at < end)])
    )


def _asked(checkpoint: Checkpoint, covers: Window, limits: Limits) -> Window:
    """Overlaps the slice before by the resolution, but never reaches over a clock change: local bounds would run backwards."""
    around = Window(covers.begin - limits.resolution, covers.end + limits.resolution)
    changes = set(_changes(checkpoint, limits, around))
    begin = max([covers.begin - limits.resolution, *(at for at in changes if at <= covers.begin)])
    end = covers.end - limits.resolution if covers.end in changes else covers.end
    if limits.learns_offset and checkpoint.offset is None:
        begin = min(begin, end - limits.min_span_unknown_zone)
    return Window(begin, max(end, begin + 1))


def _changes(checkpoint: Checkpoint, limits: Limits, window: Window) -> list[int]:
    known = [
        *checkpoint.changes,
        *(_zone_changes(limits.zone, window.begin // DAY, window.end // DAY) if limits.zone else ()),
    ]
    return sorted(at for at in set(known) if window.begin <= at <= window.end)


@lru_cache(maxsize=256)
def _zone_changes(name: str, first_day: int, last_day: int) -> tuple[int, ...]:
    """The clock changes of a zone within whole days (UTC), found by halving down to the second."""
    zone = ZoneInfo(name)

    def offset(at: int) -> float:
        shift = datetime.fromtimestamp(at, zone).utcoffset()
        return shift.total_seconds() if shift else 0.0

    found = []
    for day in range(first_day, last_day + 1):
        low, high = day * DAY - 1, (day + 1) * DAY
        if offset(low) == offset(high):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
        found.append(high)
    return tuple(sorted(set(found)))


# --- outcomes --------------------------------------------------------------------------------------------------------


def read(
    checkpoint: Checkpoint,
    item: Pass,
    part: Slice,
    limits: Limits,
    *,
    bound: int | None,
    easy: bool,
    found: Sequence[Gap] = (),
) -> None:
    """A slice was read to its last page. `bound`: the vendor's present minus `settle` when it began to answer, where it says so.

    `easy`: the answer was quick and small, so the next ones may be longer. `found`: gaps inside the slice.
    """
    if part.kind == "border":
        item.borders.remove(part.covers)  # before an earlier end makes it another one
    elif part.kind == "retry":
        item.retries.remove(part.covers)
    if bound is not None:
        _end_earlier(checkpoint, bound - bound % limits.resolution)
    if part.kind == "plain":
        item.done = _merge([*item.done, Window(part.covers.begin, min(part.covers.end, item.end))])
        if easy and part.covers.span >= checkpoint.span:
            checkpoint.span = min(limits.max_span, checkpoint.span + checkpoint.span // 2 + 1)
    checkpoint.gaps = [gap for gap in checkpoint.gaps if not _inside(gap.window, part.covers)] + list(found)
    for one in list(checkpoint.passes):  # an earlier end can leave another one with nothing to read
        settle_if_done(checkpoint, one, limits)


def _end_earlier(checkpoint: Checkpoint, bound: int) -> None:
    """No pass ends after the vendor's present. What was planned from an end that was too late begins earlier, or counts no more."""
    for item in checkpoint.passes:
        if item.end <= bound:
            continue
        item.end = end = max(item.begin, bound)
        item.done = [Window(window.begin, min(window.end, end)) for window in item.done if window.begin < end]
        item.skipped = [gap for gap in item.skipped if gap.begin < end]
        item.borders = [Window(window.begin, min(window.end, end)) for window in item.borders if window.begin < end]
        for later in checkpoint.passes:
            if later.number > item.number:
                later.begin = min(later.begin, max(checkpoint.start, end - later.top))
        for rung in checkpoint.rungs:
            if rung.back in item.rungs and rung.ahead_by > item.number:
                rung.ahead = None


def unreadable(checkpoint: Checkpoint, item: Pass, part: Slice, limits: Limits, *, reason: str, now: int) -> bool:
    """A slice cannot be read as it is. Halves it, or puts it aside; False: it is an outage, the pass stays due as it was.

    A border is never halved: it has to span the month's end.
    """
    if part.kind == "border":
        return False
    if part.kind == "retry":
        item.retries.remove(part.covers)
        settle_if_done(checkpoint, item, limits)
        return True
    if part.covers.span > limits.min_span:
        checkpoint.span = max(limits.min_span, _halved(part.covers.span, limits))
        return True
    item.skipped.append(Gap(part.covers.begin, part.covers.end, now, reason))
    if _adjoining(item) >= WITNESS:
        item.skipped = []
        return False
    settle_if_done(checkpoint, item, limits)
    return True


def _halved(span: int, limits: Limits) -> int:
    half = span // 2
    return half - half % limits.resolution or limits.resolution


def _adjoining(item: Pass) -> int:
    """How many of the slices put aside last lie side by side: nothing between them could be read."""
    count, gaps = 1, sorted(item.skipped, key=lambda gap: gap.begin)
    longest = 1
    for before, after in pairwise(gaps):
        count = count + 1 if before.end >= after.begin else 1
        longest = max(longest, count)
    return longest


def clock_changed(checkpoint: Checkpoint, part: Slice, limits: Limits) -> bool:
    """The ends of a slice lie on two sides of a clock change that no configuration told. False: it cannot be cut further."""
    if part.kind != "plain" or _is_padded(checkpoint, part, limits):
        return False
    quarters = list(range(part.asked.begin + QUARTER - part.asked.begin % QUARTER, part.asked.end + 1, QUARTER))
    if not quarters:
        return False
    if len(quarters) == 1:
        checkpoint.changes = sorted({*checkpoint.changes, quarters[0]})[-8:]
        return True
    middle = quarters[len(quarters) // 2]
    checkpoint.span = max(limits.min_span, (middle if middle < part.covers.end else quarters[0]) - part.covers.begin)
    return True


def _is_padded(checkpoint: Checkpoint, part: Slice, limits: Limits) -> bool:
    """Whether a slice is as long as it is only because the zone is unknown: a shorter one would ask for the same."""
    unknown = limits.learns_offset and checkpoint.offset is None
    return unknown and part.covers.span + limits.resolution <= limits.min_span_unknown_zone


def settle_if_done(checkpoint: Checkpoint, item: Pass, limits: Limits) -> None:
    """Ends a pass that has nothing left to read."""
    if next_slice(checkpoint, item, limits) is None and item in checkpoint.passes:
        _complete(checkpoint, item)


def _complete(checkpoint: Checkpoint, item: Pass) -> None:
    """The pass counts for all its rungs; for one that an older pass in progress covers too, it counts once that one is done."""
    checkpoint.passes.remove(item)
    checkpoint.gaps = sorted([*checkpoint.gaps, *item.skipped], key=lambda gap: gap.begin)
    for rung in checkpoint.rungs:
        if rung.back not in item.rungs:
            continue
        if _rests_on_another(checkpoint, rung, item.number):
            if rung.ahead is None or rung.ahead_by < item.number:
                rung.ahead, rung.ahead_by = item.end, item.number
            continue
        rung.last = item.end
        if rung.ahead is not None and not _rests_on_another(checkpoint, rung, rung.ahead_by):
            rung.last, rung.ahead = rung.ahead, None


def _rests_on_another(checkpoint: Checkpoint, rung: RungState, number: int) -> bool:
    """Whether what that pass read was planned from the end of an older one that is still in progress."""
    return any(rung.back in other.rungs and other.number < number for other in checkpoint.passes)


# --- sets of spans ---------------------------------------------------------------------------------------------------


def _merge(windows: list[Window]) -> list[Window]:
    merged: list[Window] = []
    for window in sorted(windows):
        if merged and window.begin <= merged[-1].end:
            merged[-1] = Window(merged[-1].begin, max(merged[-1].end, window.end))
        elif window.span > 0:
            merged.append(window)
    return merged


def _subtract(whole: Window, parts: list[Window]) -> list[Window]:
    left, at = [], whole.begin
    for part in _merge(parts):
        if part.begin > at:
            left.append(Window(at, min(part.begin, whole.end)))
        at = max(at, part.end)
    if at < whole.end:
        left.append(Window(at, whole.end))
    return [window for window in left if window.span > 0]


def _inside(inner: Window, outer: Window) -> bool:
    return outer.begin <= inner.begin and inner.end <= outer.end
