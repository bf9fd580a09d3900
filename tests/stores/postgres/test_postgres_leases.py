"""Leases: at most one owner by the database's clock, and an epoch that ends the writes of the one before."""

import asyncio
import os
from typing import Any

import hypothesis.strategies as st
import psycopg
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from postgres_server import PATIENT, Server, running, until, waiting
from stores_content import page
from tcp_proxy import proxy

from poller.errors import Outdated, StoreFault
from poller.leasing import Leases as Table
from poller.leasing import Leasing
from poller.model import Held
from poller.stores.postgres import Config, PostgresStore, open_store
from poller.stores.postgres.pool import Session, Timing
from poller.stores.postgres.queries import SQL

pytestmark = pytest.mark.postgres

LEASE = 600.0
"""Seconds: longer than any test, so that only `pass_time` ends one."""


def pass_time(server: Server, database: str, seconds: float) -> None:
    """As if the database's clock went on."""
    for table in ("lease", "replica"):
        statement = psycopg.sql.SQL("UPDATE poller.{} SET until = until - make_interval(secs => {})")
        server.sql(statement.format(psycopg.sql.Identifier(table), seconds), database)


async def taken(store: Leasing, shard: int, owner: str, seconds: float = LEASE) -> Held:
    held = await store.claim(shard, owner, seconds)
    assert held is not None
    return held


@pytest.mark.anyio
async def test_one_owner_at_a_time(store: PostgresStore, postgres_server: Server, database: str) -> None:
    first = await taken(store, 3, "a")
    assert await store.claim(3, "b", LEASE) is None
    (lease,) = (await store.leases()).leases
    assert (lease.shard, lease.owner, lease.epoch) == (3, "a", first.epoch)
    assert LEASE - 300 < lease.left <= LEASE
    pass_time(postgres_server, database, LEASE)
    second = await taken(store, 3, "b")
    assert second.epoch == first.epoch + 1
    with pytest.raises(Outdated):
        await store.commit_page(first, page(first, [1]))
    assert await store.renew("a", [first], LEASE, staying=True) == frozenset()
    assert (await store.commit_page(second, page(second, [1]))).last.seq == 1


@pytest.mark.anyio
async def test_a_lease_that_lapsed_is_renewed_while_nobody_took_it(
    store: PostgresStore, postgres_server: Server, database: str
) -> None:
    held = [await taken(store, number, "a") for number in (0, 1, 2)]
    pass_time(postgres_server, database, LEASE + 5)
    assert [lease.left < 0 for lease in (await store.leases()).leases] == [True] * 3
    await taken(store, 1, "b")
    assert await store.renew("a", held, LEASE, staying=True) == {0, 2}
    assert await store.claim(0, "b", LEASE) is None


@pytest.mark.anyio
async def test_what_is_released_is_free_at_once(store: PostgresStore) -> None:
    held = await taken(store, 0, "a")
    await store.release("b", [held])
    assert await store.claim(0, "b", LEASE) is None
    await store.release("a", [held])
    assert await store.leases() == Table()
    other = await taken(store, 0, "b")
    await store.release("a", [held])
    assert [lease.owner for lease in (await store.leases()).leases] == ["b"]
    assert other.epoch == held.epoch + 1


@pytest.mark.anyio
async def test_an_owner_that_takes_its_own_shard_again_ends_its_earlier_writes(store: PostgresStore) -> None:
    """Its answer was lost, say, or an earlier process of that name still runs."""
    first, second = await taken(store, 0, "a"), await taken(store, 0, "a")
    assert second.epoch == first.epoch + 1
    assert await store.renew("a", [first], LEASE, staying=True) == frozenset()
    assert await store.renew("a", [second], LEASE, staying=True) == {0}


@pytest.mark.anyio
async def test_taking_a_shard_over_by_hand_ends_the_lease_too(store: PostgresStore) -> None:
    held = await taken(store, 0, "a")
    await store.hold(0)
    with pytest.raises(Outdated):
        await store.commit_page(held, page(held, [1]))


@pytest.mark.anyio
async def test_many_claim_and_one_gets_it(open_one: Any) -> None:
    stores = [await open_one() for _ in range(4)]
    for shard in range(4):
        got = await asyncio.gather(*[one.claim(shard, f"replica-{n}", LEASE) for n, one in enumerate(stores)])
        assert sum(held is not None for held in got) == 1
    for one in stores:
        await one.close()


@pytest.mark.anyio
async def test_a_renewal_does_not_wait_for_a_commit(
    store: PostgresStore, postgres_server: Server, database: str
) -> None:
    held = await taken(store, 0, "a")
    async with await psycopg.AsyncConnection.connect(postgres_server.dsn(database)) as other:
        await other.execute("SELECT FROM poller.shard FOR UPDATE")
        assert await store.renew("a", [held], LEASE, staying=True) == {0}


