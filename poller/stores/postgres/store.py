"""The store in a PostgreSQL database. What is written is in `writes.py` and `expiry.py`, what is read in `reads.py`."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeVar

import anyio

from poller.errand import Errand
from poller.kept import Attempted, Discarded, LetterHead, LetterPlace, LetterTotal, Place, Retry, Which
from poller.leasing import Leases
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
from poller.stores.postgres import errands, expiry, leases, letters, reads, writes
from poller.stores.postgres.database import Database, Statement, fetch
from poller.stores.postgres.faults import Gone
from poller.stores.postgres.pool import Session
from poller.stores.postgres.values import to_bytes, to_text

T = TypeVar("T")


class PostgresStore:
    """Any number of processes may use one database; each write compares what its writer believes."""

    kind = "postgres"

    def __init__(self, database: Database, shards: int, prepare: Callable[[Database], Awaitable[object]]) -> None:
        """`prepare`: makes the tables anew where they were dropped under a running program."""
        self._database = database
        self._beside = database.beside()
        self._prepare = prepare
        self.shards = shards
        self.lease: float = database.config.lease

    async def close(self) -> None:
        """Closes the connections."""
        with anyio.CancelScope(shield=True):  # closing a connection waits for nobody
            await self._database.pool.close()
            await self._beside.pool.close()

    async def _anew(self, work: Callable[[], Awaitable[T]]) -> T:
        """Makes the tables anew where the database was emptied."""
        try:
            return await work()
        except Gone:
            await self._prepare(self._database)
            return await work()

    async def hold(self, shard: int) -> Held:
        """Without a lease: whoever has it notices at the next write."""
        rows = await self._anew(lambda: self._database.rows("hold", shard=shard))
        return self._database.believe(shard, rows[0])

    async def claim(self, shard: int, owner: str, seconds: float) -> Held | None:
        """None: somebody else has it."""
        return await self._anew(lambda: leases.claim(self._database, shard, owner, seconds))

    async def renew(self, owner: str, held: Collection[Held], seconds: float, *, staying: bool) -> frozenset[int]:
        """The shards that are still the owner's. Does not wait while all connections are busy with pages."""
        return await self._anew(lambda: leases.renew(self._beside, owner, held, seconds, staying=staying))

    async def release(self, owner: str, held: Collection[Held]) -> None:
        """Nothing happens to what is somebody else's by now."""
        await self._anew(lambda: leases.release(self._beside, owner, held))

    async def leases(self) -> Leases:
        """By shard and by name."""
        return await self._anew(lambda: leases.leases(self._beside))

    async def ask(self, errand: Errand, seconds: float) -> None:
        """One row."""
        await self._anew(lambda: errands.ask(self._database, errand, seconds))

    async def errands(self, shards: Collection[int]) -> list[Errand]:
        """A hundred at most. Leases have connections that these reads never hold up."""
        return await self._anew(lambda: errands.asked(self._database, shards))

    async def commit_errand(self, held: Held, page: PageCommit, errand: str, answer: bytes) -> Held | None:
        """Two round trips, as `commit_page`."""
        last, said = held.last, errands.answered(errand, answer)

        def build() -> Sequence[Statement]:
            nonlocal last
            last, statements = writes.commit_page(held, page)
            return [*statements, said]

        done = await self._database.write(held, build, room=True, where=errands.stands(errand))
        return Held(held.shard, held.epoch, last) if done else None

    async def answer(self, errand: str, answer: bytes) -> None:
        """Without a commit of its own."""
        await errands.answer(self._database, errand, answer)

    async def answer_to(self, errand: str) -> bytes | None:
        """None: there is none yet."""
        return await errands.answer_to(self._database, errand)

    async def withdraw(self, errand: str) -> bytes | None:
        """Waits for the commit that answers it just now."""
        return await errands.withdraw(self._database, errand)

    async def look_up(self, held: Held | None, keys: Sequence[SeenKey]) -> dict[int, Sighting]:
        """One round trip."""
        return await reads.look_up(self._database, held, keys)

    async def commit_page(self, held: Held, page: PageCommit) -> Held:
        """Two round trips, one for a checkpoint alone where the store has no limit. Raises StoreFull at the limit too."""
        alone = writes.lone_checkpoint(page)
        if alone is not None and self._database.config.max_bytes is None:
            await self._database.move_checkpoint(held, *alone)
            return held
        last = held.last

        def build() -> Sequence[Statement]:
            nonlocal last
            last, statements = writes.commit_page(held, page)
            return statements

        await self._database.write(held, build, room=True)
        return Held(held.shard, held.epoch, last)

    async def delivered(self, held: Held, sink: str, position: Position, dead: Sequence[DeadEvent] = ()) -> None:
        """Also when the store is at its limit."""
        await self._database.write(held, lambda: writes.delivered(held, sink, position, dead))

    async def attempted(self, held: Held, sink: str, attempted: Attempted) -> None:
        """Also when the store is at its limit."""
        await self._database.write(held, lambda: writes.attempted(held, sink, attempted))

    async def heal(self, held: Held, healing: Healing) -> Held:
        """The epoch stays."""
        await self._database.write(held, lambda: writes.heal(held, healing))
        return Held(held.shard, held.epoch, healing.last)

    async def expire(
        self, *, log_before: float, seen_before_day: int, limit: int, sinks: Collection[str] | None = None
    ) -> int:
        """Segments first. Days of many seen ids go whole, all their rows counted, even where those are more than `limit`."""
        gone = await expiry.expire_segments(self._database, log_before, limit, sinks)
        return gone + await expiry.expire_seen(self._database, seen_before_day, limit - gone)

    async def forget_sink(self, sink: str) -> bool:
        """Removes its positions, what was noted behind them, its retries and dead events."""

        async def work(session: Session) -> bool:
            gone = 0
            async with session.transaction() as connection:
                for name in ("forget_positions", "forget_retries", "forget_dead_events"):
                    gone += len(await fetch(connection, name, {"sink": sink}))
            return gone > 0

        return await self._database.call(work)

    async def forget_source(self, source: str) -> bool:
        """Removes its checkpoints."""
        return bool(await self._database.rows("forget_checkpoints", source=source))

    async def empty(self, held: Sequence[Held]) -> None:
        """Waits for whoever reads, and they wait for it."""
        await expiry.empty(self._database, held)

    async def put_meta(self, name: str, value: str | None) -> None:
        """None removes it."""
        if value is None:
            await self._database.rows("drop_meta", name=name)
        else:
            await self._database.rows("put_meta", name=name, value=to_bytes(value))

    async def swap_meta(self, name: str, before: str | None, value: str) -> bool:
        """False where something else is there than `before`."""
        bound = {"name": name, "value": to_bytes(value)}
        if before is None:
            return bool(await self._database.rows("first_meta", **bound))
        return bool(await self._database.rows("swap_meta", **bound, before=to_bytes(before)))

    async def get_meta(self, name: str) -> str | None:
        """None where there is none."""
        rows = await self._database.rows("get_meta", name=name)
        return to_text(rows[0][0]) if rows else None

    async def checkpoints(self, source: str | None = None) -> dict[CheckpointKey, bytes]:
        """All, or one source's."""
        rows = await self._database.rows("checkpoints", source=source)
        return {CheckpointKey(name, endpoint, ask): value for name, endpoint, ask, value in rows}

    async def segments_after(self, shard: int, seq: int, max_bytes: int) -> list[Segment]:
        """`max_bytes` counts the bodies before compression; at most 1,000 at a time."""
        return await reads.segments_after(self._database, shard, seq, max_bytes)

    async def holds(self, shard: int, position: Position) -> bool:
        """Also true for the end of the log after a healing, where no segment ends."""
        return await reads.holds(self._database, shard, position)

    async def find_event(self, shard: int, key: SeenKey) -> Segment | None:
        """None when it was never published or is no longer kept."""
        return await reads.find_event(self._database, shard, key)

    async def states_of(self, ids: Sequence[bytes]) -> list[tuple[SeenKey, int]]:
        """By day, id and state."""
        return await reads.states_of(self._database, ids)

    async def segments_before(self, shard: int, seq: int, max_bytes: int) -> list[Segment]:
        """`max_bytes` counts the bodies before compression; at most 1,000 at a time."""
        return await reads.segments_before(self._database, shard, seq, max_bytes)

    async def position(self, sink: str, shard: int) -> Position | None:
        """None: it has none yet."""
        rows = await self._database.rows("position", sink=sink, shard=shard)
        return Position(*rows[0]) if rows else None

    async def positions(self) -> dict[tuple[str, int], Position]:
        """Removed sinks included."""
        rows = await self._database.rows("positions")
        return {(sink, shard): Position(seq, chain) for sink, shard, seq, chain in rows}

    async def done(self, sink: str, shard: int) -> tuple[int, ...]:
        """Ascending, behind the position."""
        return tuple(number for (number,) in await self._database.rows("done", sink=sink, shard=shard))

    async def places(self, sink: str, shard: int) -> list[Place]:
        """By number."""
        return await reads.places(self._database, sink, shard)

    async def retries(self, sink: str, shard: int, seqs: Sequence[int]) -> list[Retry]:
        """By number."""
        return await reads.retries(self._database, sink, shard, seqs)

    async def retrying(self) -> dict[tuple[str, int], int]:
        """By sink and shard."""
        return {(sink, shard): count for sink, shard, count in await self._database.rows("retrying")}

    async def backlog(self, shard: int, seq: int, sink: str) -> Behind:
        """Without the segments that are for other sinks alone."""
        return await reads.backlog(self._database, shard, seq, sink)

    async def letter_totals(self) -> list[LetterTotal]:
        """Kept by triggers."""
        return await letters.totals(self._database)

    async def letter_heads(self, which: Which, *, after: LetterPlace, until: float, limit: int) -> list[LetterHead]:
        """By time and id."""
        return await letters.heads(self._database, which, after, until, limit)

    async def letters_like(self, start: str, limit: int) -> list[LetterHead]:
        """By id."""
        return await letters.like(self._database, start, limit)

    async def letters(self, ids: Sequence[str]) -> list[DeadRecord | DeadEvent]:
        """Those that are kept."""
        return await letters.some(self._database, ids)

    async def dead_record_ids(self, source: str) -> set[str]:
        """One source's."""
        return await letters.record_ids(self._database, source)

    async def expire_letters(self, *, before: float, limit: int) -> tuple[int, int]:
        """One transaction."""
        return await letters.expire(self._database, before, limit)

    async def discard_letters(self, sink: str, *, keep: int, limit: int) -> Discarded:
        """One transaction."""
        return await letters.discard(self._database, sink, keep, limit)

    async def facts(self) -> Facts:
        """`bytes`: what is kept, not what the database's files take."""
        return await reads.facts(self._database)
