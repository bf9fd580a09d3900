"""The import: makes a new store of the file of an export, spread over its shards, and begins in the sinks that keep progress.

Everything is the same when it is done again, or is found to be done: so an import that was killed is run again.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar, cast

import anyio
import anyio.lowlevel
from msgspec import structs

from poller import segment
from poller.clock import Clock, SystemClock
from poller.config import Settings
from poller.errors import PollerError, StoreRefused
from poller.health import meta_name
from poller.identity import shard_of
from poller.kept import Attempted, Retry
from poller.kinds import kind_of, load_sink_kind, load_store_kind
from poller.leases.alone import leasing_of
from poller.leases.replica import RELEASE, unique_name
from poller.leasing import Leasing
from poller.log import set_up
from poller.marks import EXPORTED, IMPORTED, IMPORTING, Mark, mark, marked, refuse_marked
from poller.model import DeadEvent, Event, Healing, Held, PageCommit, Position
from poller.moving.begin import begin_in, check_sinks, widen
from poller.moving.course import Course
from poller.moving.frames import Checkpoints, Events, Header, Letters, Part, Retries, Seen, count, read, verified
from poller.outgoing import renumbered
from poller.protocols import Sink, Store
from poller.redact import Redactor, secrets_of

_SLACK, _LOOK = 2.0, 0.5
"""Seconds beyond the end of a lease, and between two looks for it."""
_UNDO = 120.0
"""Seconds for emptying what was half filled."""
T = TypeVar("T")


async def bring(settings: Settings, path: Path, *, course: Course | None = None) -> Counter[str]:
    """How much came. Raises StoreRefused, StoreFault, Outdated, SinkFault, SinkRefused."""
    course = course or Course()
    set_up(form="console", level="warning", redact=Redactor(*secrets_of(settings)))
    header, counts = await verified(path, course)
    async with AsyncExitStack() as stack:
        store = await load_store_kind(kind_of(settings.store)).open_store(settings.store)
        stack.push_async_callback(store.close)
        sinks = _keepers(settings, store.shards)
        for sink in sinks.values():
            stack.push_async_callback(sink.close)
        course.begin("importing", counts.total())
        await fill(store, sinks, path, header, SystemClock(), course)
        course.finished(counts)
    return counts


async def fill(
    store: Store, sinks: Mapping[str, Sink], path: Path, header: Header, clock: Clock, course: Course | None = None
) -> None:
    """Everything after the opening. `path`: a file that was verified; `sinks`: those of the new configuration that keep progress.

    Where it fails or is cancelled before it begins in the sinks, an import that was begun here leaves the store empty again.
    """
    course = course or Course()
    if await _is_done(store, header):
        return
    check_sinks(header, sinks)
    place = Arrival(store, header, path, clock)
    try:
        await place.take()
        await widen(header, sinks)
        for part in read(path):
            if not isinstance(part, Header):
                await place.part(part)
                course.more(count(part).total())
        await anyio.lowlevel.checkpoint()  # the last moment for a signal
        course.close("beginning in the sinks")
        with anyio.CancelScope(shield=True):
            await place.begin(sinks)
    except BaseException:  # a full disk, a cancellation: nobody uses the new store yet, so it is empty again
        if not course.closing:
            course.left = await place.undo()
        raise
    finally:
        await place.release()


async def _is_done(store: Store, header: Header) -> bool:
    """By an import of this file that was killed before it could say so."""
    done = await marked(store, IMPORTED)
    if done is None or done.id != header.id:
        return False
    await mark(store, IMPORTING, None)
    return True


def _keepers(settings: Settings, shards: int) -> dict[str, Sink]:
    """The configured sinks that keep progress."""
    built = [
        load_sink_kind(kind_of(options)).build(name, options, shards=shards) for name, options in settings.sinks.items()
    ]
    lanes = [cast(Sink, sink) for sink in built if hasattr(sink, "lane")]
    return {sink.name: sink for sink in lanes if sink.keeps_progress}


class Arrival:
    """A store while it is filled."""

    def __init__(self, store: Store, header: Header, path: Path, clock: Clock) -> None:
        self._store = store
        self._header = header
        self._clock = clock
        self.mark = Mark(header.id, str(path), header.at)
        self._leasing: Leasing = leasing_of(store)
        self._name = unique_name()
        self._renewed = 0.0
        self._ours = self._earlier = False
        self._held: dict[int, Held] = {}
        self._ends: dict[int, Position] = {}
        self.begins = [begin_of(header, shard) for shard in range(store.shards)]
        """Where each shard's log begins, above every number that was in use."""

    async def take(self) -> None:
        """All shards, marked. Raises StoreRefused where something is in the store, or somebody works on it."""
        await refuse_marked(self._store, [EXPORTED])
        unfinished = await marked(self._store, IMPORTING)
        if unfinished is not None and unfinished.id != self.mark.id:
            raise StoreRefused(
                f"the import of another export, {unfinished.file}, into this store is not finished: finish it, or make an empty store"
            )
        await self._claim()
        if unfinished is None:
            await self._check_empty()
        self._ours, self._earlier = unfinished is None, unfinished is not None
        await mark(self._store, IMPORTING, self.mark)
        for shard in range(self._store.shards):
            await self._begin(shard)
        for sink in self._header.sinks:
            await self._store.put_meta(meta_name(sink.name), sink.health)

    async def begin(self, sinks: Mapping[str, Sink]) -> None:
        """The other side of the store: from here on nothing is taken back."""
        for one in self._header.sinks:
            if one.identity is not None:
                await begin_in(self._store, self._header, one, sinks[one.name], self.begins, self.renew)
        await mark(self._store, IMPORTED, self.mark)
        await mark(self._store, IMPORTING, None)

    async def undo(self) -> str:
        """Empties the store, where this import was not begun earlier. Never raises; a sentence where it cannot be done."""
        left = "the new store holds a part of it: import the file again, or make an empty store"
        if not self._ours:
            return left if self._earlier else ""
        with anyio.move_on_after(_UNDO, shield=True), suppress(PollerError):
            # Anew: a commit that was cancelled may have taken place.
            for shard in self._held:
                held = await self._leasing.claim(shard, self._name, self._leasing.lease)
                self._held[shard] = held or self._held[shard]
            await self._store.empty(list(self._held.values()))
            for sink in self._header.sinks:
                await self._store.put_meta(meta_name(sink.name), None)
            await mark(self._store, IMPORTING, None)
            return ""
        return left

    async def _claim(self) -> None:
        """An import that was killed leaves its leases behind: those end by themselves."""
        until = self._clock.mono() + self._leasing.lease + _SLACK
        for shard in range(self._store.shards):
            while (held := await self._leasing.claim(shard, self._name, self._leasing.lease)) is None:
                if self._clock.mono() > until:
                    raise StoreRefused("a daemon works on the store: an import takes an empty one that nobody uses")
                await self.renew()
                await self._clock.sleep(_LOOK)
            self._held[shard] = held
            self._renewed = self._renewed or self._clock.mono()

    async def release(self) -> None:
        """What was taken. Never raises."""
        with anyio.move_on_after(RELEASE, shield=True), suppress(PollerError):
            await self._leasing.release(self._name, list(self._held.values()))

    async def renew(self) -> None:
        """Nobody takes a shard between two parts. Where somebody did, the next write says so."""
        if self._clock.mono() - self._renewed > self._leasing.lease / 3:
            await self._leasing.renew(self._name, list(self._held.values()), self._leasing.lease, staying=False)
            self._renewed = self._clock.mono()

    async def _check_empty(self) -> None:
        facts = await self._store.facts()
        holds = facts.seen_ids or facts.dead_records or facts.dead_events
        if holds or await self._store.positions() or await self._store.checkpoints() or any(
            held.last.seq for held in self._held.values()
        ):  # fmt: skip
            raise StoreRefused(
                "the store holds something already: an import makes a new store, so give it an empty one"
            )

    async def _begin(self, shard: int) -> None:
        """The log goes on above what was; every sink stands there, and what it lacks comes behind."""
        begin, held = self.begins[shard], self._held[shard]
        for sink in self._header.sinks:
            if held.last.seq < begin.seq:
                healing = Healing(sink=sink.name, position=begin, last=begin)
                held = self._held[shard] = await self._store.heal(held, healing)
            await self._store.attempted(held, sink.name, Attempted(position=begin))
        self._ends[shard] = begin

    # --- the parts -----------------------------------------------------------------------------------------------------

    async def part(self, part: Part) -> None:
        """In few transactions, each of one shard."""
        await self.renew()
        match part:
            case Events():
                for shard, events in self._spread((event, source_of(event)) for event in part.events).items():
                    await self._append(shard, events, part.at)
            case Retries():
                for shard, retries in self._spread((one, source_of(one.event)) for one in part.retries).items():
                    await self._retries(shard, retries)
            case Letters():
                for shard, records in self._spread((one, one.source) for one in part.records).items():
                    await self._commit(shard, PageCommit(dead=records))
                for shard, letters in self._spread((one, one.source) for one in part.events).items():
                    await self._letters(shard, letters)
            case Checkpoints():
                for shard, lot in self._spread((one, one[0].source) for one in part.checkpoints).items():
                    await self._commit(shard, PageCommit(checkpoints=dict(lot)))
            case Seen():  # of which source an id is does not show, and nobody asks: all shards look into one table
                await self._commit(0, PageCommit(seen=[(key, 0) for key in part.keys]))

    def _spread(self, items: Iterable[tuple[T, str]]) -> dict[int, list[T]]:
        found: dict[int, list[T]] = defaultdict(list)
        for item, source in items:
            found[shard_of(source, self._store.shards)].append(item)
        return found

    async def _append(self, shard: int, events: list[Event], at: float) -> None:
        """One segment; each import makes the same ones, so the numbers tell which are there."""
        after, held = self._ends[shard], self._held[shard]
        numbered = [
            structs.replace(event, body=renumbered(event.body, seq)) for seq, event in enumerate(events, after.seq + 1)
        ]
        packed = segment.pack(numbered, after, at)
        self._ends[shard] = segment.end(packed)
        if packed.last > held.last.seq:
            seen = [(event.seen, seq) for seq, event in enumerate(numbered, packed.first) if event.seen is not None]
            await self._commit(shard, PageCommit(segment=packed, seen=seen))
        elif not await self._store.holds(shard, self._ends[shard]):
            raise StoreRefused("the store was changed since the import of this file began: make an empty one")

    async def _commit(self, shard: int, page: PageCommit) -> None:
        self._held[shard] = await self._store.commit_page(self._held[shard], page)

    async def _retries(self, shard: int, retries: list[Retry]) -> None:
        by_sink: dict[str, list[Retry]] = defaultdict(list)
        for one in retries:
            by_sink[one.sink].append(structs.replace(one, shard=shard))
        for sink, later in by_sink.items():
            await self._store.attempted(self._held[shard], sink, Attempted(position=self.begins[shard], later=later))

    async def _letters(self, shard: int, letters: list[DeadEvent]) -> None:
        by_sink: dict[str, list[DeadEvent]] = defaultdict(list)
        for one in letters:
            by_sink[one.sink].append(structs.replace(one, shard=shard))
        for sink, dead in by_sink.items():
            await self._store.delivered(self._held[shard], sink, self.begins[shard], dead)


def begin_of(header: Header, shard: int) -> Position:
    """The same for each import of one export. Nothing ends there in any other log."""
    if not header.last:
        return Position()
    return Position(header.last, blake2b(f"{header.id}:{shard}".encode(), digest_size=16).digest())


def source_of(event: Event) -> str:
    """The id of the event's source: `/poller/ID/calls`."""
    return event.source.removeprefix("/poller/").rpartition("/")[0]
