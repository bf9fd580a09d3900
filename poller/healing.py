"""Brings a store that was rolled back or emptied in line with what one sink has published, by reading the sink.

Nothing of the log is dropped, since other sinks need it. What was published and is unknown here is remembered as seen, and
goes to the other sinks; what is known as the first state of its thing, and was published as a later one, goes under that id to
those that keep no progress. What this sink lacks is appended again, under numbers above everything published: for it alone, unless
it has to have another id than the others got it under.
Each step may be interrupted: it is then done again from the start, and what was done already is found to be known.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from hashlib import blake2b
from typing import cast

from poller import segment
from poller.errors import Outdated
from poller.event import WINDOW
from poller.identity import MENTION, event_id
from poller.model import CheckpointKey, Event, Healing, PageCommit, Position, SeenKey, Segment, Sighting
from poller.outgoing import as_update, for_sink, renumbered
from poller.protocols import Lane, Published, Sink
from poller.route import Route

REBUILDING = "rebuilding"
_CHUNK = 1_000
_READ = 8 << 20
_MARGIN = 6 * 3600.0
"""Seconds that our wall clock may have been moved between two commits."""


class Unsent:
    """The entries of the log that the sink may lack: everything behind its position, less what is found in the sink."""

    def __init__(self, sink: str) -> None:
        self._sink = sink
        self._keys: dict[bytes, bool] = {}
        """Whether the log has the state under the id of its thing alone, as the first one."""
        self._published: dict[bytes, int] = {}

    def add(self, events: Sequence[Event]) -> None:
        """Entries of the log."""
        for event in events:
            key, first = _key(event), event.type.endswith(".new")
            if for_sink(event, self._sink):
                self._keys[key] = first
                if event.seen is not None:
                    self._published.setdefault(event.seen.id, 0)
            elif not first and key in self._keys:
                self._keys[key] = False

    def found(self, event: Published) -> bool:
        """One event that the sink has. Returns whether the log has it, but under another id: that of the thing's first state."""
        first = self._keys.pop(_key(event), False)
        if event.seen is not None and event.seen.id in self._published:
            self._published[event.seen.id] += 1
        return first and event.type.endswith(".updated")

    def take(self, event: Event) -> Event | None:
        """The event as it has to be sent; None where the sink has it, gets it already, or is not meant."""
        key = _key(event)
        if not for_sink(event, self._sink) or key not in self._keys:
            return None
        del self._keys[key]
        if event.seen is None:
            return event
        states = self._published.get(event.seen.id, 0)
        self._published[event.seen.id] = states + 1
        return _later(event, event.seen, states)


def _later(event: Event, seen: SeenKey, states: int) -> Event | None:
    """An event written as the first state of its thing, when `states` others have been published after all.

    None: a mention of what is published already tells nothing, and is never an update.
    """
    if states and seen.state == MENTION:
        return None
    if states and event.type.endswith(".new"):
        return as_update(event, event_id(seen, new=False), states + 1)
    return event


