"""A few connections, made when needed and used again. One on which anything failed is closed, never used again.

The driver's own pool makes connections in the background and logs why it could not; here the caller has to be told.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import anyio
import psycopg
from msgspec import Struct
from psycopg.abc import PQGen

from poller.errors import StoreFault, StoreRefused
from poller.stores.postgres.config import Config
from poller.stores.postgres.dsn import Dsn
from poller.stores.postgres.faults import refusal

T = TypeVar("T")

OLDEST = 140_000
"""The least server version: multiranges."""
_SETTINGS = """
SELECT set_config('search_path', %(schema)s, false),
    set_config('statement_timeout', %(statement)s, false),
    set_config('lock_timeout', %(lock)s, false),
    set_config('idle_in_transaction_session_timeout', %(idle)s, false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false),
    set_config('jit', 'off', false),
    set_config('enable_seqscan', 'off', false),
    set_config('max_parallel_workers_per_gather', '0', false),
    CASE WHEN strpos(version(), 'linux') > 0 THEN set_config('client_connection_check_interval', '1s', false) END
"""
"""A server on Linux notices within a second that we are gone, and lets go of what it locked for us. What was committed is
durable before it is sent, whatever the role's default. A just-in-time compiler only slows these statements.
A plan that was made while a table was small, and reads all of it, is kept while it grows: there shall be none. Where there is no
other, it counts as so costly that the server would start two processes for twenty rows, in each look at who owns what.
"""


class Timing(Struct, frozen=True, kw_only=True):
    """Longest waits, in seconds."""

    call: float = 30.0
    """One call of the store in all."""
    connect: float = 15.0
    """A new connection, all hosts together."""
    free: float = 10.0
    """For one of the connections to be free."""
    statement: float = 20.0
    lock: float = 10.0
    idle: float = 10.0
    """The server ends a transaction in which we say nothing; what was stopped in the middle of a statement, who takes its shard ends."""
    migration: float = 300.0


class Connection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """Ends here what was cancelled.

    The driver closes a connection under a call that is cancelled, and leaves the call's generator to be collected. The one that
    ends a pipeline still wants to read then, and the interpreter prints a traceback, whenever that is.
    """

    async def wait(self, gen: PQGen[T], *args: Any, **more: Any) -> T:  # noqa: ANN401 the library's own
        """As the library does."""
        try:
            return await super().wait(gen, *args, **more)
        except BaseException:  # a cancellation above all; it goes on from here
            with suppress(psycopg.Error, RuntimeError):  # nothing can be read any more, or it wants to go on
                gen.close()
            raise


class Session:
    """A connection during one call."""

    def __init__(self, connection: Connection, *, fresh: bool) -> None:
        self.connection = connection
        self.fresh = fresh
        """Made for this call; else it waited, and may have died meanwhile."""
        self.committing = False
        """COMMIT may have been sent."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Statement by statement. What fails ends the session, and so the transaction."""
        await self.connection.execute("BEGIN")
        yield self.connection
        self.committing = True
        await self.connection.execute("COMMIT")
        self.committing = False


class Pool:
    """At most `most` connections."""

    def __init__(self, config: Config, dsn: Dsn, timing: Timing, most: int) -> None:
        self._config = config
        self._most = most
        self._dsn = dsn
        self._timing = timing
        self._idle: list[Connection] = []
        self._room = anyio.Semaphore(most)
        self._closed = False
        logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of what is raised as well

    async def close(self) -> None:
        """Those in use are closed by whoever uses them."""
        self._closed = True
        await self.drop_idle()

    async def drop_idle(self) -> None:
        """After the server was lost: the others are as dead, or lead to a server that is no longer the right one."""
        while self._idle:
            await self._idle.pop().close()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Raises StoreFault where none gets free or none can be made, StoreRefused where none ever will."""
        await self._acquire()
        try:
            session = self._take() or Session(await self._connect(), fresh=True)
            try:
                yield session
            except BaseException:
                await session.connection.close()
                raise
            await self._put(session.connection)
        finally:
            self._room.release()

    async def _acquire(self) -> None:
        if self._closed:
            raise StoreFault(f"the store in the database {self._dsn.shown} is closed")
        with anyio.move_on_after(self._timing.free):
            await self._room.acquire()
            return
        raise StoreFault(
            f"all {self._most} connections to the database {self._dsn.shown} were busy for "
            f"{self._timing.free:g} s: check its load, or raise store.connections"
        )

    def _take(self) -> Session | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return Session(connection, fresh=False)
        return None

    async def _put(self, connection: Connection) -> None:
        if self._closed or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            await connection.close()
        else:
            self._idle.append(connection)

    async def _connect(self) -> Connection:
        try:
            with anyio.fail_after(self._timing.connect):
                connection = await Connection.connect(self._dsn.reveal(), autocommit=True, prepare_threshold=2)
                return await self._set_up(connection)
        except TimeoutError:
            raise StoreFault(
                f"the database {self._dsn.shown} did not let us in within {self._timing.connect:g} s"
            ) from None
        except psycopg.Error as error:
            raise refusal(self._dsn, error) from None  # its text may quote the connection string

    async def _set_up(self, connection: Connection) -> Connection:
        timing = self._timing
        waits = {"statement": timing.statement, "lock": timing.lock, "idle": timing.idle}
        bound = {name: f"{seconds * 1000:.0f}ms" for name, seconds in waits.items()} | {"schema": self._config.schema_}
        try:
            self._check_version(connection.info.server_version)
            await connection.execute(_SETTINGS, bound)
        except BaseException:
            await connection.close()
            raise
        return connection

    def _check_version(self, found: int) -> None:
        if found < OLDEST:
            raise StoreRefused(
                f"the database {self._dsn.shown} is PostgreSQL {found // 10_000}: {OLDEST // 10_000} or newer is needed"
            )
