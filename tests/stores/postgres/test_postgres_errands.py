"""What one process asks of another: found by the owner alone, answered with the commit that does it, done by nobody once taken back."""

import asyncio
import uuid

import psycopg
import pytest
from postgres_server import Server, until, waiting
from stores_content import page

from poller.errand import Errand, Errands
from poller.errors import Outdated
from poller.leasing import SWITCHED
from poller.stores.postgres import PostgresStore

pytestmark = [pytest.mark.postgres, pytest.mark.anyio]

LONG = 600.0


def errand(shard: int = 3) -> Errand:
    return Errand(str(uuid.uuid4()), shard, b"do it\0")


async def test_it_is_found_by_who_works_on_its_shard_until_it_is_answered(store: PostgresStore) -> None:
    assert isinstance(store, Errands)
    asked = errand()
    for _ in range(2):  # an answer that was lost: asked again
        await store.ask(asked, LONG)
    assert await store.errands([0, 1, 2]) == []
    assert await store.errands([]) == []
    assert await store.errands([2, 3]) == [asked]
    assert await store.answer_to(asked.id) is None
    held = await store.hold(3)
    done = await store.commit_errand(held, page(held, [1]), asked.id, b"done\0")
    assert done is not None
    assert done.last.seq == 1
    assert await store.errands([3]) == []
    assert await store.answer_to(asked.id) == b"done\0"
    assert await store.withdraw(asked.id) == b"done\0"
    assert await store.withdraw(asked.id) is None


async def test_a_look_at_the_leases_tells_of_what_is_asked_and_switched(store: PostgresStore) -> None:
    """So that no replica has to ask for either by itself."""
    asked, other = errand(3), errand(5)
    table = await store.leases()
    assert (table.asked, table.switched) == (frozenset(), None)
    for one in (asked, errand(3), other):
        await store.ask(one, LONG)
    await store.ask(errand(7), 0.0)
    assert (await store.leases()).asked == {3, 5}, "nobody waits for the last one"
    await store.answer(other.id, b"done")
    assert (await store.leases()).asked == {3}
    await store.claim(1, "a", LONG)
    await store.renew("a", [], LONG, staying=True)
    for value in ("one", "two"):
        await store.put_meta(SWITCHED, value)
        table = await store.leases()
        assert table.switched == value
    assert ([one.shard for one in table.leases], [one.owner for one in table.replicas]) == ([1], ["a"])


async def test_what_was_taken_back_is_not_done(store: PostgresStore) -> None:
    asked = errand()
    await store.ask(asked, LONG)
    assert await store.withdraw(asked.id) is None
    held = await store.hold(3)
    assert await store.commit_errand(held, page(held, [1]), asked.id, b"done") is None
    assert await store.segments_after(3, 0, 1 << 20) == []
    assert (await store.commit_page(held, page(held, [1]))).last.seq == 1, "and the shard is as it was"


async def test_nor_is_it_done_when_nobody_waits_any_more(
    store: PostgresStore, postgres_server: Server, database: str
) -> None:
    asked, later = errand(), errand()
    await store.ask(asked, LONG)
    postgres_server.sql("UPDATE poller.errand SET until = until - interval '2 hours'", database)
    assert await store.errands([3]) == []
    held = await store.hold(3)
    assert await store.commit_errand(held, page(held, [1]), asked.id, b"done") is None
    await store.ask(later, LONG)
    assert postgres_server.sql("SELECT id::text FROM poller.errand", database) == [(later.id,)], "nobody else tidies up"


async def test_it_is_done_once_whoever_looks(store: PostgresStore) -> None:
    asked = errand()
    await store.ask(asked, LONG)
    held = await store.hold(3)
    held = await store.commit_errand(held, page(held, [1]), asked.id, b"first") or held
    assert await store.commit_errand(held, page(held, [2]), asked.id, b"second") is None
    await store.answer(asked.id, b"third")
    assert await store.withdraw(asked.id) == b"first"


async def test_an_owner_that_lost_the_shard_does_not_do_it(store: PostgresStore) -> None:
    asked = errand()
    await store.ask(asked, LONG)
    held = await store.hold(3)
    await store.hold(3)
    with pytest.raises(Outdated):
        await store.commit_errand(held, page(held, [1]), asked.id, b"done")
    assert await store.withdraw(asked.id) is None


async def test_who_takes_it_back_waits_for_the_commit_that_does_it(
    store: PostgresStore, postgres_server: Server, database: str
) -> None:
    asked = errand()
    await store.ask(asked, LONG)
    async with await psycopg.AsyncConnection.connect(postgres_server.dsn(database)) as other:
        await other.execute("UPDATE poller.errand SET answer = 'done'")
        async with asyncio.TaskGroup() as group:
            taken = group.create_task(store.withdraw(asked.id))
            await until(lambda: waiting(postgres_server, database) == 1)
            await other.commit()
    assert taken.result() == b"done"
