"""Two replicas and one sink: what somebody switches holds for both, what each measures is its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import cast

import anyio
import pytest
import structlog
from each_life import TAKEN, EachLife, later

from poller.health import Condition
from poller.leasing import SWITCHED
from poller.log import SharedOutage
from poller.one_by_one import switch as switches
from poller.one_by_one.delivery import EachDelivery
from poller.one_by_one.gate import condition_of, switch
from poller.protocols import Store
from poller.shard import Shard

pytestmark = pytest.mark.anyio


class Two:
    """Replicas with a shard each of one store; each follows what the other one switches."""

    def __init__(self) -> None:
        self.lives = EachLife(), EachLife()
        self.tasks: list[asyncio.Task[None]] = []
        self.lives[0].shards(2)
        self.store = self.lives[1].store = self.lives[0].store
        for number, life in enumerate(self.lives):
            life.shard, life.more = Shard(self.store, number), []

    async def begin(self) -> list[EachDelivery]:
        return [await self.begin_one(number) for number in range(2)]

    async def begin_one(self, number: int) -> EachDelivery:
        life = self.lives[number]
        delivery = await life.begin()
        outage = SharedOutage(structlog.get_logger(), life.clock)

        async def look() -> str | None:
            await life.clock.sleep(1)
            told: str | None = await self.store.get_meta(SWITCHED)
            return told

        following = switches.keep_following(lambda: [delivery], outage, look)
        self.tasks.append(asyncio.create_task(following))
        await life.drive()
        return delivery

    async def pass_time(self, seconds: float) -> None:
        for life in self.lives:
            await life.pass_time(seconds)

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for life in self.lives:
            await life.end()


@pytest.fixture
async def two() -> AsyncIterator[Two]:
    found = Two()
    yield found
    await found.end()


async def test_what_one_is_told_the_other_does_within_two_seconds(two: Two) -> None:
    one, other = await two.begin()
    await one.disable("they move")
    await two.pass_time(2)
    assert (other.health.state, other.health.why) == ("disabled", "they move")
    await two.lives[1].commit("a", shard=1)
    await two.pass_time(100)
    assert two.lives[1].sink.asked == []
    await other.enable()
    await two.pass_time(2)
    assert two.lives[1].sink.taken == ["a"]
    assert (one.health.state, other.health.state) == ("down", "up"), "the first one has nothing to try"


async def test_a_sink_that_wants_no_more_calls_gets_none_from_the_other(two: Two) -> None:
    one, other = await two.begin()
    two.lives[0].sink.answer = lambda _event, _attempt: later("gone", disable=True)
    await two.lives[0].commit("a", shard=0)
    await two.pass_time(5)
    assert (one.health.state, other.health.state) == ("disabled", "disabled")


async def test_what_one_measures_is_its_own(two: Two) -> None:
    one, other = await two.begin()
    two.lives[0].sink.answer = lambda _event, _attempt: later()
    await two.lives[0].commit(*"abcdefgh", shard=0)
    await two.lives[1].commit("z", shard=1)
    await two.pass_time(100)
    assert (one.health.state, other.health.state) == ("down", "up")
    assert two.lives[1].sink.taken == ["z"]


async def test_what_one_measured_later_does_not_switch_on_what_somebody_switched_off(two: Two) -> None:
    one, other = await two.begin()
    two.lives[1].sink.answer = lambda _event, _attempt: later()
    await one.disable("they move")
    await two.lives[1].commit(*"abcdefgh", shard=1)
    await two.lives[1].pass_time(0.5)  # it goes down before it has looked at the switch
    await two.pass_time(10)
    assert other.health.state == "disabled"
    assert (await condition_of(two.store, "crm")).state == "disabled"
    await two.lives[0].end()
    again = await two.lives[0].begin(restart=True)
    assert again.health.state == "disabled"


async def test_enabling_one_that_is_down_makes_the_other_look_too(two: Two) -> None:
    deliveries = await two.begin()
    for number, life in enumerate(two.lives):
        life.sink.answer = lambda _event, _attempt: later()
        await life.commit(*[f"{number}.{call}" for call in range(8)], shard=number)
    await two.pass_time(3_000)
    assert [one.health.state for one in deliveries] == ["down", "down"]
    for life in two.lives:
        life.sink.answer = lambda _event, _attempt: TAKEN
    await deliveries[0].enable()
    await two.pass_time(3)
    assert [one.health.state for one in deliveries] == ["up", "up"]


async def test_two_switches_at_once_are_two(two: Two) -> None:
    """Else a replica that knows a later number would take the store for a restored one, and undo what somebody was told is done."""
    await two.begin()

    class Turns:
        """Between reading and writing, everybody has a turn."""

        def __init__(self) -> None:
            self.put_meta, self.swap_meta = two.store.put_meta, two.store.swap_meta

        async def get_meta(self, name: str) -> str | None:
            found: str | None = await two.store.get_meta(name)
            await anyio.wait_all_tasks_blocked()
            return found

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            condition = Condition("disabled", 1.0, f"number {number}")
            tasks.start_soon(switches.flip, cast(Store, Turns()), "crm", condition, 1.0)
    found = await switches.read(two.store, "crm")
    assert found is not None
    assert found.number == 3


async def test_one_that_has_nothing_to_try_believes_the_other_that_the_sink_is_back(two: Two) -> None:
    one, other = await two.begin()
    await one.disable("they move")
    await two.pass_time(2)
    await other.enable()
    await two.lives[1].commit("a", shard=1)
    await two.pass_time(2)
    assert (one.health.state, other.health.state) == ("down", "up")
    await two.pass_time(70)
    assert (one.health.state, other.health.state) == ("up", "up")
    assert two.lives[0].metrics.sink_up["crm"].value == 1


async def test_one_that_delivers_says_so_although_another_was_the_last_to_write(two: Two) -> None:
    one, other = await two.begin()
    two.lives[0].sink.answer = lambda _event, _attempt: later()
    await two.lives[0].commit(*"abcdefgh", shard=0)
    await two.pass_time(100)
    assert (await condition_of(two.store, "crm")).state == "down"
    await two.lives[1].commit("z", shard=1)
    await two.pass_time(70)
    assert (await condition_of(two.store, "crm")).state == "up"
    assert one.health.state == "down", "it has something to try, and measures for itself"
    assert other.health.state == "up"


async def test_what_a_command_switches_without_a_daemon_holds_for_daemons_elsewhere(two: Two) -> None:
    one, other = await two.begin()
    await switch(two.store, "crm", why="they move", now=5.0)
    await two.pass_time(2)
    assert (one.health.state, other.health.state) == ("disabled", "disabled")


async def test_a_store_that_was_restored_is_told_what_it_forgot_and_does_not_switch(two: Two) -> None:
    one, other = await two.begin()
    await one.disable("they move")
    await two.pass_time(2)
    await one.enable()
    await two.pass_time(2)
    known = await switches.read(two.store, "crm")
    assert known is not None
    await two.store.put_meta(switches.switch_name("crm"), '{"number": 1, "off": true, "why": "they move"}')
    await two.store.put_meta("sinks.switched", "again")
    await two.pass_time(2)
    assert await switches.read(two.store, "crm") == known
    assert "disabled" not in {one.health.state, other.health.state}
