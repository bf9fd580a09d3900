"""The embedded store: who runs where. What is written is in `writes.py`, what is read in `reads.py`."""

import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import anyio
from anyio import to_thread

from poller.kept import Attempted, Discarded, LetterHead, LetterPlace, LetterTotal, Place, Retry, Which
from poller.model import (
    Behind,
    CheckpointKey,
    DeadEvent,
    DeadRecord,
    Healing,
    Held,
    PageCommit,
    Position,
    SeenKey,
    Segment,
    Sighting,
)
from poller.protocols import Facts
from poller.stores.sqlite import letters, reads, writes
from poller.stores.sqlite.faults import told
from poller.stores.sqlite.file import DEADLINE, Database, Timed

T = TypeVar("T")

_SEGMENTS_AT_A_TIME = 50
"""About a tenth of a second: the pages of each are visited one by one."""
_SEEN_AT_A_TIME = 20_000


class SqliteStore:
    """One writer connection in one thread; a reader connection in another, so that a slow listing delays no commit."""

    kind = "sqlite"
    shards = 1

    def __init__(self, database: Database) -> None:
        self._database = database
        self._deadline = DEADLINE
        self._closed = False
        self._writing = anyio.CapacityLimiter(1)
        self._reading = anyio.CapacityLimiter(1)

    async def close(self) -> None:
        """Closes the file and gives up the lock."""
        with anyio.CancelScope(shield=True):
            async with self._reading:
                await to_thread.run_sync(self.close_now, limiter=self._writing)

    def close_now(self) -> None:
        """The same from a thread of the caller's."""
        if not self._closed:
            self._closed = True
            with suppress(sqlite3.Error):  # what is committed is on the disk; the next start folds the log
                self._database.close()
            if self._database.lock is not None:
                self._database.lock.release()

    async def _write(self, work: Callable[[Database], T]) -> T:
        return await to_thread.run_sync(lambda: self._run(work, self._database.writer), limiter=self._writing)

    async def _read(self, work: Callable[[Database], T]) -> T:
        return await to_thread.run_sync(lambda: self._run(work, self._database.reader), limiter=self._reading)

    def _run(self, work: Callable[[Database], T], connection: Timed) -> T:
        connection.limit(self._deadline)
        with told(self._database.path):
            return work(self._database)

    def _reopen(self, database: Database) -> None:
        database.close()
        self._database = Database(database.config, database.path, database.lock)

    async def hold(self, shard: int) -> Held:
        """Opens the file anew where it was replaced."""
        if self._database.replaced():
            async with self._reading:
                await self._write(self._reopen)
        return await self._write(lambda database: writes.hold(database, shard))

    async def look_up(self, held: Held | None, keys: Sequence[SeenKey]) -> dict[int, Sighting]:
        """On the writer's connection, whose page cache holds what was written last."""
        return await self._write(lambda database: reads.look_up(database.writer, held, keys))

    async def commit_page(self, held: Held, page: PageCommit) -> Held:
        """Raises StoreFull at the configured limits too."""
        return await self._write(lambda database: writes.commit_page(database, held, page))

    async def delivered(self, held: Held, sink: str, position: Position, dead: Sequence[DeadEvent] = ()) -> None:
        """Also when the store is at its limit."""
        await self._write(lambda database: writes.delivered(database, held, sink, position, dead))

    async def attempted(self, held: Held, sink: str, attempted: Attempted) -> None:
        """Also when the store is at its limit."""
        await self._write(lambda database: writes.attempted(database, held, sink, attempted))

    async def heal(self, held: Held, healing: Healing) -> Held:
        """The epoch stays."""
        return await self._write(lambda database: writes.heal(database, held, healing))

    async def expire(
        self, *, log_before: float, seen_before_day: int, limit: int, sinks: Collection[str] | None = None
    ) -> int:
        """In small transactions, between which other calls come in."""
        gone = 0
        for work, at_a_time in (
            (partial(writes.expire_segments, before=log_before, sinks=sinks), _SEGMENTS_AT_A_TIME),
            (partial(writes.expire_seen, day=seen_before_day), _SEEN_AT_A_TIME),
        ):
            while gone < limit:
                some = min(at_a_time, limit - gone)
                went = await self._write(partial(work, limit=some))
                gone += went
                if went < some:
                    break
        return gone

    async def forget_sink(self, sink: str) -> bool:
        """Removes its positions, retries and dead events."""
        return await self._write(lambda database: writes.forget_sink(database, sink))

    async def forget_source(self, source: str) -> bool:
        """Removes its checkpoints."""
        return await self._write(lambda database: writes.forget_source(database, source))

    async def empty(self, held: Sequence[Held]) -> None:
        """One transaction."""
        await self._write(lambda database: writes.empty(database, held))

    async def put_meta(self, name: str, value: str | None) -> None:
        """None removes it."""
        await self._write(lambda database: writes.put_meta(database, name, value))

    async def swap_meta(self, name: str, before: str | None, value: str) -> bool:
        """False where something else is there than `before`."""
        return await self._write(lambda database: writes.swap_meta(database, name, before, value))

    async def get_meta(self, name: str) -> str | None:
        """None where there is none."""
        return await self._read(lambda database: reads.get_meta(database.reader, name))

    async def checkpoints(self, source: str | None = None) -> dict[CheckpointKey, bytes]:
        """All, or one source's."""
        return await self._read(lambda database: reads.checkpoints(database.reader, source))

    async def seen_after(self, after: SeenKey | None, limit: int) -> list[SeenKey]:
        """By day, id and state."""
        return await self._read(lambda database: reads.seen_after(database.reader, after, limit))

    async def segments_after(self, shard: int, seq: int, max_bytes: int) -> list[Segment]:
        """`max_bytes` counts the bodies before compression."""
        return await self._read(lambda database: reads.segments_after(database.reader, shard, seq, max_bytes))

    async def holds(self, shard: int, position: Position) -> bool:
        """Also true for the end of the log after a healing, where no segment ends."""
        return await self._read(lambda database: reads.holds(database.reader, shard, position))

    async def find_event(self, shard: int, key: SeenKey) -> Segment | None:
        """None when it was never published or is no longer kept."""
        return await self._read(lambda database: reads.find_event(database.reader, shard, key))

    async def states_of(self, ids: Sequence[bytes]) -> list[tuple[SeenKey, int]]:
        """By day, id and state."""
        return await self._read(lambda database: reads.states_of(database.reader, ids))

    async def segments_before(self, shard: int, seq: int, max_bytes: int) -> list[Segment]:
        """`max_bytes` counts the bodies before compression."""
        return await self._read(lambda database: reads.segments_before(database.reader, shard, seq, max_bytes))

    async def position(self, sink: str, shard: int) -> Position | None:
        """None: it has none yet."""
        return await self._read(lambda database: reads.position(database.reader, sink, shard))

    async def positions(self) -> dict[tuple[str, int], Position]:
        """Removed sinks included."""
        return await self._read(lambda database: reads.positions(database.reader))

    async def done(self, sink: str, shard: int) -> tuple[int, ...]:
        """Ascending, behind the position."""
        return await self._read(lambda database: reads.done(database.reader, sink, shard))

    async def places(self, sink: str, shard: int) -> list[Place]:
        """By number."""
        return await self._read(lambda database: reads.places(database.reader, sink, shard))

    async def retries(self, sink: str, shard: int, seqs: Sequence[int]) -> list[Retry]:
        """By number."""
        return await self._read(lambda database: reads.retries(database.reader, sink, shard, seqs))

    async def retrying(self) -> dict[tuple[str, int], int]:
        """By sink and shard."""
        return await self._read(lambda database: reads.retrying(database.reader))

    async def backlog(self, shard: int, seq: int, sink: str) -> Behind:
        """Without the segments that are for other sinks alone."""
        return await self._read(lambda database: reads.backlog(database.reader, shard, seq, sink))

    async def letter_totals(self) -> list[LetterTotal]:
        """Kept by triggers."""
        return await self._read(lambda database: letters.totals(database.reader))

    async def letter_heads(self, which: Which, *, after: LetterPlace, until: float, limit: int) -> list[LetterHead]:
        """By time and id."""
        return await self._read(lambda database: letters.heads(database.reader, which, after, until, limit))

    async def letters_like(self, start: str, limit: int) -> list[LetterHead]:
        """By id."""
        return await self._read(lambda database: letters.like(database.reader, start, limit))

    async def letters(self, ids: Sequence[str]) -> list[DeadRecord | DeadEvent]:
        """Those that are kept."""
        return await self._read(lambda database: letters.some(database.reader, ids))

    async def dead_record_ids(self, source: str) -> set[str]:
        """One source's."""
        return await self._read(lambda database: letters.record_ids(database.reader, source))

    async def expire_letters(self, *, before: float, limit: int) -> tuple[int, int]:
        """One transaction."""
        return await self._write(lambda database: letters.expire(database, before, limit))

    async def discard_letters(self, sink: str, *, keep: int, limit: int) -> Discarded:
        """One transaction."""
        return await self._write(lambda database: letters.discard(database, sink, keep, limit))

    async def facts(self) -> Facts:
        """`seen_ids` counts rows: one for each state of each id."""
        return await self._read(lambda database: reads.facts(database.reader, database.config))
