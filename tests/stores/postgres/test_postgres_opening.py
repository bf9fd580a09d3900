"""The ways into a database: schema, migrations, rights."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import psycopg
import pytest
from docs_pages import blocks
from postgres_server import Server
from psycopg.sql import SQL, Identifier
from stores_content import DAY0, dead_record, key, page

from poller.errors import StoreRefused
from poller.model import PageCommit, Sighting
from poller.stores.postgres import Config, migrate, migrations, obstacles, open_read, open_store, pending
from poller.stores.postgres.pool import Timing

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

ALL = list(migrations.SCRIPTS)


@pytest.fixture
def role(postgres_server: Server, database: str) -> Iterator[str]:
    """A user without any right, whose name is its password."""
    name = f"role_{database}"
    postgres_server.sql(SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(Identifier(name), name))
    yield name
    postgres_server.sql(SQL("DROP OWNED BY {}").format(Identifier(name)), database)
    postgres_server.sql(SQL("DROP OWNED BY {}").format(Identifier(name)))
    postgres_server.sql(SQL("DROP ROLE {}").format(Identifier(name)))


def grant(server: Server, database: str, what: str, role: str) -> None:
    server.sql(SQL(f"GRANT {what} TO {{}}").format(Identifier(role)), database)


def empty(server: Server, database: str) -> None:
    server.sql("DROP SCHEMA poller CASCADE", database)


# --- migrations ------------------------------------------------------------------------------------------------------


async def test_a_schema_is_made_and_then_only_used(
    config: Callable[..., Config], postgres_server: Server, database: str
) -> None:
    empty(postgres_server, database)
    with pytest.raises(StoreRefused, match=r"no store in the schema poller .* yet: `poller migrate` or `poller run`"):
        await open_read(config())
    assert await pending(config()) == ALL
    assert await migrate(config()) == ALL
    assert await migrate(config()) == []
    assert await pending(config()) == []
    await (await open_store(config())).close()


async def test_several_stores_live_beside_each_other(config: Callable[..., Config]) -> None:
    one, other = await open_store(config()), await open_store(config(schema="second"))
    held = await one.hold(0)
    await one.commit_page(held, page(held, [1]))
    assert await other.look_up(None, [key(1)]) == {0: Sighting(DAY0, 0)}
    await one.close()
    await other.close()


async def test_several_replicas_start_at_once(
    config: Callable[..., Config], postgres_server: Server, database: str
) -> None:
    empty(postgres_server, database)
    stores = await asyncio.gather(*[open_store(config()) for _ in range(5)])
    assert postgres_server.sql("SELECT name FROM poller.migration ORDER BY number", database) == [(n,) for n in ALL]
    assert postgres_server.sql("SELECT shards FROM poller.store", database) == [(16,)]
    for store in stores:
        await store.close()


async def test_a_replica_waits_while_another_one_migrates(
    config: Callable[..., Config], postgres_server: Server, database: str
) -> None:
    empty(postgres_server, database)
    waits = psycopg.sql.SQL(
        "SELECT true FROM pg_stat_activity WHERE datname = {} AND wait_event_type = 'Lock' AND now() - query_start > '300ms'"
    ).format(database)
    async with await psycopg.AsyncConnection.connect(postgres_server.dsn(database)) as other:
        await other.execute(migrations.LOCK, {"schema": "poller"})
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(open_store(config(), Timing(lock=0.05, statement=0.1)))
            with anyio.fail_after(30):
                while not postgres_server.sql(waits):  # noqa: ASYNC110 the server has no event to wait for
                    await anyio.sleep(0.01)
            await other.rollback()
    await opening.result().close()


async def test_a_schema_of_the_first_version_is_brought_up_to_date(
    config: Callable[..., Config], postgres_server: Server, database: str
) -> None:
    store = await open_store(config())
    held = await store.hold(0)
    held = await store.commit_page(held, page(held, [1]))
    postgres_server.sql("DROP TABLE poller.lease, poller.replica, poller.errand", database)
    postgres_server.sql("DELETE FROM poller.migration WHERE number > 1", database)
    assert await pending(config()) == ALL[1:]
    with pytest.raises(StoreRefused, match=r"lacks the migrations 0002_leases, .*: run `poller migrate`"):
        await open_read(config())
    newer = await open_store(config())
    held = await store.commit_page(held, page(held, [2]))  # the older one runs on beside it
    assert (await newer.hold(0)).last == held.last
    assert await newer.claim(0, "a", 30) is not None
    await store.close()
    await newer.close()


async def test_a_newer_schema(config: Callable[..., Config], postgres_server: Server, database: str) -> None:
    compatible = f"INSERT INTO poller.migration (number, name, works_from) VALUES (90, 'more', {migrations.NEWEST})"
    postgres_server.sql(compatible, database)
    await (await open_store(config())).close()
    postgres_server.sql("INSERT INTO poller.migration (number, name, works_from) VALUES (91, 'other', 90)", database)
    for opening in (open_store, open_read, pending, migrate):
        with pytest.raises(
            StoreRefused, match=r"schema version 91, which takes a poller that knows at least version 90"
        ):
            await opening(config())


def test_every_migration_says_from_which_version_on_it_works() -> None:
    for number, script in enumerate(migrations.SCRIPTS.values(), start=1):
        begin = script.splitlines()[0].removeprefix("-- works from: ")
        assert 1 <= int(begin) <= number


async def test_a_schema_of_another_program_is_not_touched(
    config: Callable[..., Config], postgres_server: Server, database: str
) -> None:
    empty(postgres_server, database)
    postgres_server.sql("CREATE SCHEMA poller CREATE TABLE theirs (a int)", database)
    for opening in (open_store, migrate, pending):
        with pytest.raises(StoreRefused, match=r"holds tables of another program: give store.schema another name"):
            await opening(config())
    assert postgres_server.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'poller'", database) == [(1,)]


async def test_the_number_of_shards_is_fixed(config: Callable[..., Config]) -> None:
    await (await open_store(config(shards=8))).close()
    for opening in (open_store, open_read):
        with pytest.raises(StoreRefused, match=r"was created with 8 shards and store.shards is 16: write 8"):
            await opening(config())


# --- rights ----------------------------------------------------------------------------------------------------------


async def test_a_role_that_may_not_create_tables_works_once_they_are_there(
    config: Callable[..., Config], postgres_server: Server, database: str, role: str
) -> None:
    mine = config(user=role, password=role)
    with pytest.raises(StoreRefused, match=r"permission denied for schema poller.*docs/postgres.md"):
        await open_store(mine)
    grant(postgres_server, database, "USAGE ON SCHEMA poller", role)
    grant(postgres_server, database, "SELECT ON ALL TABLES IN SCHEMA poller", role)
    with pytest.raises(
        StoreRefused, match=r"DELETE on checkpoint.*GRANT SELECT, INSERT, .*ON ALL TABLES IN SCHEMA poller"
    ):
        await open_store(mine)
    await (await open_store(config())).close()
    await (await open_read(mine)).close()
    grant(postgres_server, database, "INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA poller", role)
    with pytest.raises(StoreRefused, match=r"TRUNCATE on seen_…\): GRANT"):
        await open_store(mine)
    grant(postgres_server, database, "TRUNCATE ON ALL TABLES IN SCHEMA poller", role)
    store = await open_store(mine)
    held = await store.hold(0)
    await store.commit_page(held, PageCommit(seen=[(key(number), 0) for number in range(20_000)]))
    assert await store.expire(log_before=0, seen_before_day=DAY0 + 1, limit=1) == 20_000
    assert await store.claim(1, "a", 30) is not None
    await store.close()


async def test_the_rights_that_the_documentation_grants_are_enough(
    config: Callable[..., Config], postgres_server: Server, database: str, role: str
) -> None:
    (granting,) = [block.text for block in blocks("sql") if "GRANT USAGE" in block.text]
    postgres_server.sql(granting.replace(" TO calls;", f" TO {role};"), database)
    postgres_server.sql("CREATE TABLE poller.of_a_later_version (a int)", database)
    store = await open_store(config(user=role, password=role))
    held = await store.hold(0)
    await store.commit_page(held, page(held, [1], dead=[dead_record(1)]))
    assert await store.expire(log_before=0, seen_before_day=DAY0 + 1, limit=1) == 1
    assert await store.expire_letters(before=9.0, limit=1) == (1, 0)
    assert await store.renew("a", [], 30, staying=True) == frozenset()
    await store.close()


async def test_a_role_that_may_not_make_the_tables_is_told_what_to_run(
    config: Callable[..., Config], postgres_server: Server, database: str, role: str
) -> None:
    empty(postgres_server, database)
    for opening in (open_store, migrate):
        with pytest.raises(
            StoreRefused, match=r"lacks 0001_first, .*run `poller migrate` once with a role that may create"
        ):
            await opening(config(user=role, password=role))


async def test_an_owner_need_not_be_a_superuser(
    config: Callable[..., Config], postgres_server: Server, database: str, role: str
) -> None:
    empty(postgres_server, database)
    postgres_server.sql(SQL("CREATE SCHEMA poller AUTHORIZATION {}").format(Identifier(role)), database)
    await (await open_store(config(user=role, password=role))).close()


# --- without a server ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pg_mine", "information_schema", "Poller", "a-b", "", "1a"])
def test_a_schema_has_a_plain_name(config: Callable[..., Config], name: str) -> None:
    with pytest.raises(ValueError, match="schema"):
        config(schema=name)


def test_what_would_keep_us_from_the_database(config: Callable[..., Config]) -> None:
    assert obstacles(config()) == []
    (said,) = obstacles(config(dsn="hunter2"))
    assert "no connection string" in said
    assert "hunter2" not in said


def test_the_configuration_shows_no_secret(config: Callable[..., Config]) -> None:
    shown: Any = config().model_dump(mode="json", by_alias=True)
    assert shown["dsn"] == {"literal": "…"}
    assert shown["schema"] == "poller"
