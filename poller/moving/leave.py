"""The export: settles with the sinks, marks the store, and writes what another store needs into a file."""

import math
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from msgspec import structs

from poller import segment
from poller.app import opened
from poller.config import Settings
from poller.deliver import Delivery
from poller.errors import Outdated, PollerError, StoreRefused
from poller.health import meta_name
from poller.kept import LetterHead, LetterPlace, Which
from poller.kinds import kind_of, load_store_kind
from poller.log import set_up
from poller.marks import EXPORTED, IMPORTING, Mark, mark, marked, refuse_marked
from poller.model import DeadEvent, DeadRecord, Event, Position
from poller.moving.course import Course
from poller.moving.frames import (
    Checkpoints,
    Events,
    Header,
    Letters,
    Part,
    Retries,
    Seen,
    SinkState,
    check_name,
    count,
    writing,
)
from poller.outgoing import for_sink
from poller.protocols import Lane, SeenList, Store
from poller.redact import Redactor, secrets_of

_READ = 8 << 20
_AT_ONCE = 100
_LETTERS, _LETTER_BYTES = 200, 4 << 20
_SEEN = 5_000
_TRIES = 5
_UNDO = 20.0
"""Seconds for taking the mark away again."""


async def export(settings: Settings, path: Path, *, course: Course | None = None) -> Counter[str]:
    """How much is in the file, whose path is absolute. Raises StoreRefused, StoreFault, SinkFault, SinkRefused, ForeignProgress.

    Killed anywhere, it is run again: what was settled is settled, and a store that is marked does not change any more. Where
    it fails or is cancelled, daemons may open the store as before.
    """
    course = course or Course()
    set_up(form="console", level="warning", redact=Redactor(*secrets_of(settings)))
    course.begin("settling with the sinks")
    earlier = await _earlier(settings)
    check_name(path, earlier)
    if earlier is not None:  # by an export that was killed, or to make the file again
        return await _write(settings, path, course)
    ours = secrets.token_hex(8)
    try:
        await _settle_and_mark(settings, path, ours)
        return await _write(settings, path, course)
    except BaseException:  # a full disk, a cancellation: nobody has the file, so the store goes on
        if course.counts is None:
            course.left = await _unmark(settings, ours)
        raise


async def _earlier(settings: Settings) -> Mark | None:
    """Looked up without making a store where there is none."""
    store = await load_store_kind(kind_of(settings.store)).open_read(settings.store)
    try:
        await refuse_marked(store, [IMPORTING])
        return await marked(store, EXPORTED)
    finally:
        await store.close()


async def _settle_and_mark(settings: Settings, path: Path, name: str) -> None:
    async with opened(settings) as app:
        _check(app.store)
        for lane in app.lanes:
            await _settle(lane)
        keep = {lane.sink.name: lane.sink.identity(0) for lane in app.lanes if lane.sink.keeps_progress}
        await mark(app.store, EXPORTED, Mark(name, str(path), app.clock.now(), keep))


async def _write(settings: Settings, path: Path, course: Course) -> Counter[str]:
    async with _plainly(settings) as store:
        found = await marked(store, EXPORTED)
        if found is None:
            raise StoreRefused("the store was exchanged while it was exported: run the command again")
        if found.file != str(path):
            found = structs.replace(found, file=str(path))
            await mark(store, EXPORTED, found)
        return await _written(store, found, course)


async def _unmark(settings: Settings, ours: str) -> str:
    """Never raises; a sentence where it cannot be done."""
    with anyio.move_on_after(_UNDO, shield=True), suppress(PollerError):
        async with _plainly(settings) as store:
            found = await marked(store, EXPORTED)
            if found is not None and found.id == ours:
                await mark(store, EXPORTED, None)
            return ""
    return "the store may be marked as exported: `poller state export --undo`, or export it again"


@asynccontextmanager
async def _plainly(settings: Settings) -> AsyncIterator[Store]:
    store = await load_store_kind(kind_of(settings.store)).open_store(settings.store)
    try:
        yield store
    finally:
        await store.close()


def _check(store: Store) -> SeenList:
    if not isinstance(store, SeenList) or store.shards != 1:
        raise StoreRefused(
            f"a {store.kind} store with {store.shards} shards cannot be exported: only one that belongs to a single daemon can"
        )
    return store


async def _settle(delivery: Delivery) -> None:
    """As the daemon does when it starts; a healing sets checkpoints back, and then it is done again."""
    shard = delivery.shard
    for left in reversed(range(_TRIES)):
        try:
            await delivery.settler.begin()
            lane, position = await delivery.settler.settle()
            try:
                await _even(delivery, lane, position)
            finally:
                await lane.close()
            async with shard.lock:
                await shard.store.delivered(shard.held, delivery.sink.name, position)
        except Outdated:
            if not left:
                raise
            async with shard.lock:
                await shard.believe()
        else:
            return


