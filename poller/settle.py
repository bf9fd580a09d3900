"""The progress rule: from where a sink goes on, decided by what it says was published and by what the store's log holds.

- No progress: from the store's position, which is written only after a commit and so is a sound lower bound.
- Progress that is the position, or that the log holds with its chain: from the larger of the two.
- Otherwise the store does not share its history with what was published: it is healed (`healing.py`).
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from structlog.typing import FilteringBoundLogger

from poller.clock import Clock
from poller.errors import ForeignProgress, Outdated
from poller.healing import Healer
from poller.metrics import Metrics
from poller.model import CheckpointKey, Position
from poller.options import SinkOptions
from poller.protocols import Lane, Sink
from poller.shard import Shard

WATCH = 60.0
"""Seconds for which the progress that a store without history finds is watched: if it grows, somebody else writes it."""
_READ = 8 << 20


class Rewound(Struct, frozen=True):
    """Where a store that was emptied begins again: epoch seconds of own time, and the checkpoints that say so."""

    begin: float
    checkpoints: Mapping[CheckpointKey, bytes]


Rewind = Callable[[float], Rewound]
"""From when the progress record was written to the earlier of each `start` and that time minus the top rung's `back`."""


class Settler:
    """Settles one sink of one shard, as often as its lane is opened anew."""

    def __init__(
        self,
        shard: Shard,
        sink: Sink,
        options: SinkOptions,
        *,
        clock: Clock,
        log: FilteringBoundLogger,
        metrics: Metrics,
        others: Sequence[str],
        rewind: Rewind | None,
    ) -> None:
        self._shard = shard
        self._store = shard.store
        self._sink = sink
        self._options = options
        self._clock = clock
        self._log = log
        self._rewind = rewind
        self._healer = Healer(shard, sink.name, clock=clock, log=log, metrics=metrics, others=others)
        self._meta = f"sink.{sink.name}.{shard.number}"
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
            position = await self._first()
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
        if kept is None and not self._alone:
            await self._watch()
        identity = self._sink.identity(self._shard.number)
        if kept is not None and kept != identity:
            stored = await self._settle_old(kept, stored)
        await self._confirm(stored)
        lane = await self._sink.lane(self._shard.number)
        try:
            await self._confirm(stored)
            renamed = kept is not None and kept != identity
            if renamed and (lane.progress is None or lane.progress.seq <= stored.seq):
                await lane.note(stored)
                position = stored
            else:
                # A progress beyond ours under the new name: this store comes from before the change, which it does not know.
                position = await self._rule(lane, stored, fresh=kept is None)
            await self._store.put_meta(self._meta, identity)
        except BaseException:
            await lane.close()
            raise
        self._settled = generation
        self._healer.resume()
        return lane, position

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
            if stored.seq:
                await lane.note(stored)
            return stored
        if progress == stored:
            return stored
        # Progress that was there before this store met the sink was written in another store's life, whatever the log says.
        if not fresh and await self._store.holds(self._shard.number, progress):
            return max(stored, progress, key=lambda position: position.seq)
        if self._settled == self._shard.generation:
            raise ForeignProgress(self._foreign(progress))
        return await self._healed(lane, stored, fresh=fresh)

    async def _healed(self, lane: Lane, stored: Position, *, fresh: bool) -> Position:
        rewound = None
        if fresh and self._rewind is not None:
            rewound = self._rewind(lane.progress_at or self._clock.now())
        position = await self._healer.heal(
            lane,
            stored,
            since=rewound.begin if rewound is not None else None,
            whole=fresh and rewound is None,
            checkpoints=rewound.checkpoints if rewound is not None else {},
        )
        await lane.note(position)
        if rewound is not None:
            # Whoever holds a checkpoint in memory reads it anew, because this makes the shard be believed anew.
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
        found = await self._sink.peek(self._shard.number)
        if found is not None:
            self._log.warning(
                "progress without a history",
                seq=found[0].seq,
                detail=f"this store is new to the sink; watching for {WATCH:.0f}s whether another installation writes it",
            )
            await self._clock.sleep(WATCH)
            later = await self._sink.peek(self._shard.number)
            if later != found:
                raise ForeignProgress(self._foreign(later[0] if later is not None else found[0]))
        self._alone = True

    def _foreign(self, progress: Position) -> str:
        return (
            f"sink {self._sink.name}: another installation uses {self._sink.identity(self._shard.number)!r}: its progress "
            f"moved to {progress.seq}, and not by us. Give each installation a transactional_id_prefix of its own"
        )

    async def _kept_by_old_name(self) -> str | None:
        old = self._options.renamed_from
        return await self._store.get_meta(f"sink.{old}.{self._shard.number}") if old else None

    async def _settle_old(self, kept: str, stored: Position) -> Position:
        """The transactional id or the progress topic was changed: what was sent under the old ones is settled first."""
        self._log.warning("settings of the progress were changed", old=kept, detail="settling under the old ones first")
        await self._confirm(stored)
        lane = await self._sink.lane(self._shard.number, kept)
        try:
            position = await self._rule(lane, stored, fresh=False)
        finally:
            await lane.close()
        async with self._shard.lock:
            await self._store.delivered(self._shard.held, self._sink.name, position)
        return position

    async def _first(self) -> Position:
        """`start_from` as a place in the log."""
        start = self._options.start_from
        if start == "earliest":
            return Position()
        if start == 0:
            return self._shard.held.last
        at = start if start > 0 else self._clock.now() + start
        position = Position()
        while segments := await self._store.segments_after(self._shard.number, position.seq, _READ):
            for segment in segments:
                if segment.at >= at:
                    return position
                position = Position(segment.last, segment.chain)
        return position
