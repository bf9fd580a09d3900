"""The ways into a database: to run on it, to look into it, to bring its schema up to date."""

from functools import partial

import anyio

from poller.errors import StoreFault, StoreRefused
from poller.stores.postgres import migrations
from poller.stores.postgres.config import Config
from poller.stores.postgres.database import Database
from poller.stores.postgres.dsn import Dsn
from poller.stores.postgres.pool import Session, Timing
from poller.stores.postgres.store import PostgresStore

_RIGHTS = """
SELECT DISTINCT wanted, regexp_replace(relname, '^seen_[0-9]+$', 'seen_…') FROM pg_class
CROSS JOIN unnest(%(wanted)s::text[]) AS wanted
WHERE relnamespace = to_regnamespace(%(schema)s) AND relkind IN ('r', 'p')
AND NOT has_table_privilege(oid, wanted) AND (wanted <> 'TRUNCATE' OR relname ~ '^seen_[0-9]+$')
AND (relname <> 'migration' OR wanted = 'SELECT')
ORDER BY 1, 2
"""


async def open_store(config: Config, timing: Timing | None = None) -> PostgresStore:
    """Applies migrations where it may. Raises StoreRefused or StoreFault with a sentence that says what to do."""
    return await _open(config, timing, looking=False)


async def open_read(config: Config, timing: Timing | None = None) -> PostgresStore:
    """On any server of the connection string, a standby too. Nothing is created or migrated."""
    return await _open(config, timing, looking=True)


def obstacles(config: Config) -> list[str]:
    """A connection string that cannot be read; more does not show without opening."""
    try:
        Dsn(config)
    except StoreRefused as error:
        return [str(error)]
    return []


async def pending(config: Config) -> list[str]:
    """The names of the migrations that the schema lacks; all of them where there is none yet."""
    database = Database(config)
    try:
        return migrations.missing(await database.call(partial(_version, database)))
    finally:
        await database.pool.close()


async def migrate(config: Config) -> list[str]:
    """Applies them, under a lock; the names of what was applied."""
    database = Database(config)
    try:
        return await _migrate(database)
    finally:
        await database.pool.close()


async def _open(config: Config, timing: Timing | None, *, looking: bool) -> PostgresStore:
    database = Database(config, timing, looking=looking)
    try:
        await (_look(database) if looking else _prepare(database))
        return PostgresStore(database, config.shards, _look if looking else _prepare)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await database.pool.close()
        raise


async def _version(database: Database, session: Session) -> migrations.Version:
    return await migrations.version(session.connection, database.dsn, database.config.schema_)


async def _migrate(database: Database) -> list[str]:
    """Nothing is asked for that a role without the right to create tables may not do, unless something is missing."""
    found = await database.call(partial(_version, database))
    names = migrations.missing(found)
    if not names:
        return []
    await _check_writable(database)
    try:
        return await database.call(
            partial(
                migrations.apply, dsn=database.dsn, schema=database.config.schema_, patience=database.timing.migration
            ),
            deadline=database.timing.migration,
        )
    except StoreRefused as error:
        raise StoreRefused(
            f"the schema {database.config.schema_} lacks {', '.join(names)}, and this role could not make it: run "
            f"`poller migrate` once with a role that may create tables; {error}"
        ) from error


async def _prepare(database: Database) -> None:
    await _migrate(database)
    await _check_writable(database)
    await _check_rights(database, ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"])
    await database.rows("create_store", shards=database.config.shards)
    await _check_shards(database)


async def _look(database: Database) -> None:
    found = await database.call(partial(_version, database))
    if found.number == 0:
        raise StoreRefused(
            f"there is no store in the schema {database.config.schema_} of the database {database.dsn.shown} yet: "
            "`poller migrate` or `poller run` creates it"
        )
    if names := migrations.missing(found):
        raise StoreRefused(
            f"the schema {database.config.schema_} lacks the migrations {', '.join(names)}: run `poller migrate`"
        )
    await _check_rights(database, ["SELECT"])
    await _check_shards(database)


async def _check_writable(database: Database) -> None:
    """A standby is found out here and not by its first write."""
    ((read_only,),) = await database.rows("read_only")
    if read_only:
        raise StoreFault(
            f"the database {database.dsn.shown} takes no writes: it is a standby or set to read only; name all servers in "
            "store.dsn (host=one,two) with target_session_attrs=read-write, so that the one that takes writes is found"
        )


async def _check_rights(database: Database, wanted: list[str]) -> None:
    async def work(session: Session) -> list[tuple[str, str]]:
        cursor = await session.connection.execute(_RIGHTS, {"wanted": wanted, "schema": database.config.schema_})
        return [(right, table) for right, table in await cursor.fetchall()]

    lacking = await database.call(work)
    if lacking:
        schema = database.config.schema_
        said = ", ".join(f"{right} on {table}" for right, table in lacking[:6]) + (", …" if len(lacking) > 6 else "")
        raise StoreRefused(
            f"the role of store.dsn lacks rights in the schema {schema} ({said}): "
            f"GRANT {', '.join(wanted)} ON ALL TABLES IN SCHEMA {schema} TO it, as the owner"
        )


async def _check_shards(database: Database) -> None:
    """The number decides which shard a source is in, so it cannot be another one later."""
    rows = await database.rows("shards")
    shards = database.config.shards
    if rows and rows[0][0] != shards:
        raise StoreRefused(
            f"the store in the database {database.dsn.shown} was created with {rows[0][0]} shards and store.shards is "
            f"{shards}: write {rows[0][0]}; the number is fixed once the store exists"
        )