async def _even(delivery: Delivery, lane: Lane, position: Position) -> None:
    """The import compares the progress with the position."""
    if delivery.sink.keeps_progress and lane.progress is not None and lane.progress.position != position:
        await lane.note(position)


# --- the file --------------------------------------------------------------------------------------------------------


async def _written(store: Store, sign: Mark, course: Course) -> Counter[str]:
    seen = _check(store)
    header = await _header(store, sign)
    course.begin("writing", await _about(store, header))
    with writing(sign.place) as writer:
        writer.header(header)
        for parts in (
            _events(store, header),
            _retries(store, header),
            _letters(store),
            _checkpoints(store),
            _seen(seen),
        ):
            async for part in parts:
                writer.part(part)
                course.more(count(part).total())
    course.finished(writer.counts)
    return writer.counts


async def _about(store: Store, header: Header) -> int:
    """How much the file will hold: what waits is counted by its numbers."""
    facts = await store.facts()
    waits = header.last - min((sink.position.seq for sink in header.sinks), default=header.last)
    return facts.seen_ids + facts.dead_records + facts.dead_events + waits


async def _header(store: Store, sign: Mark) -> Header:
    positions = {name: position for (name, _), position in (await store.positions()).items()}
    held = await store.hold(0)
    sinks = []
    for name, position in sorted(positions.items()):
        sinks.append(SinkState(name, position, sign.identities.get(name), await store.get_meta(meta_name(name))))
    last = max([held.last.seq, *(position.seq for position in positions.values())])
    return Header(id=sign.id, store=store.kind, at=sign.at, last=last, sinks=sinks)


async def _events(store: Store, header: Header) -> AsyncIterator[Part]:
    """What any sink does not have yet, each event for those that lack it."""
    lacking = Lacking(header.sinks, {sink.name: set(await store.done(sink.name, 0)) for sink in header.sinks})
    seq = min((sink.position.seq for sink in header.sinks), default=header.last)
    while segments := await store.segments_after(0, seq, _READ):
        for one in segments:
            numbered = enumerate(segment.unpack(one), one.first)
            events = [event for number, entry in numbered if (event := lacking.event(number, entry)) is not None]
            if events:
                yield Events(one.at, events)
        seq = segments[-1].last


class Lacking:
    """Which sinks lack an entry of the log."""

    def __init__(self, sinks: list[SinkState], done: dict[str, set[int]]) -> None:
        self._positions = {sink.name: sink.position.seq for sink in sinks}
        self._done = done

    def event(self, seq: int, event: Event) -> Event | None:
        """For those alone; None where nobody lacks it."""
        meant = [name for name in self._positions if for_sink(event, name)]
        lack = [name for name in meant if seq > self._positions[name] and seq not in self._done[name]]
        if not lack:
            return None
        return event if lack == meant else structs.replace(event, only=tuple(lack))


async def _retries(store: Store, header: Header) -> AsyncIterator[Part]:
    for sink in header.sinks:
        seqs = [place.seq for place in await store.places(sink.name, 0)]
        for begin in range(0, len(seqs), _AT_ONCE):
            yield Retries(await store.retries(sink.name, 0, seqs[begin : begin + _AT_ONCE]))


async def _letters(store: Store) -> AsyncIterator[Part]:
    after = LetterPlace()
    while heads := await store.letter_heads(Which(), after=after, until=math.inf, limit=_LETTERS):
        for some in _few(heads):
            found = await store.letters([head.id for head in some])
            yield Letters(
                [letter for letter in found if isinstance(letter, DeadRecord)],
                [letter for letter in found if isinstance(letter, DeadEvent)],
            )
        after = heads[-1].place


def _few(heads: list[LetterHead]) -> Iterator[list[LetterHead]]:
    """In lots of so many bytes."""
    lot: list[LetterHead] = []
    for head in heads:
        if lot and sum(one.size for one in lot) + head.size > _LETTER_BYTES:
            yield lot
            lot = []
        lot.append(head)
    yield lot


async def _checkpoints(store: Store) -> AsyncIterator[Part]:
    found = sorted((await store.checkpoints()).items(), key=lambda item: structs.astuple(item[0]))
    for begin in range(0, len(found), _AT_ONCE):
        yield Checkpoints(found[begin : begin + _AT_ONCE])


async def _seen(store: SeenList) -> AsyncIterator[Part]:
    after = None
    while keys := await store.seen_after(after, _SEEN):
        yield Seen(keys)
        after = keys[-1]
