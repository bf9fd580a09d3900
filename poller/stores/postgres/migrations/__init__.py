"""The schema, in ordered files `NNNN_name.sql`. A file that was released is never edited; the next change is a new file.

Changes expand first and contract later, so that the program of before and the one of after may run side by side: the first
line of each file, `-- works from: N`, names the oldest schema version whose program still works once it is applied.
"""

import re
from pathlib import Path

from msgspec import Struct
from psycopg.sql import SQL, Identifier

from poller.errors import StoreRefused
from poller.stores.postgres.dsn import Dsn
from poller.stores.postgres.pool import Connection, Session

SCRIPTS = {file.stem: file.read_text(encoding="utf-8") for file in sorted(Path(__file__).parent.glob("[0-9]*.sql"))}
"""By name, in their order."""
NEWEST = len(SCRIPTS)

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('poller.migrations.' || %(schema)s, 0))"
"""Of the whole database: several replicas may start at once."""
_PATIENCE = "SELECT set_config('lock_timeout', %(wait)s, true), set_config('statement_timeout', %(wait)s, true)"
_LEDGER = """
CREATE TABLE migration (
    number integer PRIMARY KEY,
    name text NOT NULL,
    works_from integer NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
)
"""


class Version(Struct, frozen=True):
    """What a schema is at. `works_from`: the oldest program that may use it."""

    number: int = 0
    works_from: int = 0


async def version(connection: Connection, dsn: Dsn, schema: str) -> Version:
    """Version() where there is nothing yet. Raises StoreRefused when the schema is not ours or too new for us."""
    ledger = SQL("{}.migration").format(Identifier(schema))
    cursor = await connection.execute(
        "SELECT to_regclass(%(ledger)s), EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s))",
        {"ledger": ledger.as_string(connection), "schema": Identifier(schema).as_string(connection)},
    )
    ((ours, tables),) = await cursor.fetchall()
    if ours is None:
        if tables:
            raise StoreRefused(
                f"the schema {schema} of the database {dsn.shown} holds tables of another program: give store.schema another name"
            )
        return Version()
    cursor = await connection.execute(SQL("SELECT max(number), max(works_from) FROM {}").format(ledger))
    ((number, works_from),) = await cursor.fetchall()
    if works_from is not None and works_from > NEWEST:
        raise StoreRefused(
            f"the store in the database {dsn.shown} has schema version {number}, which takes a poller that knows at least "
            f"version {works_from}; this one knows {NEWEST}: run the newer poller, or put back a backup from before the upgrade"
        )
    return Version(number or 0, works_from or 0)


def missing(found: Version) -> list[str]:
    """The names of the migrations that a schema lacks."""
    return list(SCRIPTS)[found.number :]


async def apply(session: Session, dsn: Dsn, schema: str, patience: float) -> list[str]:
    """Applies what is missing, each file in a transaction of its own, under a lock; the names of what this call applied.

    `patience`: seconds for one statement, and for another replica that is at it.
    """
    done = []
    for number, name in enumerate(SCRIPTS, start=1):
        async with session.transaction() as connection:
            await connection.execute(_PATIENCE, {"wait": f"{patience:.0f}s"})
            await connection.execute(LOCK, {"schema": schema})
            found = await version(connection, dsn, schema)
            if found.number >= number:  # another replica was faster
                continue
            await _apply_one(connection, schema, number, name)
        done.append(name)
    return done


async def _apply_one(connection: Connection, schema: str, number: int, name: str) -> None:
    works_from = re.match(r"-- works from: (\d+)\n", SCRIPTS[name])
    if number == 1:
        cursor = await connection.execute("SELECT to_regnamespace(%s)", (schema,))
        if await cursor.fetchone() == (None,):
            await connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema)))
        await connection.execute(_LEDGER)
    await connection.execute(SCRIPTS[name], prepare=False)
    await connection.execute(
        "INSERT INTO migration (number, name, works_from) VALUES (%s, %s, %s)",
        (number, name, int(works_from[1]) if works_from else number),
    )