class Healer:
    """Heals one shard for one sink."""

    def __init__(self, route: Route[Sink]) -> None:
        self._shard = route.shard
        self._store = route.shard.store
        self._sink = route.sink.name
        self._clock = route.clock
        self._log = route.log
        self._metrics = route.metrics
        self._others = tuple(route.others)
        self._told = tuple(route.told)
        self._unsettled = tuple(route.unsettled)
        self._unsent = Unsent(self._sink)
        self._read_to = Position()
        self._generation = -1
        self.waiting = False
        """A healing has begun and is not done: polling waits for it."""
        self.accept_duplicates = False
        """Goes on without reading the topics back, once: what they hold and this store does not know may be sent twice."""

    async def heal(
        self,
        lane: Lane,
        stored: Position,
        *,
        since: float | None,
        whole: bool,
        checkpoints: Mapping[CheckpointKey, bytes],
    ) -> Position:
        """The sink's position afterwards. Polling of the shard is paused until `resume`.

        `since`: published at or after this may be unknown here; None: it is found out, unless `whole` asks for everything.
        """
        progress = lane.progress.position if lane.progress is not None else Position()
        self.waiting = True
        self._shard.pause(REBUILDING)
        self._metrics.polling_paused[REBUILDING].set(1)
        if self._shard.generation == 1:  # found at the start; later ones are counted where they are noticed
            self._shard.set_back(0, self._metrics.store_rollbacks.inc)
        if since is None and not whole:
            since = await self._since(stored)
        self._log.error(
            "the store does not share its history with what was published",
            position=stored.seq,
            published=progress.seq,
            detail="it was restored, failed over or emptied: polling of the shard waits while the topics are read back",
        )
        self._unsent, self._read_to, self._generation = Unsent(self._sink), stored, self._shard.generation
        if self.accept_duplicates:
            self._log.error("going on without reading back", detail="as was asked for: events may be published twice")
        else:
            await self._read_back(lane, since)
        async with self._shard.lock:
            await self._absorb()
            healing = await self._healing(stored, progress, checkpoints)
            self._shard.held = await self._store.heal(self._shard.held, healing)
            if checkpoints:  # a poll that is under way would write its own over these
                self._shard.void()
        self._shard.tell()
        again = healing.last.seq - healing.position.seq
        self._log.error("the store is healed", sent_again_as_missing=again, continues_after=healing.position.seq)
        return healing.position

    def resume(self) -> None:
        """Lets polling go on, once the sink has noted the healing and the shard is settled."""
        self.waiting = self.accept_duplicates = False
        self._shard.resume(REBUILDING)
        self._metrics.polling_paused[REBUILDING].set(0)

    async def _since(self, stored: Position) -> float | None:
        """The last moment that is surely common: when the segment at the sink's position was committed.

        Nothing later will do: what lies behind the position may have been polled after the store was exchanged.
        """
        if not stored.seq:
            return None
        for one in await self._store.segments_after(self._shard.number, stored.seq - 1, 1):
            if one.last == stored.seq:
                return one.at - _MARGIN
        return None

    # --- what was published ------------------------------------------------------------------------------------------

    async def _read_back(self, lane: Lane, since: float | None) -> None:
        chunk: list[Published] = []
        async with self._published(lane, since) as found:
            async for event in found:
                if _shard_of(event.source, self._store.shards) != self._shard.number:
                    continue
                chunk.append(event)
                if len(chunk) >= _CHUNK:
                    await self._remember(chunk)
                    chunk = []
        await self._remember(chunk)

    def _published(self, lane: Lane, since: float | None) -> AbstractAsyncContextManager[AsyncIterator[Published]]:
        iterator = lane.published(since)
        if hasattr(iterator, "aclose"):
            return cast(AbstractAsyncContextManager[AsyncIterator[Published]], aclosing(iterator))
        return nullcontext(iterator)

    async def _remember(self, chunk: Sequence[Published]) -> None:
        """One commit: these are seen, and those that were unknown go to the other sinks."""
        async with self._shard.lock:
            # A poll that was under way may have committed meanwhile. It cannot have taken for new what an earlier chunk
            # has made known, so its entries need to be compared only with what is still to be read.
            await self._absorb()
            renamed = {_key(event) for event in chunk if self._unsent.found(event)}
            unique = {_key(event): event for event in chunk if event.seen is not None}
            events = list(unique.values())
            keys = [event.seen for event in events if event.seen is not None]
            sightings = await self._store.look_up(self._shard.held, keys) if keys else {}
            commit = PageCommit()
            lacking: list[Event] = []
            after = self._shard.held.last
            for index, event in enumerate(events):
                number = after.seq + len(lacking) + 1
                sighting = sightings.get(index)
                passed = self._passed(event, number, sighting, renamed=_key(event) in renamed)
                if sighting is not None:
                    key = SeenKey(sighting.day, keys[index].id, keys[index].state)
                    commit.seen.append((key, number if passed is not None else 0))
                if passed is not None:
                    lacking.append(passed)
            if not commit.seen and not lacking:
                return
            if lacking:
                commit.segment = segment.pack(lacking, after, self._clock.now())
            self._shard.held = await self._store.commit_page(self._shard.held, commit)
            self._read_to = self._shard.held.last
            if lacking:
                self._shard.tell()

    def _passed(self, event: Published, seq: int, sighting: Sighting | None, *, renamed: bool) -> Event | None:
        """The entry for other sinks of what was published; None where none of them lacks it. `sighting`: None where it is known."""
        if sighting is not None:
            only = self._told if event.type == WINDOW else self._others
        else:
            # They got it under the id of the first state, under which they may have had another one, and drop what they know.
            only = self._unsettled if renamed else ()
        if not only:
            return None
        body = renumbered(event.body, seq)
        entry = Event(event.id, event.type, event.source, event.subject, event.time, event.key, event.seen, body, only)
        return _later(entry, event.seen, sighting.states) if event.seen is not None and sighting is not None else entry

    async def _absorb(self) -> None:
        """Takes what the log holds behind `_read_to` among the unsent. Call it under the shard's lock."""
        if self._generation != self._shard.generation:
            raise Outdated("the store was exchanged while it was healed")
        while self._read_to.seq < self._shard.held.last.seq:
            segments = await self._store.segments_after(self._shard.number, self._read_to.seq, _READ)
            if not segments:
                break
            for one in segments:
                self._unsent.add(segment.unpack(one))
            self._read_to = segment.end(segments[-1])

    # --- what was not ------------------------------------------------------------------------------------------------

    async def _healing(
        self, stored: Position, progress: Position, checkpoints: Mapping[CheckpointKey, bytes]
    ) -> Healing:
        last = self._shard.held.last
        position = Position(max(last.seq, progress.seq), last.chain)
        appended: list[Segment] = []
        end, fill = position, list[Event]()
        async for event, renamed in self._lacking(stored, last):
            seq = end.seq + len(fill) + 1
            # Under the id that it had, the others may have got another state: who drops known ids would not have this one.
            only = (self._sink, *self._unsettled) if renamed else (self._sink,)
            fill.append(
                Event(
                    event.id,
                    event.type,
                    event.source,
                    event.subject,
                    event.time,
                    event.key,
                    event.seen,
                    renumbered(event.body, seq),
                    only,
                    event.replay,
                )
            )
            if len(fill) == _CHUNK:
                appended.append(segment.pack(fill, end, self._clock.now()))
                end, fill = segment.end(appended[-1]), []
        if fill:
            appended.append(segment.pack(fill, end, self._clock.now()))
            end = segment.end(appended[-1])
        return Healing(sink=self._sink, position=position, last=end, segments=appended, checkpoints=checkpoints)

    async def _lacking(self, stored: Position, last: Position) -> AsyncIterator[tuple[Event, bool]]:
        """What is to be sent again, and whether it has another id than in the log."""
        seq = stored.seq
        while seq < last.seq:
            segments = await self._store.segments_after(self._shard.number, seq, _READ)
            if not segments:
                return
            for one in segments:
                for event in segment.unpack(one):
                    taken = self._unsent.take(event)
                    if taken is not None:
                        yield taken, taken.id != event.id
            seq = segments[-1].last


def _key(event: Event | Published) -> bytes:
    """The thing and its state; for a retry's reference, which is no sighting, the event's id."""
    return event.seen.id + event.seen.state if event.seen is not None else event.id.encode()


def _shard_of(source: str, shards: int) -> int:
    """The shard of an event's source, `/poller/<source id>/calls`."""
    identifier = source.removeprefix("/poller/").rpartition("/")[0]
    return int.from_bytes(blake2b(identifier.encode()).digest()[:8]) % shards
