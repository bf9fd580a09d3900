"""The progress rule: from where a sink goes on, decided by what it says was published and by what the store's log holds.

- No progress: from the store's position, which is written only after a commit and so is a sound lower bound.
- Progress that is the position, or that the log holds with its chain: from the larger of the two.
- Otherwise the store does not share its history with what was published: it is healed (`healing.py`).
"""

from collections.abc import Awaitable, Callable

from poller.errors import ForeignProgress, Outdated
from poller.healing import Healer
from poller.model import Position, Progress
from poller.place import first_place
from poller.protocols import Lane, Sink
from poller.route import Route

WATCH = 60.0
"""Seconds for which the progress that a store without history finds is watched: if it grows, somebody else writes it."""


class Settler:
    """Settles one sink of one shard, as often as its lane is opened anew."""

    def __init__(self, route: Route[Sink]) -> None:
        self._route = route
        self._shard = route.shard
        self._store = route.shard.store
        self._sink = route.sink
        self._options = route.options
        self._clock = route.clock
        self._log = route.log
        self._rewind = route.rewind
        self._healer = Healer(route)
        self._identity = route.sink.identity(route.shard.number)
        self._meta = f"sink.{route.sink.name}.{route.shard.number}"
        self._alone = False
        self._settled: int | None = None

    def accept_duplicates(self) -> bool:
        """Lets a healing that waits for topics which cannot be read go on without them; False where none waits."""
        self._healer.accept_duplicates = self._healer.waiting
        return self._healer.waiting

    async def begin(self) -> None:
        """Fixes the position of a sink that has none, before any event is committed that it must not miss."""
        number, name = self._shard.number, self._sink.name
        if await self._store.position(name, number) is not None:
            return
        old = self._options.renamed_from
        position = await self._store.position(old, number) if old else None
        if position is None:
            position = await first_place(self._route)
        async with self._shard.lock:
            await self._store.delivered(self._shard.held, name, position)

    async def settle(self) -> tuple[Lane, Position]:
        """A fresh lane and the position up to which everything is delivered.

        Raises SinkFault, SinkRefused, StoreFault, Outdated, or ForeignProgress.
        """
        generation = self._shard.generation
        stored = await self._stored()
        if not self._sink.keeps_progress:
            return await self._sink.lane(self._shard.number), stored
        kept = await self._store.get_meta(self._meta) or await self._kept_by_old_name()
        fresh = kept is None
        if fresh and not self._alone:
            await self._watch()
        lane, stored = await self._own_lane(kept or self._identity, stored, fresh=fresh)
        try:
            position = await self._rule(lane, stored, fresh=fresh)
            if lane.progress is None:
                await lane.note(position)
            await self._store.put_meta(self._meta, self._identity)
        except BaseException:  # whatever ends this, a cancellation too: nobody else knows the lane yet
            await lane.close()
            raise
        self._settled = generation
        self._healer.resume()
        return lane, position

    # --- under which identity ------------------------------------------------------------------------------------------

    async def _own_lane(self, kept: str, stored: Position, *, fresh: bool) -> tuple[Lane, Position]:
        """A lane under our identity, and the position once everything that was sent under other ones is settled."""
        if kept == self._identity:
            lane = await self._lane(self._identity, stored)
            if lane.progress is None or lane.progress.moved is None:
                return lane, stored
            await lane.close()
            if self._settled == self._shard.generation:
                raise ForeignProgress(self._foreign(lane.progress))
        await self._confirm(stored)
        went, _ = await self._went(self._fenced, kept, self._identity)
        if went != self._identity:
            stored = await self._move(went, stored, fresh=fresh)
        return await self._lane(self._identity, stored), stored

    async def _went(
        self, read: Callable[[str], Awaitable[Progress | None]], *begins: str
    ) -> tuple[str, Progress | None]:
        """Where the work is now, and how far: progress that moved is followed, and the furthest of all counts.

        Numbers only grow, so the furthest is the latest, whatever leads where, back to an earlier name too.
        """
        found: dict[str, Progress | None] = {}
        last = begins[0]
        for begin in begins:
            identity: str | None = begin
            while identity is not None and identity not in found:
                progress = found[identity] = await read(identity)
                if (_seq(progress), identity != begin) > (_seq(found[last]), False):
                    last = identity
                identity = progress.moved if progress is not None else None
        return last, found[last]

    async def _fenced(self, identity: str) -> Progress | None:
        """Its progress, to which nobody adds any more. Raises ForeignProgress."""
        lane = await self._sink.lane(self._shard.number, identity)
        await lane.close()
        self._check_shards(identity, lane.progress)
        return lane.progress

    def _check_shards(self, identity: str, progress: Progress | None) -> None:
        """With another number of them, sources lie elsewhere: what shows in a shard's progress is not all that was published."""
        there, here = progress.shards if progress is not None else 0, self._store.shards
        if there not in {0, here}:
            raise ForeignProgress(
                f"sink {self._sink.name}: the progress of {identity!r} was written for a store of {there} shards, and this one "
                f"has {here}: go on with that store (`poller state export` and `import` move one to another), or give this "
                "installation a transactional_id_prefix of its own"
            )

    async def _peeked(self, identity: str) -> Progress | None:
        return await self._sink.peek(self._shard.number, identity)

    async def _move(self, went: str, stored: Position, *, fresh: bool) -> Position:
        """Settles what was sent under another identity, and takes the work over from it in one transaction.

        Whoever comes with that identity later, such as a store from before, is led to where the work went.
        """
        self._log.warning("the progress moves", old=went, new=self._identity, detail="settling under the old one first")
        lane = await self._lane(went, stored)
        try:
            position = await self._rule(lane, stored, fresh=fresh)
            await lane.note(position, moved=self._identity)
        finally:
            await lane.close()
        await self._confirm(position)
        return position

    async def _lane(self, identity: str, stored: Position) -> Lane:
        """Nobody is fenced, and nothing is believed, by somebody who has lost the shard."""
        await self._confirm(stored)
        lane = await self._sink.lane(self._shard.number, identity)
        try:
            self._check_shards(identity, lane.progress)
            await self._confirm(stored)
        except BaseException:  # as above
            await lane.close()
            raise
        return lane

    # --- from where ------------------------------------------------------------------------------------------------------

    async def _rule(self, lane: Lane, stored: Position, *, fresh: bool) -> Position:
        """The three cases. `fresh`: this store has never met this sink's progress."""
        progress = lane.progress
        if progress is None:
            if stored.seq and not fresh:
                self._log.error(
                    "progress is gone",
                    position=stored.seq,
                    detail="the progress topic has no record of this shard: was it deleted or emptied? Going on from the "
                    "store's own position; what was sent after it in an unfinished delivery may be sent twice",
                )
            return stored
        # Progress that moved to where nothing is any more says no longer how far it came.
        if progress.moved is None:
            if progress.position == stored:
                return stored
            # What was there before this store met the sink was written in another store's life, whatever the log says.
            if not fresh and await self._store.holds(self._shard.number, progress.position):
                return max(stored, progress.position, key=lambda position: position.seq)
        if self._settled == self._shard.generation:
            await self._confirm(stored)
            if self._settled != self._shard.generation:
                raise Outdated("the store was exchanged just now: its own earlier progress is not foreign")
            raise ForeignProgress(self._foreign(progress))
        return await self._healed(lane, stored, fresh=fresh)

    async def _healed(self, lane: Lane, stored: Position, *, fresh: bool) -> Position:
        rewound = None
        if fresh and self._rewind is not None:
            rewound = self._rewind(lane.progress.at if lane.progress is not None else self._clock.now())
        position = await self._healer.heal(
            lane,
            stored,
            since=rewound.begin if rewound is not None else None,
            whole=fresh and rewound is None,
            checkpoints=rewound.checkpoints if rewound is not None else {},
        )
        await lane.note(position)
        if rewound is not None:
            raise Outdated("the checkpoints were set back")
        return position

    async def _stored(self) -> Position:
        """Never None after `begin`, unless the store was exchanged since."""
        stored = await self._store.position(self._sink.name, self._shard.number)
        if stored is None:
            await self.begin()
            stored = await self._store.position(self._sink.name, self._shard.number)
        return stored or Position()

    async def _confirm(self, position: Position) -> None:
        """A write that changes nothing: raises Outdated where the shard is no longer as we believe it, or no longer ours."""
        async with self._shard.lock:
            await self._store.delivered(self._shard.held, self._sink.name, position)

    async def _watch(self) -> None:
        """A store that knows nothing of this sink finds progress: its own earlier life, or another installation?"""
        found = await self._went(self._peeked, self._identity)
        if found[1] is not None and found[1].position.seq:
            self._log.warning(
                "progress without a history",
                seq=found[1].position.seq,
                detail=f"this store is new to the sink; watching for {WATCH:.0f}s whether another installation writes it",
            )
            await self._clock.sleep(WATCH)
            later = await self._went(self._peeked, self._identity)
            if later != found:
                raise ForeignProgress(self._foreign(later[1] or found[1]))
        self._alone = True

    def _foreign(self, progress: Progress) -> str:
        where = progress.moved or str(progress.position.seq)
        return (
            f"sink {self._sink.name}: another installation uses {self._identity!r}: its progress moved to {where}, "
            "and not by us. Give each installation a transactional_id_prefix of its own"
        )

    async def _kept_by_old_name(self) -> str | None:
        old = self._options.renamed_from
        return await self._store.get_meta(f"sink.{old}.{self._shard.number}") if old else None


def _seq(progress: Progress | None) -> int:
    return progress.position.seq if progress is not None else -1