@pytest.mark.anyio
async def test_a_claim_that_waits_for_a_write_keeps_no_renewal_waiting(
    open_one: Any, store: PostgresStore, postgres_server: Server, database: str
) -> None:
    """The lease has lapsed, its owner commits slowly, somebody else wants the shard, and the owner is back in time."""
    held, other = [await taken(store, shard, "a") for shard in (0, 1)], await open_one()
    pass_time(postgres_server, database, LEASE)
    async with await psycopg.AsyncConnection.connect(postgres_server.dsn(database)) as slow:
        await slow.execute("SELECT FROM poller.shard FOR UPDATE")
        async with asyncio.TaskGroup() as group:
            claim = group.create_task(other.claim(0, "b", LEASE))
            await until(lambda: waiting(postgres_server, database) == 1)
            assert await store.renew("a", held, LEASE, staying=True) == {0, 1}
            await slow.rollback()
    assert claim.result() is None
    assert (await store.commit_page(held[0], page(held[0], [1]))).last.seq == 1
    await other.close()


@pytest.mark.anyio
@pytest.mark.parametrize("gone", ["lapsed", "released"])
async def test_who_was_stopped_within_a_statement_does_not_keep_its_shard(
    store: PostgresStore, postgres_server: Server, database: str, gone: str
) -> None:
    """The server waits for the rest of what is sent; no time limit of its own ends that."""
    held = await taken(store, 0, "a")
    stopped = psycopg.pq.PGconn.connect(postgres_server.dsn(database).encode())
    stopped.enter_pipeline_mode()
    for statement in (b"BEGIN", b"SELECT FROM poller.shard FOR UPDATE"):
        stopped.send_query_params(statement, [])
    stopped.send_flush_request()
    stopped.flush()
    await until(lambda: not postgres_server.sql("SELECT FROM poller.shard FOR UPDATE SKIP LOCKED", database))
    if gone == "released":
        await store.release("a", [held])
    pass_time(postgres_server, database, LEASE)
    assert (await taken(store, 0, "b", 0.001)).epoch > held.epoch
    stopped.finish()


@pytest.mark.anyio
async def test_who_writes_under_a_lease_that_was_just_renewed_is_let_be(
    store: PostgresStore, postgres_server: Server, database: str
) -> None:
    """Somebody saw that it had lapsed, and comes to end its write only now."""
    held = await taken(store, 0, "a")
    pass_time(postgres_server, database, LEASE)
    assert await store.renew("a", [held], LEASE, staying=True) == {0}
    async with await psycopg.AsyncConnection.connect(postgres_server.dsn(database)) as owner:
        await owner.execute("SELECT FROM poller.shard FOR UPDATE")
        assert await store._database.rows("end_stopped", shard=0, owner="b", seconds=0.001) == []
        await owner.execute("SELECT")


@pytest.mark.anyio
async def test_leases_are_renewed_while_all_connections_are_busy(
    open_one: Any, postgres_server: Server, database: str
) -> None:
    store = await open_one(connections=2, timing=Timing(call=300, connect=120, statement=120, lock=120, free=0.1))
    held = await taken(store, 0, "a")
    async with await psycopg.AsyncConnection.connect(postgres_server.dsn(database)) as other:
        await other.execute("LOCK TABLE poller.position IN ACCESS EXCLUSIVE MODE")
        async with asyncio.TaskGroup() as group:
            slow = [group.create_task(store.positions()) for _ in range(2)]
            await until(lambda: waiting(postgres_server, database) == 2)
            with pytest.raises(StoreFault, match="all 2 connections"):
                await store.checkpoints()
            assert await store.renew("a", [held], LEASE, staying=True) == {0}
            assert len((await store.leases()).leases) == 1
            await other.rollback()
    assert [task.result() for task in slow] == [{}, {}]
    await store.close()


@pytest.mark.anyio
async def test_who_renews_is_there_until_it_leaves(
    store: PostgresStore, postgres_server: Server, database: str
) -> None:
    for name in ("b", "a", "b"):
        assert await store.renew(name, [], LEASE, staying=True) == frozenset()
    assert await names(store) == ["a", "b"]
    pass_time(postgres_server, database, LEASE)
    await store.renew("a", [], LEASE, staying=True)
    assert [one.left > 0 for one in (await store.leases()).replicas] == [True, False]
    await store.renew("a", [], LEASE, staying=False)
    assert await names(store) == ["b"]
    await store.renew("c", [], LEASE, staying=False)
    assert await names(store) == ["b"]


@pytest.mark.anyio
async def test_who_leaves_renews_what_it_still_has(store: PostgresStore) -> None:
    held = await taken(store, 0, "a")
    assert await store.renew("a", [held], LEASE, staying=False) == {0}
    assert await names(store) == []


@pytest.mark.anyio
async def test_who_was_not_seen_for_a_day_is_forgotten(
    store: PostgresStore, postgres_server: Server, database: str
) -> None:
    for name in ("a", "b", "c"):
        await store.renew(name, [], LEASE, staying=True)
    pass_time(postgres_server, database, LEASE + 86_401)
    await store.renew("a", [], LEASE, staying=True)
    assert await names(store) == ["a"]


