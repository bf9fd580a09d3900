"""One step of a replay, on what is open. Nothing is kept between two steps: what the next one needs stands in the answer.

The log is ordered by when its entries were written, which is when their events were first seen; our wall clock may have been
moved meanwhile, so a margin is read on both sides.
"""

from collections import Counter
from collections.abc import Sequence

from msgspec import structs

from poller import segment
from poller.app_parts import App
from poller.errands import Doing, Slice, Sliced, ask
from poller.errors import PollerError, Unknown
from poller.model import Event, PageCommit, Segment
from poller.operations import Mark, Replay, Replayed
from poller.protocols import Store
from poller.replay import PART, again, wanted
from poller.room import too_many
from poller.shard import Shard

MARGIN = 600.0
"""Seconds that our wall clock may have been moved back between two commits."""
_READ = 4 << 20
"""Bytes of events that one step reads at most, unless a single segment is larger."""
_COMMIT = 1_000
"""Events in one commit."""
_NO_END = 1 << 62


class Step:
    """Reads a slice of the log and appends what is wanted of it for one sink. `running`: somebody delivers it."""

    def __init__(self, app: App, asked: Replay, *, running: bool) -> None:
        self._app = app
        self._store = app.store
        self._asked = asked
        self._running = running

    async def run(self) -> Replayed:
        """Raises Unknown where there is no such sink, PollerError where nothing can be appended for it."""
        self._check()
        if not self._asked.dry_run:
            await self._check_places()
        if self._asked.cursor is None:
            marks = tuple([await self._first_mark(shard) for shard in self._app.shards])
            kept_from = await self._kept_from()
        else:
            marks, kept_from = self._asked.cursor, None
        heads = await self._heads(marks)
        if not heads:
            return Replayed(cursor=marks, ended=True, reached=self._asked.until, kept_from=kept_from)
        waiting = 0 if self._asked.dry_run else await self._too_many()
        types: dict[str, int] = {}
        if not waiting:
            number = min(heads, key=lambda shard: heads[shard].at)
            sliced = await self._slice(self._app.shards[number], marks[number])
            types, marks = sliced.types, (*marks[:number], sliced.mark, *marks[number + 1 :])
            heads = await self._heads(marks)
        reached = min((head.at for head in heads.values()), default=self._asked.until)
        return Replayed(
            cursor=marks,
            ended=not heads,
            reached=min(max(reached, self._asked.since), self._asked.until),
            types=types,
            waiting=waiting,
            kept_from=kept_from,
        )

    # --- whether it can be done ----------------------------------------------------------------------------------------

    def _check(self) -> None:
        asked, sinks = self._asked, self._app.sinks
        if asked.sink not in sinks:
            raise Unknown(
                f"there is no sink {asked.sink} in the configuration; there are: {', '.join(sinks) or 'none'}"
            )
        if asked.since >= asked.until:
            raise PollerError("the replay ends before it begins: `until` has to be later than `since`")
        if asked.cursor is not None and len(asked.cursor) != len(self._app.shards):
            raise PollerError("the replay was begun on another store: begin it anew")

    async def _check_places(self) -> None:
        for shard in self._app.shards:
            if await self._store.position(self._asked.sink, shard.number) is None:
                raise PollerError(
                    f"sink {self._asked.sink} has never run, so it has no place in the log yet: start the daemon first"
                )
            _check_mark(shard, self._asked.cursor[shard.number] if self._asked.cursor is not None else Mark(0, 0))

    async def _too_many(self) -> int:
        """How many events wait for the sink, where that is so many that more have to wait; 0: there is room."""
        events = await too_many(self._store, self._app.shards, self._asked.sink, self._limit())
        if events and not self._running:
            raise PollerError(
                f"{events} events wait for sink {self._asked.sink}, and no daemon runs that would deliver them: "
                "start it before more are added"
            )
        if events:
            self._app.hurry(self._asked.sink)
        return events

    def _limit(self) -> int | None:
        return self._app.settings.sinks[self._asked.sink].max_pending

    # --- the log -------------------------------------------------------------------------------------------------------

    async def _first_mark(self, shard: Shard) -> Mark:
        """Right before the asked time, and the end of the log as it is now: what is appended from now on is none of its business."""
        begin = await seek(self._store, shard.number, self._asked.since - MARGIN)
        return Mark(begin, shard.held.last.seq if shard.held.epoch else _NO_END)

    async def _kept_from(self) -> float | None:
        """The oldest event that is kept, where earlier ones of the asked time are gone."""
        found = [at for shard in self._app.shards if (at := await oldest(self._store, shard.number)) is not None]
        latest = max(found, default=0.0)
        return latest if latest > self._asked.since else None

    async def _heads(self, marks: Sequence[Mark]) -> dict[int, Segment]:
        """What is to be read next, by shard; without those that are done."""
        heads = {}
        for shard, mark in zip(self._app.shards, marks, strict=True):
            head = await _first(self._store, shard.number, mark.seq)
            if head is not None and head.first <= mark.last and head.at < self._asked.until + MARGIN:
                heads[shard.number] = head
        return heads

    async def _slice(self, shard: Shard, mark: Mark) -> Sliced:
        """The next slice of a shard, by whoever works on it; anybody may count."""
        if not shard.ours and not self._asked.dry_run:
            return await ask(self._app, shard.number, Slice(structs.replace(self._asked, cursor=None), mark), Sliced)
        sliced, events = await self._read(shard, mark)
        if not self._asked.dry_run:
            await self._append(shard, events)
        return sliced

    async def do(self, shard: Shard, mark: Mark, doing: Doing) -> None:
        """The next slice of a shard of this process, for another one: one commit, whatever it holds."""
        self._check()
        _check_mark(shard, mark)
        sliced, events = await self._read(shard, Mark(mark.seq, min(mark.last, shard.held.last.seq)))
        async with shard.lock:
            await doing.commit(shard, self._page(shard, events), sliced)
        shard.tell()

    async def _read(self, shard: Shard, mark: Mark) -> tuple[Sliced, list[Event]]:
        limit = self._limit()
        most = _READ if limit is None else min(_READ, limit // PART)
        segments = await self._store.segments_after(shard.number, mark.seq, most)
        found = [one for one in segments if one.first <= mark.last]
        events = [event for one in found if self._asked.since <= one.at < self._asked.until for event in self._of(one)]
        end = found[-1].last if found else max(mark.seq, mark.last)
        return Sliced(dict(Counter(event.type for event in events)), Mark(end, mark.last)), events

    def _of(self, one: Segment) -> list[Event]:
        asked = self._asked
        passes = getattr(self._app.sinks[asked.sink], "wants", None)
        events = [event for event in segment.unpack(one) if wanted(event, asked.sink, asked.types)]
        return events if passes is None else [event for event in events if passes(event)]

    async def _append(self, shard: Shard, events: Sequence[Event]) -> None:
        shard.check()
        for begin in range(0, len(events), _COMMIT):
            async with shard.lock:
                page = self._page(shard, events[begin : begin + _COMMIT])
                shard.held = await shard.store.commit_page(shard.held, page)
            shard.tell()

    def _page(self, shard: Shard, events: Sequence[Event]) -> PageCommit:
        last = shard.held.last
        copies = [again(event, seq, self._asked.sink) for seq, event in enumerate(events, last.seq + 1)]
        return PageCommit(segment=segment.pack(copies, last, self._app.clock.now()) if copies else None)


def _check_mark(shard: Shard, mark: Mark) -> None:
    if shard.held.epoch and mark.seq > shard.held.last.seq:
        raise PollerError("the store was exchanged while the replay ran, and no longer has what it was reading")


# --- the log ---------------------------------------------------------------------------------------------------------


async def _first(store: Store, shard: int, seq: int) -> Segment | None:
    found = await store.segments_after(shard, seq, 1)
    return found[0] if found else None


async def seek(store: Store, shard: int, at: float) -> int:
    """A number behind which stands everything written at or after `at`; two looks for each doubling of the log."""
    low, stride = 0, 1
    while (one := await _first(store, shard, low + stride - 1)) is not None and one.at < at:
        low, stride = one.last, stride * 2
    high = low + stride - 1
    while low < high:
        middle = (low + high) // 2
        one = await _first(store, shard, middle)
        if one is not None and one.at < at:
            low = one.last
        else:
            high = middle
    return low


async def oldest(store: Store, shard: int) -> float | None:
    """When the oldest event that is kept was written; None: nothing has gone yet.

    Segments at which a sink stands are kept alone, so what lies behind a gap counts.
    """
    found = await _first(store, shard, 0)
    for _ in await store.positions():
        after = await _first(store, shard, found.last) if found is not None else None
        if found is None or after is None or after.first == found.last + 1:
            break
        found = after
    return found.at if found is not None and found.first > 1 else None
