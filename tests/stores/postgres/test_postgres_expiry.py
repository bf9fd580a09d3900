"""Expired days of seen ids go whole where they are large, and never take a younger day with them."""

import psycopg
import pytest
from postgres_server import Server
from stores_content import DAY0, key

from poller.model import PageCommit, Sighting
from poller.stores.postgres import PostgresStore
from poller.stores.postgres.expiry import WHOLE

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def remember(store: PostgresStore, day: int, count: int) -> None:
    held = await store.hold(0)
    await store.commit_page(held, PageCommit(seen=[(key(number, day=day), 0) for number in range(count)]))


def size(server: Server, database: str, day: int) -> int:
    """Bytes of the part that holds a day."""
    statement = psycopg.sql.SQL("SELECT pg_relation_size({})").format(f"poller.seen_{day % 64}")
    ((found,),) = server.sql(statement, database)
    return int(found)


async def test_a_large_day_goes_whole(store: PostgresStore, postgres_server: Server, database: str) -> None:
    await remember(store, DAY0, WHOLE)
    await remember(store, DAY0 + 1, 3)
    assert size(postgres_server, database, DAY0) > 1_000_000
    assert await store.expire(log_before=0, seen_before_day=DAY0, limit=10) == 0
    assert await store.expire(log_before=0, seen_before_day=DAY0 + 1, limit=10) == WHOLE
    assert size(postgres_server, database, DAY0) == 0
    assert (await store.facts()).seen_ids == 3
    assert await store.expire(log_before=0, seen_before_day=DAY0 + 1, limit=10) == 0


async def test_a_small_day_leaves_nothing_behind(store: PostgresStore, postgres_server: Server, database: str) -> None:
    await remember(store, DAY0, 3)
    assert await store.expire(log_before=0, seen_before_day=DAY0 + 1, limit=2) == 2
    assert await store.expire(log_before=0, seen_before_day=DAY0 + 1, limit=2) == 1
    assert postgres_server.sql("SELECT count(*) FROM poller.seen_count", database) == [(0,)]


async def test_a_younger_day_in_the_same_part_stays(
    store: PostgresStore, postgres_server: Server, database: str
) -> None:
    await remember(store, DAY0, WHOLE)
    await remember(store, DAY0 + 64, 2)
    assert await store.expire(log_before=0, seen_before_day=DAY0 + 64, limit=WHOLE + 5) == WHOLE
    assert size(postgres_server, database, DAY0) > 0
    assert await store.look_up(None, [key(1, day=DAY0 + 64), key(1)]) == {1: Sighting(DAY0, 0)}
    assert (await store.facts()).seen_ids == 2


@pytest.mark.parametrize("count", [5, WHOLE])
async def test_counts_of_days_that_have_gone_do_not_gather_in_a_part_with_younger_ones(
    store: PostgresStore, postgres_server: Server, database: str, count: int
) -> None:
    """As with ids that are kept for longer than the ring has days."""
    for turn in range(3):
        await remember(store, DAY0 + 64 * turn, count)
    assert await store.expire(log_before=0, seen_before_day=DAY0 + 128, limit=3 * WHOLE) == 2 * count
    assert postgres_server.sql("SELECT day, sum(rows) FROM poller.seen_count GROUP BY day", database) == [
        (DAY0 + 128, count)
    ]
    await remember(store, DAY0 + 64, 7)
    assert (await store.facts()).seen_ids == count + 7
    assert await store.expire(log_before=0, seen_before_day=DAY0 + 128, limit=5) == 5
    assert (await store.facts()).seen_ids == count + 2
    assert await store.expire(log_before=0, seen_before_day=DAY0 + 128, limit=5) == 2
    assert len(postgres_server.sql("SELECT day FROM poller.seen_count", database)) == 1


async def test_a_row_that_comes_while_its_day_is_folded_is_counted(
    store: PostgresStore, postgres_server: Server, database: str
) -> None:
    await remember(store, DAY0, 5)
    await remember(store, DAY0 + 64, 5)
    async with await psycopg.AsyncConnection.connect(postgres_server.dsn(database)) as other:
        await other.execute(
            "INSERT INTO poller.seen_count VALUES (7, %s, 2)", (DAY0,)
        )  # a commit of another shard that is not done yet
        assert await store.expire(log_before=0, seen_before_day=DAY0 + 64, limit=50) == 5
        await other.commit()
    assert (await store.facts()).seen_ids == 7


async def test_several_expired_days_of_one_part_go_together(store: PostgresStore) -> None:
    await remember(store, DAY0, WHOLE)
    await remember(store, DAY0 - 64, 5)
    assert await store.expire(log_before=0, seen_before_day=DAY0 + 1, limit=10) == WHOLE + 5
    assert (await store.facts()).seen_ids == 0


async def test_a_part_that_somebody_reads_loses_some_rows_and_goes_later(
    store: PostgresStore, postgres_server: Server, database: str
) -> None:
    await remember(store, DAY0, WHOLE + 10)
    async with await psycopg.AsyncConnection.connect(postgres_server.dsn(database)) as dump:
        await dump.execute("SELECT count(*) FROM poller.seen")
        assert await store.expire(log_before=0, seen_before_day=DAY0 + 1, limit=5) == 5
    assert await store.expire(log_before=0, seen_before_day=DAY0 + 1, limit=5) == WHOLE + 5
    assert size(postgres_server, database, DAY0) == 0


@pytest.mark.parametrize("day", [-1, -800_000, 0, 2_900_000])
async def test_absurd_days_have_their_place(store: PostgresStore, day: int) -> None:
    await remember(store, day, 3)
    assert await store.look_up(None, [key(2, day=day + 1), key(9, day=day)]) == {1: Sighting(day, 0)}
    assert await store.expire(log_before=0, seen_before_day=day + 1, limit=10) == 3
    assert await store.look_up(None, [key(2, day=day)]) == {0: Sighting(day, 0)}