@pytest.mark.anyio
async def test_the_store_says_how_long_a_lease_lasts(open_one: Any) -> None:
    store: PostgresStore = await open_one(lease="5s")
    leasing: Leasing = store
    assert isinstance(leasing, Leasing)
    assert leasing.lease == 5.0
    await store.close()


@pytest.mark.anyio
async def test_an_emptied_database_is_claimed_anew(
    store: PostgresStore, postgres_server: Server, database: str
) -> None:
    held = await taken(store, 0, "a")
    postgres_server.sql("DROP SCHEMA poller CASCADE", database)
    assert await store.renew("a", [held], LEASE, staying=True) == frozenset()
    assert await names(store) == ["a"]
    postgres_server.sql("DROP SCHEMA poller CASCADE", database)
    assert await store.leases() == Table()
    assert (await taken(store, 0, "a")).epoch == 1


async def names(store: Leasing) -> list[str]:
    return [one.owner for one in (await store.leases()).replicas]


@pytest.mark.anyio
async def test_a_claim_whose_answer_is_lost_can_be_made_again(open_one: Any, postgres_server: Server) -> None:
    async with proxy(postgres_server.port) as between:
        store = await open_one(port=between.port)
        await store.positions()
        between.lose("answer", 8)  # BEGIN, a look, who was stopped, the shard, the lease, the epoch, the mark, COMMIT
        with pytest.raises(StoreFault, match="while it committed"):
            await store.claim(0, "a", LEASE)
        assert (await taken(store, 0, "a")).epoch == 2
        await store.close()


class Leases(RuleBasedStateMachine):
    """Three owners, time that passes, answers that get lost: whoever the rules call the owner can write, nobody else."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.server = running()
        self.database = f"leases_{os.getpid()}"
        if self.server.exists(self.database):
            self.server.sql("TRUNCATE poller.lease, poller.replica, poller.shard, poller.segment", self.database)
        else:
            self.server.clone(self.server.template, self.database)
        given = {"dsn": self.server.dsn(self.database), "connections": 2}
        self.store = self.run(open_store(Config.model_validate(given, context={"literals": True}), PATIENT))
        self.now = 0.0
        self.epoch = 0
        self.owner: str | None = None
        self.until = 0.0
        self.believed: dict[str, Held] = {}

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.run(self.store.close())
        self.loop.close()

    OWNERS = st.sampled_from("abc")

    @initialize()
    def nobody(self) -> None:
        assert self.run(self.store.leases()) == Table()

    @rule(owner=OWNERS, answer_lost=st.booleans())
    def claims(self, owner: str, *, answer_lost: bool) -> None:
        free = self.owner in {None, owner} or self.now >= self.until
        held = self.run(self.store.claim(0, owner, LEASE))
        assert (held is not None) == free
        if held is not None:
            self.epoch += 1
            assert held.epoch == self.epoch
            self.owner, self.until = owner, self.now + LEASE
            if answer_lost:
                self.believed.pop(owner, None)
            else:
                self.believed[owner] = held

    @rule(owner=OWNERS)
    def renews(self, owner: str) -> None:
        if owner in self.believed:
            mine = self.owner == owner and self.believed[owner].epoch == self.epoch
            assert self.run(self.store.renew(owner, [self.believed[owner]], LEASE, staying=True)) == (
                {0} if mine else set()
            )
            if mine:
                self.until = self.now + LEASE

    @rule(owner=OWNERS)
    def releases(self, owner: str) -> None:
        if owner in self.believed:
            mine = self.owner == owner and self.believed[owner].epoch == self.epoch
            self.run(self.store.release(owner, [self.believed[owner]]))
            if mine:
                self.owner = None

    @rule(seconds=st.sampled_from([LEASE / 3, LEASE / 2, LEASE + 1]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        pass_time(self.server, self.database, seconds)

    @rule(owner=OWNERS)
    def writes(self, owner: str) -> None:
        if owner in self.believed:
            held = self.believed[owner]
            try:
                self.believed[owner] = self.run(self.store.commit_page(held, page(held, [1])))
                assert held.epoch == self.epoch
            except Outdated:
                assert held.epoch != self.epoch

    @invariant()
    def at_most_one_epoch_can_write(self) -> None:
        assert sum(held.epoch == self.epoch for held in self.believed.values()) <= 1


TestLeases = pytest.mark.usefixtures("postgres_server")(Leases.TestCase)
TestLeases.settings = settings(max_examples=15, stateful_step_count=25)


@pytest.mark.anyio
@pytest.mark.parametrize(("statement", "bound"), [("leases", {"switched": "x"}), ("facts", {}), ("dead_totals", {})])
async def test_what_is_asked_again_and_again_starts_no_processes_in_the_server(
    store: PostgresStore, statement: str, bound: dict[str, object]
) -> None:
    """Each replica looks at the leases every second: two workers for twenty rows cost the server more than all else of it."""

    async def explain(session: Session) -> list[str]:
        cursor = await session.connection.execute(f"EXPLAIN {SQL[statement]}", bound)
        return [row[0] for row in await cursor.fetchall()]

    plan = await store._beside.call(explain)
    assert [step for step in plan if "Gather" in step or "Workers" in step] == [], plan
