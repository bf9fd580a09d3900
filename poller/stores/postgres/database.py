"""One call to the database: its deadline, what is tried again, and what became of it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import anyio
import psycopg

from poller.errors import Outdated, StoreFault, StoreFull
from poller.model import CheckpointKey, Held, Position
from poller.options import show_size
from poller.stores.postgres.config import Config
from poller.stores.postgres.dsn import Dsn
from poller.stores.postgres.faults import CLASHES, fault, lost, unknown_outcome
from poller.stores.postgres.pool import Connection, Pool, Session, Timing
from poller.stores.postgres.queries import SQL

T = TypeVar("T")
Row: TypeAlias = tuple[Any, ...]
Statement: TypeAlias = tuple[str, Mapping[str, object]]
"""The name of a statement of queries.sql, and what is bound to it."""

_PLANNED_ANEW = frozenset(
    {"dead_record_heads", "dead_event_heads", "dead_event_heads_of_sink", "dead_records_like", "dead_events_like"}
)
"""Statements of which what is bound decides whether an index in their order is worth it: a plan for all of it would sort everything."""
_TRIES = 5
"""Of a transaction that clashes with others."""


class Database:
    """Runs calls on the pool's connections."""

    def __init__(
        self, config: Config, timing: Timing | None = None, *, looking: bool = False, most: int | None = None
    ) -> None:
        """`most`: connections at a time, where it is not as many as are configured."""
        self.config = config
        self.dsn = Dsn(config, looking=looking)
        self.timing = timing or Timing()
        self.pool = Pool(config, self.dsn, self.timing, most or config.connections)
        self._looking = looking
        self._holders: dict[int, UUID] = {}

    def beside(self) -> "Database":
        """With two connections of its own, for short calls that must not wait for long ones."""
        return Database(self.config, self.timing, looking=self._looking, most=2)

    async def call(self, work: Callable[[Session], Awaitable[T]], *, deadline: float | None = None) -> T:
        """Runs `work` on one connection; again where that changes nothing twice. Raises StoreFault, StoreRefused, Outdated."""
        clashes = 0
        while True:
            session: Session | None = None
            try:
                with anyio.fail_after(deadline or self.timing.call):
                    async with self.pool.session() as session:
                        return await work(session)
            except TimeoutError:
                raise self._too_slow(session, deadline or self.timing.call) from None
            except psycopg.Error as error:
                clashes += error.sqlstate in CLASHES
                if session is None or not await self._again(session, error, clashes):
                    raise self._fault(session, error) from error

    async def rows(self, statement: str, /, **bound: object) -> list[Row]:
        """All rows of one statement."""

        async def work(session: Session) -> list[Row]:
            return await fetch(session.connection, statement, bound)

        return await self.call(work)

    def believe(self, shard: int, row: Row) -> Held:
        """What a take-over found. From here on the writes of this process are the new holder's."""
        epoch, seq, chain, self._holders[shard] = row
        return Held(shard, epoch, Position(seq, chain))

    async def confirm(self, connection: Connection, held: Held) -> None:
        """Locks the shard's row within a transaction. Raises Outdated where the shard is not as believed."""
        rows = await fetch(connection, "read_shard", {"shard": held.shard})
        compare(held, self._holders.get(held.shard), rows[0] if rows else None)

    async def write(
        self,
        held: Held,
        build: Callable[[], Sequence[Statement]],
        *,
        room: bool = False,
        where: Statement | None = None,
    ) -> bool:
        """One transaction for a shard in two round trips: compare under the row's lock, then everything and the commit.

        `room`: raises StoreFull at the configured limit. `where`: finds a row, else nothing is written and False comes back.
        """

        async def work(session: Session) -> bool:
            connection = session.connection
            async with connection.pipeline():
                await connection.execute("BEGIN")
                shard = await connection.execute(SQL["read_shard"], {"shard": held.shard}, binary=True)
                limited = room and self.config.max_bytes is not None
                kept = await connection.execute(SQL["kept_bytes"], binary=True) if limited else None
                found = await connection.execute(SQL[where[0]], where[1]) if where is not None else None
            compare(held, self._holders.get(held.shard), await shard.fetchone())
            if kept is not None:
                self._check_room(await kept.fetchone())
            if found is not None and await found.fetchone() is None:
                return False  # the connection is closed, and the transaction with it
            statements = build()
            async with connection.pipeline():
                for name, bound in statements:
                    await connection.execute(SQL[name], bound)
                session.committing = True
                await connection.execute("COMMIT")
            return True

        return await self.call(work)

    async def move_checkpoint(self, held: Held, key: CheckpointKey, value: bytes) -> None:
        """The same for one checkpoint alone, in one round trip, and once more where the connection was lost: it stays the same row.

        A first one that comes through long after may put back a checkpoint that was moved on meanwhile; then what lies between
        is read once more. It cannot where anything was published, or another writer came, since.
        """
        holder = self._holders.get(held.shard)
        bound = {
            "shard": held.shard, "epoch": held.epoch, "seq": held.last.seq, "chain": held.last.chain, "holder": holder,
            "source": key.source, "endpoint": key.endpoint, "ask": key.ask, "value": value,
        }  # fmt: skip
        rows = await self.rows("move_checkpoint", **bound)
        compare(held, holder, rows[0] if rows else None)

    def _check_room(self, row: Row | None) -> None:
        limit = self.config.max_bytes
        kept = row[0] if row else 0
        if limit is not None and kept >= limit:
            raise StoreFull(
                f"the store in the database {self.dsn.shown} keeps {show_size(kept)} and store.max_bytes is "
                f"{show_size(limit)}: raise it, or shorten retention or seen_ttl; polling goes on by itself then"
            )

    async def _again(self, session: Session, error: psycopg.Error, clashes: int) -> bool:
        if error.sqlstate in CLASHES:
            await anyio.sleep(0.01 * clashes)
            return clashes < _TRIES
        if not lost(error) and error.sqlstate != "25006":
            return False
        await self.pool.drop_idle()
        return not session.fresh and not session.committing

    def _fault(self, session: Session | None, error: psycopg.Error) -> Exception:
        if session is not None and session.committing and lost(error):
            return unknown_outcome(self.dsn, f"it said: {self.dsn.clean(error)}")
        return fault(self.dsn, error)

    def _too_slow(self, session: Session | None, seconds: float) -> StoreFault:
        if session is not None and session.committing:
            return unknown_outcome(self.dsn, f"no answer within {seconds:g} s")
        return StoreFault(
            f"the database {self.dsn.shown} did not answer within {seconds:g} s: check its load and the network"
        )


def compare(held: Held, holder: UUID | None, row: Row | None) -> None:
    """Raises Outdated where the shard's row is not what the writer believes. `holder`: None where this process took nothing over."""
    believed = (held.epoch, held.last.seq, held.last.chain)
    if row is None or row[:3] != believed or holder not in {None, row[3]}:
        found = "knows nothing of it" if row is None else f"has epoch {row[0]} and last seq {row[1]}"
        if row is not None and row[:3] == believed:
            found += " by another holder"
        raise Outdated(
            f"shard {held.shard}: the writer believes epoch {held.epoch} and last seq {held.last.seq}, the store {found}: "
            "it was restored, emptied, or taken over by another writer"
        )


async def fetch(connection: Connection, name: str, bound: Mapping[str, object]) -> list[Row]:
    """All rows of one statement."""
    cursor = await connection.execute(SQL[name], bound, binary=True, prepare=False if name in _PLANNED_ANEW else None)
    return await cursor.fetchall()
