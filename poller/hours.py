"""Pure: which whole hours (UTC) of an endpoint are complete, and what was counted of each.

An endpoint may be asked in several ways. Each has a checkpoint with its own counts, and an hour is told once all have passed it,
by the commit of the last one. What was told stands in that one's checkpoint at first, so the furthest of them counts.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, structs

from poller.checkpoint import Checkpoint, Hour, Hours, complete_until
from poller.event import WindowCounts, WindowData, window_event
from poller.identity import window_key
from poller.model import DAY, HOUR, Event, Kind, SeenKey, Window, utc
from poller.protocols import Endpoint

MOST = 1_000
"""Hours with records of which counts are kept: with more (a first pass over years), the oldest are told without counts."""
AT_ONCE = 500
"""Hours that one commit tells."""


class Whole(Struct, frozen=True):
    """An hour that is complete, from `begin` on. `counts`: None where it was not counted from its beginning."""

    begin: int
    counts: WindowCounts | None
    late_by: float | None


class Stand(Struct, frozen=True):
    """What one way of asking has come to, as committed. `generation`: the shard's belief under which that is known."""

    generation: int
    complete: int | None
    hours: Hours


class Book:
    """The hours of one endpoint of one source: what each way of asking has come to. `sinks`: those that ask to be told."""

    def __init__(self, source: str, endpoint: Endpoint, sinks: tuple[str, ...]) -> None:
        self.counts = endpoint.limits.shows_own_time
        """Whether records show the time by which they are counted."""
        self._source = source
        self._endpoint = endpoint.name
        self._kind: Kind = endpoint.kind
        self._sinks = sinks
        self._asks = tuple(ask.key for ask in endpoint.asks)
        self._known: dict[str, Stand] = {}

    def learn(self, ask: str, generation: int, checkpoint: Checkpoint) -> None:
        """A checkpoint as the store has it."""
        self.note(ask, generation, checkpoint.hours or begun(checkpoint), checkpoint)

    def note(self, ask: str, generation: int, hours: Hours, checkpoint: Checkpoint | None) -> None:
        """What was counted, and the checkpoint that was committed with it, if one was."""
        complete = complete_until(checkpoint) if checkpoint is not None else self._known[ask].complete
        self._known[ask] = Stand(generation, complete, hours)

    def before(self, checkpoint: Checkpoint) -> list[Whole]:
        """The hours before the one at which it would begin, newest first: those that may have been told."""
        first = begun(checkpoint).first
        return [
            Whole(at, None, None) for at in range(first - HOUR, max(checkpoint.start, first - MOST * HOUR) - 1, -HOUR)
        ]

    def told(self, generation: int) -> int | None:
        """Where the last hour ends that was told."""
        return max((one.hours.told for one in self._of(generation) if one.hours.told is not None), default=None)

    def counted(self, ask: str, generation: int, found: Mapping[int, Hour], end: int) -> Hours | None:
        """The counts of one way of asking with those of some records more, of a window that ends at `end`. None: it is not known."""
        stand = self._known.get(ask)
        if stand is None or stand.generation != generation:
            return None
        # Records with an absurd date would take the place of hours that come.
        hours = [hour for hour in found.values() if hour.begin < end + DAY]
        return add(stand.hours, hours, self.told(generation))

    def due(self, ask: str, generation: int, checkpoint: Checkpoint, hours: Hours) -> list[Whole]:
        """The hours that this commit makes whole, oldest first."""
        others = [one for one in self._asks if one != ask]
        known = [self._known[one] for one in others if one in self._known]
        if len(known) < len(others) or any(one.generation != generation for one in known):
            return []
        stands = [*known, Stand(generation, complete_until(checkpoint), hours)]
        complete = [one.complete for one in stands if one.complete is not None]
        if len(complete) < len(stands):
            return []
        first = max(one.hours.next for one in stands)
        end = min(min(complete) // HOUR * HOUR, first + AT_ONCE * HOUR)
        return [self._whole(begin, [one.hours for one in stands]) for begin in range(first, end, HOUR)]

    def key(self, whole: Whole) -> SeenKey:
        """What is remembered of its event."""
        return window_key(self._source, self._endpoint, Window(whole.begin, whole.begin + HOUR))

    def event(self, whole: Whole, key: SeenKey, seq: int, recorded: str) -> Event:
        """The event that tells it."""
        data = WindowData(
            source=self._source,
            endpoint=self._endpoint,
            kind=self._kind,
            from_=utc(whole.begin),
            until=utc(whole.begin + HOUR),
            counts=whole.counts,
            late_by_seconds=whole.late_by,
        )
        return window_event(data, key, seq=seq, recorded=recorded, only=self._sinks)

    def _of(self, generation: int) -> list[Stand]:
        return [one for one in self._known.values() if one.generation == generation]

    def _whole(self, begin: int, of: Sequence[Hours]) -> Whole:
        if not self.counts or any(begin < hours.counted for hours in of):
            return Whole(begin, None, None)
        total = Hour(begin)
        for hours in of:
            for hour in hours.open:
                if hour.begin == begin:
                    total = sum_of(total, hour)
        counts = WindowCounts(new=total.new, updated=total.updated, duplicate=total.duplicate, invalid=total.invalid)
        return Whole(begin, counts, total.late_by)


def begun(checkpoint: Checkpoint) -> Hours:
    """Where it begins: at the first whole hour that is not complete yet, and counts at the first one of which nothing was read."""
    complete = complete_until(checkpoint)
    first = _up(checkpoint.start)
    if complete is not None:
        first = max(first, complete // HOUR * HOUR)
    read = [at for rung in checkpoint.rungs for at in (rung.last, rung.ahead) if at is not None]
    read += [item.end for item in checkpoint.passes]
    return Hours(first, max([first, *(at // HOUR * HOUR + HOUR for at in read)]))


def uncounted(hours: Hours, until: float) -> Hours:
    """Where what was counted is void, and what is read of the time before `until` may have been published before."""
    return structs.replace(hours, counted=max(hours.counted, _up(int(until))), open=[])


def add(hours: Hours, found: Iterable[Hour], told: int | None) -> Hours:
    """With these counts more, without the hours that were told, and with no more than are kept."""
    if told is not None:
        hours = structs.replace(hours, told=max(told, hours.told or told))
    since = max(hours.next, hours.counted)
    kept = {hour.begin: hour for hour in hours.open if hour.begin >= since}
    for hour in found:
        if hour.begin >= since:
            kept[hour.begin] = sum_of(kept.get(hour.begin), hour)
    begins = sorted(kept)
    counted = hours.counted
    if len(begins) > MOST:
        counted, begins = begins[-MOST], begins[-MOST:]
    return structs.replace(hours, counted=counted, open=[kept[begin] for begin in begins])


def tell(hours: Hours, until: int) -> Hours:
    """Once everything before `until` is told."""
    return structs.replace(hours, told=until, open=[hour for hour in hours.open if hour.begin >= until])


def hour_of(own: float, found: dict[int, Hour]) -> tuple[Hour, int]:
    """The hour in which a record's own time lies, and where it ends."""
    begin = int(own // HOUR) * HOUR
    return found.setdefault(begin, Hour(begin)), begin + HOUR


def counted(found: Mapping[int, Hour], own: float | None) -> Hour | None:
    """The hour under which a record was counted, if it was."""
    return found.get(int(own // HOUR) * HOUR) if found and own is not None else None


def sum_of(one: Hour | None, other: Hour) -> Hour:
    """Of the same hour."""
    if one is None:
        return other
    late = [by for by in (one.late_by, other.late_by) if by is not None]
    return Hour(
        one.begin,
        one.new + other.new,
        one.updated + other.updated,
        one.duplicate + other.duplicate,
        one.invalid + other.invalid,
        max(late, default=None),
    )


def _up(at: int) -> int:
    return -(-at // HOUR) * HOUR
