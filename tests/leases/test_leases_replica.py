"""One replica among others: takes its share, renews, drops in time, hands over."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest
import structlog
from fake_clock import FakeClock
from leases_table import LeaseTable

from poller.errors import Lost, PollerError, SinkRefused, StoreFault, StoreRefused
from poller.leases.alone import Alone
from poller.leases.replica import Owned, Replica, Work
from poller.log import SharedOutage
from poller.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio
LEASE, SHARDS = 15.0, 6


class Rig:
    """Replicas over one table, all by one clock. `worked` says what each works on."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.table = LeaseTable(self.clock.mono, LEASE)
        self.stopped_for: dict[str, float] = {}
        self.worked: dict[str, dict[int, Owned]] = {}
        self.slow = 0.0

    def replica(self, name: str) -> Replica:
        outage = SharedOutage(structlog.get_logger().bind(store="table"), self.clock)
        self.worked[name] = {}
        return Replica(
            self.table, SHARDS, clock=self.clock, outage=outage, name=name,
            elapsed=lambda: self.clock.mono() + self.stopped_for.get(name, 0.0),
        )  # fmt: skip

    @asynccontextmanager
    async def running(self, *names: str) -> AsyncIterator[list[Replica]]:
        """They are killed at the end, unless they left."""
        replicas = [self.replica(name) for name in names]
        async with anyio.create_task_group() as tasks:
            for one in replicas:
                await tasks.start(one.run, self.work_of(one.name))
            yield replicas
            tasks.cancel_scope.cancel()

    def work_of(self, name: str) -> Work:
        async def work(owned: Owned) -> None:
            self.worked[name][owned.number] = owned
            try:
                await owned.take()
                await owned.ending.wait()
                await self.clock.sleep(self.slow)
            finally:
                del self.worked[name][owned.number]

        return work

    def counts(self, *names: str) -> list[int]:
        return [len(self.worked[name]) for name in names]


async def test_a_replica_alone_takes_everything_and_keeps_it() -> None:
    rig = Rig()
    async with rig.running("a"):
        await rig.clock.advance(10 * LEASE)
        assert rig.counts("a") == [SHARDS]
        assert {epoch for epoch, _ in rig.table.epochs.values()} == {1}


async def test_a_look_tells_at_once_what_is_asked_and_what_was_switched() -> None:
    rig = Rig()
    async with rig.running("a") as (one,), anyio.create_task_group() as tasks:
        found: list[object] = []

        async def wait() -> None:
            found.append(await one.news.asked())
            found.append(await one.news.switched())

        tasks.start_soon(wait)
        await rig.clock.advance(0.1)
        rig.table.asked = frozenset({3})
        assert not found, "nobody has looked since"
        await rig.clock.advance(1)
        assert found == [{3}]
        rig.table.switched = "x"
        rig.table.away = True
        await rig.clock.advance(1)
        assert found == [{3}], "a look that fails tells nothing"
        rig.table.away = False
        await rig.clock.advance(1)
        assert found == [{3}, "x"]


async def test_a_newcomer_gets_its_share_soon() -> None:
    rig = Rig()
    async with rig.running("a", "b"):
        await rig.clock.advance(3)
        assert rig.counts("a", "b") == [3, 3]
        async with rig.running("c"):
            await rig.clock.advance(3)
            assert rig.counts("a", "b", "c") == [2, 2, 2]


async def test_who_leaves_hands_over_within_two_seconds() -> None:
    rig = Rig()
    async with rig.running("a", "b") as (first, _):
        await rig.clock.advance(3)
        first.leave()
        await rig.clock.advance(2)
        assert rig.counts("a", "b") == [0, SHARDS]
        assert [one.owner for one in rig.table.table().replicas] == ["b"]


async def test_leases_are_renewed_while_shards_are_closed_however_long_that_takes() -> None:
    rig = Rig()
    async with rig.running("a", "b") as (first, _):
        await rig.clock.advance(3)
        rig.slow = 5 * LEASE
        first.leave()
        await rig.clock.advance(4 * LEASE)
        assert rig.counts("a", "b") == [3, 3]
        assert all(one.left > 0 for one in rig.table.table().leases)
        await rig.clock.advance(LEASE + 2)
        assert rig.counts("a", "b") == [0, SHARDS]


async def test_what_a_killed_one_had_is_worked_on_within_one_lease() -> None:
    rig = Rig()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(rig.running("a"))
        async with rig.running("b"):
            await rig.clock.advance(3)
            assert rig.counts("a", "b") == [3, 3]
            before = dict(rig.table.rows), dict(rig.table.there)
        rig.table.rows, rig.table.there = before  # killed: nothing was released
        await rig.clock.advance(LEASE)
        assert rig.counts("a") == [SHARDS]


async def test_a_database_that_is_away_for_less_than_a_lease_costs_nothing() -> None:
    rig = Rig()
    async with rig.running("a"):
        rig.table.away = True
        await rig.clock.advance(LEASE / 3)
        rig.table.away = False
        await rig.clock.advance(2 * LEASE)
        assert rig.counts("a") == [SHARDS]
        assert {epoch for epoch, _ in rig.table.epochs.values()} == {1}


