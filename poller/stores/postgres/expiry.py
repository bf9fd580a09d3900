"""What is no longer needed goes, in transactions so small that commits do not wait for them."""

from collections.abc import Collection, Sequence

import psycopg
from psycopg.sql import SQL as Text  # noqa: N811 `SQL` are our statements
from psycopg.sql import Identifier, Literal

from poller.model import Held
from poller.stores.postgres.database import Database, fetch
from poller.stores.postgres.pool import Session
from poller.stores.postgres.queries import SQL

_SEGMENTS_AT_A_TIME = 500
_SEEN_AT_A_TIME = 20_000
WHOLE = 20_000
"""A part of `seen` with at least so many rows, all expired, is emptied at once, even where that is more than was asked for."""
_PARTS = 64
_HOLDING = ("seen_count", "segment", "checkpoint", "position", "retry", "dead_record", "dead_event")
_LOCK_WAIT = "500ms"
"""Whoever needs the part waits behind us as long as we wait for it."""


async def expire_segments(database: Database, before: float, limit: int, sinks: Collection[str] | None) -> int:
    """A shard without any position keeps everything: its sinks are not registered yet."""
    passed: dict[int, int] = {}
    for sink, shard, seq, _ in await database.rows("positions"):
        if sinks is None or sink in sinks:
            passed[shard] = min(seq, passed.get(shard, seq))
    gone = 0
    for shard, seq in sorted(passed.items()):
        went = some = 0
        while gone < limit and went == some:
            some = min(_SEGMENTS_AT_A_TIME, limit - gone)
            went = await _expire_some(database, {"shard": shard, "passed": seq, "before": before, "limit": some})
            gone += went
    return gone


async def _expire_some(database: Database, bound: dict[str, object]) -> int:
    async def work(session: Session) -> int:
        async with session.transaction() as connection:
            await fetch(connection, "read_shard", bound)  # its lock: no position moves meanwhile
            ((went,),) = await fetch(connection, "expire_segments", bound)
        return int(went)

    return await database.call(work)


async def expire_seen(database: Database, before: int, limit: int) -> int:
    """The oldest days first. A whole part may go at once, and counts with all its rows."""
    gone = 0
    while gone < limit:
        oldest = await database.rows("oldest_day", before=before)
        if not oldest:
            break
        went = await _expire_day(database, oldest[0][0], before, min(_SEEN_AT_A_TIME, limit - gone))
        if not went:
            break
        gone += went
    return gone


async def _expire_day(database: Database, day: int, before: int, limit: int) -> int:
    bound: dict[str, object] = {"day": day, "before": before, "limit": limit}
    ((rows,),) = await database.rows("rows_of_part", **bound)
    if (rows >= WHOLE or rows <= limit) and await _empty_part(database, bound, day % _PARTS):
        return int(rows)
    ((went,),) = await database.rows("expire_seen", **bound)
    if went < limit or went >= rows:
        await _fold(database, bound)
    return int(went)


async def _fold(database: Database, bound: dict[str, object]) -> None:
    """The counts of days that have gone, in a part that is never emptied whole since it holds younger days as well."""

    async def work(session: Session) -> None:
        async with session.transaction() as connection:
            left = sum(rows for (rows,) in await fetch(connection, "forget_counts", bound))
            if left:  # of a day that is not quite gone
                await fetch(connection, "count_rest", {"day": bound["day"], "rows": left})

    await database.call(work)


async def empty(database: Database, held: Sequence[Held]) -> None:
    """The parts of `seen` at once, the rest row by row; one transaction."""
    parts = Text(", ").join(Identifier(f"seen_{part}") for part in range(_PARTS))

    async def work(session: Session) -> None:
        async with session.transaction() as connection:
            limit = Literal(f"{database.timing.migration:.0f}s")
            await connection.execute(Text("SET LOCAL statement_timeout = {}").format(limit))
            for one in sorted(held, key=lambda one: one.shard):
                await database.confirm(connection, one)
            await connection.execute(Text("TRUNCATE {}").format(parts))
            for table in _HOLDING:
                await connection.execute(SQL[f"empty_{table}"])
            await connection.execute(SQL["empty_shard"])

    await database.call(work, deadline=database.timing.migration)


async def _empty_part(database: Database, bound: dict[str, object], part: int) -> bool:
    """Whether the part could be emptied: not while it holds younger days too, or while somebody else reads it for long."""
    table = Identifier(f"seen_{part}")

    async def work(session: Session) -> bool:
        async with session.transaction() as connection:
            await connection.execute(Text("SET LOCAL lock_timeout = {}").format(_LOCK_WAIT))
            await connection.execute(Text("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(table))
            ((newest,),) = await fetch(connection, "newest_of_part", bound)
            wholly = newest is None or newest < bound["before"]
            if wholly:
                await connection.execute(Text("TRUNCATE {}").format(table))
                await connection.execute(SQL["forget_counts"], bound)
        return bool(wholly)

    async def unless_in_use(session: Session) -> bool:
        try:
            return await work(session)
        except psycopg.errors.LockNotAvailable:
            return False

    return await database.call(unless_in_use)