@pytest.mark.parametrize("fault", [StoreFault, StoreRefused])
async def test_what_cannot_be_renewed_is_dropped_before_it_ends_and_taken_again_when_the_database_is_back(
    fault: type[PollerError],
) -> None:
    """Refused: a right that was revoked, a password that changed."""
    rig = Rig()
    rig.table.fault = fault
    with structlog.testing.capture_logs() as lines:
        async with rig.running("a"):
            rig.table.away = True
            await rig.clock.advance(LEASE * 0.9)
            assert rig.counts("a") == [0]
            assert all(one.left > 0 for one in rig.table.table().leases)
            await rig.clock.advance(60)
            rig.table.away = False
            await rig.clock.advance(3)
            assert rig.counts("a") == [SHARDS]
    assert [line["event"] for line in lines] == [
        "shards are taken", "failing", "shards are dropped", "shards are taken", "works again"
    ]  # fmt: skip


async def test_one_that_was_stopped_owns_nothing_when_it_goes_on_whichever_task_runs_first() -> None:
    rig = Rig()
    async with rig.running("a"):
        owned = dict(rig.worked["a"])
        rig.stopped_for["a"] = LEASE
        assert not any(one.ours() for one in owned.values())
        await rig.clock.advance(1)
        assert all(one.scope.cancel_called for one in owned.values())
        await rig.clock.advance(3)
        assert rig.counts("a") == [SHARDS]  # it joins again
        assert {epoch for epoch, _ in rig.table.epochs.values()} == {2}


async def test_what_another_took_is_dropped_at_the_next_renewal() -> None:
    rig = Rig()
    async with rig.running("a"):
        owner, _, _ = rig.table.rows[2]
        rig.table.rows[2] = (owner, 0, 0.0)
        assert rig.table.claimed(2, "other", LEASE) is not None
        await rig.clock.advance(LEASE / 3)
        assert sorted(rig.worked["a"]) == [0, 1, 3, 4, 5]


async def test_a_store_that_is_not_as_believed_says_whose_the_shard_is() -> None:
    rig = Rig()
    async with rig.running("a"):
        mine, gone = rig.worked["a"][1], rig.worked["a"][2]
        assert (await mine.take()).epoch == 2
        rig.table.rows[2] = ("other", 7, rig.clock.mono() + LEASE)
        with pytest.raises(Lost):
            await gone.take()
        assert gone.scope.cancel_called
        await rig.clock.advance(2 * LEASE)
        assert mine.ours()  # what was renewed meanwhile goes by the newer epoch


async def test_an_answer_that_is_lost_costs_no_shard() -> None:
    rig = Rig()
    rig.table.claimed(3, "a", LEASE)
    async with rig.running("a"):
        await rig.clock.advance(2)
        assert rig.counts("a") == [SHARDS]


async def test_a_defect_of_one_shard_ends_the_process_and_gives_back_the_others() -> None:
    rig = Rig()
    replica = rig.replica("a")

    async def work(owned: Owned) -> None:
        if owned.number == 4:
            raise SinkRefused("no")
        await owned.ending.wait()

    with pytest.raises(BaseExceptionGroup):
        await replica.run(work)
    assert rig.table.rows == {}
    assert rig.table.there == {}


async def test_a_store_without_leases_is_the_same_way_with_nothing_to_renew() -> None:
    rig, store = Rig(), MemoryStore()
    replica = Replica(
        Alone(store), 1, clock=rig.clock, outage=SharedOutage(structlog.get_logger(), rig.clock), name="a"
    )
    rig.worked["a"] = {}
    async with anyio.create_task_group() as tasks:
        await tasks.start(replica.run, rig.work_of("a"))
        await rig.clock.advance(1)
        owned = rig.worked["a"][0]
        assert (await owned.take()).epoch == 2
        await rig.clock.advance(100 * LEASE)
        assert owned.ours()
        replica.leave()
        await rig.clock.advance(1)
        assert rig.counts("a") == [0]


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_to_the_database_no_shard_is_worked_on_twice(seed: int) -> None:
    rig, rnd = Rig(), random.Random(seed)
    async with rig.running("a", "b", "c"):
        for _ in range(30):
            rig.table.away = rnd.random() < 0.3
            name = rnd.choice("abc")
            if rnd.random() < 0.3:
                rig.stopped_for[name] = rig.stopped_for.get(name, 0.0) + LEASE * rnd.random()
            await rig.clock.advance(rnd.uniform(0, LEASE / 2))
            for shard in range(SHARDS):
                assert sum(shard in rig.worked[one] and rig.worked[one][shard].ours() for one in "abc") <= 1
        rig.table.away = False
        await rig.clock.advance(2 * LEASE)
        assert sorted(rig.counts("a", "b", "c")) == [2, 2, 2]


async def test_a_claim_that_the_store_refuses_is_no_reason_to_end() -> None:
    rig = Rig()

    rig.table.refusing = True
    replica = rig.replica("a")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(replica.run, rig.work_of("a"))
        await rig.clock.advance(3)
        assert rig.counts("a") == [0]
        rig.table.refusing = False
        await rig.clock.advance(3)
        assert rig.counts("a") == [SHARDS]
        tasks.cancel_scope.cancel()


async def test_a_store_that_refuses_at_the_start_ends_it() -> None:
    rig = Rig()
    rig.table.away, rig.table.fault = True, StoreRefused
    with pytest.raises(ExceptionGroup) as caught:
        async with rig.running("a"):
            pass
    assert caught.group_contains(StoreRefused)
