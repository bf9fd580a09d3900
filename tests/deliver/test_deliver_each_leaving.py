"""A shard comes or leaves in the middle of a call of the store: what that brings then belongs to nobody yet, or any more."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from each_life import REFUSED, TAKEN, EachLife, later, never
from stores_content import dead_events
from structlog.testing import capture_logs

from poller.errors import Lost, Outdated, StoreFault
from poller.health import Condition, from_json, meta_name, to_json
from poller.log import SharedOutage, get_logger
from poller.model import Held
from poller.one_by_one.delivery import EachDelivery
from poller.one_by_one.outlet import Outlet
from poller.one_by_one.turns import Turns
from poller.options import SinkOptions
from poller.patience import FAILURES
from poller.shard import Shard

pytestmark = pytest.mark.anyio


class Halting:
    """A store of which some calls wait until they are let go, before or after they have done what they do."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.halts: Callable[[str, tuple[Any, ...]], bool] = lambda _name, _args: False
        self.answers_late: Callable[[str, tuple[Any, ...]], bool] = lambda _name, _args: False
        self.calls: list[tuple[Any, ...]] = []
        """Of the log and of what is kept: what was asked."""
        self.halted = 0
        self.go = asyncio.Event()
        self.answer = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self.halts(name, args):
                self.halted += 1
                await self.go.wait()
            if name == "retries" or (name, *args[:1]) == ("segments_after", 1):
                self.calls.append((name, *args))
            result = await found(*args, **kwargs)
            if self.answers_late(name, args):
                await self.answer.wait()
            return result

        return call

    def let_go(self) -> None:
        self.halts = lambda _name, _args: False
        self.go.set()


@pytest.fixture
def halting(each: EachLife) -> Halting:
    """The store of a life with two shards."""
    each.shards(2)
    each.store = store = Halting(each.store)
    each.shard, *each.more = (Shard(each.store, number) for number in range(2))
    return store


async def test_what_waits_in_a_shard_that_left_while_it_was_counted_counts_no_more(
    each: EachLife, halting: Halting
) -> None:
    each.sink.answer = lambda _event, _attempt: later()
    delivery = await each.begin(max_pending="64KiB")
    await each.commit(*[f"1.{number}" for number in range(6)], shard=1, size=6_000)
    await each.commit("0.0", "0.1", shard=0, size=6_000)
    await each.pass_time(5)
    halting.halts = lambda name, args: name == "backlog" and args[0] == 1
    await each.until(lambda: halting.halted > 0, longest=1_000)
    leaving = asyncio.create_task(delivery.drop(1, lost=True))
    await each.drive()
    halting.let_go()
    await leaving
    await each.commit("0.2", shard=0, size=6_000)
    await each.pass_time(120)
    assert each.metrics.pending_events["crm"].value == 3
    await each.commit(*[f"0.{number}" for number in range(3, 8)], shard=0, size=6_000)
    await each.pass_time(120)
    assert await dead_events(each.store) == []


async def test_a_shard_may_leave_while_its_log_is_read_for_a_probe(each: EachLife, halting: Halting) -> None:
    each.sink.answer = lambda event, attempt: later() if (event.subject, attempt.number) == ("1.0", 1) else REFUSED
    delivery = await each.begin()
    await each.commit("1.0", shard=1)
    await each.pass_time(1)
    await each.commit(*[f"0.{number}" for number in range(FAILURES)], shard=0)
    await each.until(lambda: delivery.health.state == "down")
    await each.until(lambda: len(each.sink.times("1.0")) == 2, longest=1_000)
    halting.calls.clear()
    loaded = ("retries", "crm", 1, [1])
    halting.halts = lambda name, args: name == "segments_after" and args[0] == 1 and halting.calls[-1:] == [loaded]
    await each.until(lambda: halting.halted > 0, longest=1_000)
    leaving = asyncio.create_task(delivery.drop(1, lost=True))
    await each.drive()
    halting.let_go()
    await leaving
    each.sink.answer = lambda _event, _attempt: TAKEN
    await each.commit("0.more", shard=0)
    await each.until(lambda: "0.more" in each.sink.taken)
    assert not each.ended


async def test_nothing_begins_in_a_line_that_ended_however_late_the_step_is(each: EachLife) -> None:
    """What a line's attempts run in has ended with it: beginning one there would end the process."""
    each.sink.answer = lambda _event, _attempt: never
    each.pace(concurrency=1)
    delivery = await each.begin()
    await each.commit("running", "next")
    await each.drive()
    part = delivery._parts[0]
    line = part.line
    assert line is not None
    assert [fresh.event.subject for fresh in line.ahead.fresh] == ["next"]
    await delivery.drop(0, lost=True)
    with pytest.raises(Outdated):
        await delivery._feed._choose(part, line)
    assert [fresh.event.subject for fresh in line.ahead.fresh] == ["next"], "it counts as not looked at"
    assert [call for _, call, _ in each.sink.asked] == ["running"]


async def test_how_the_sink_stands_is_kept_as_it_was_last_although_an_earlier_write_takes_longer(
    each: EachLife, halting: Halting
) -> None:
    each.sink.answer = lambda _event, _attempt: later()
    delivery = await each.begin()
    halting.halts = lambda name, args: name == "put_meta" and '"down"' in args[1]
    for shard in range(2):
        await each.commit(*[f"{shard}.{number}" for number in range(FAILURES)], shard=shard)
    await each.until(lambda: halting.halted > 0, longest=1_000)
    halting.answers_late = lambda name, args: name == "put_meta" and '"disabled"' in args[1]
    disabling = asyncio.create_task(delivery.disable("by hand"))
    await each.drive()
    halting.let_go()
    await each.drive()
    halting.answer.set()
    assert (await disabling).state == "disabled"
    await each.pass_time(10)
    assert from_json(await each.store.get_meta(meta_name("crm"))).state == "disabled"


async def test_how_the_sink_stood_is_not_written_before_it_is_read(each: EachLife, halting: Halting) -> None:
    before = to_json(Condition("down", 1.0, "said no", probe_at=1e12))
    await each.store.put_meta(meta_name("crm"), before)
    options = SinkOptions.model_validate({"start_from": "earliest"})
    turns = Turns(each.clock.mono)
    delivery = EachDelivery(Outlet(each.store, each.sink, options, each.clock, random.Random(1), each.metrics, turns))
    each.task = asyncio.create_task(delivery.run())
    await each.drive()
    halting.halts = lambda name, _args: name == "position"
    adding = asyncio.create_task(delivery.add(each.shard))
    await each.pass_time(100)
    assert await each.store.get_meta(meta_name("crm")) == before
    halting.let_go()
    await adding
    assert delivery.health.state == "down"


class Lapsed:
    """The right to a shard that ends when the test says so."""

    def __init__(self, store: Any, number: int) -> None:
        self._store = store
        self._number = number
        self.over = False

    def ours(self) -> bool:
        return not self.over

    async def take(self) -> Held:
        if self.over:
            raise Lost("it is somebody else's")
        held: Held = await self._store.hold(self._number)
        return held


async def test_nothing_is_tried_for_a_shard_that_may_be_somebody_elses_by_now(each: EachLife) -> None:
    each.shards(2)
    owner = Lapsed(each.store, 1)
    each.more = [Shard(each.store, 1, owner=owner)]
    await each.begin()
    await each.commit("1.0", shard=1)
    await each.until(lambda: each.sink.taken == ["1.0"])
    owner.over = True
    await each.commit("1.1", shard=1)
    await each.commit("0.0", shard=0)
    await each.pass_time(100)
    assert each.sink.taken == ["1.0", "0.0"]
    assert [call for _, call, _ in each.sink.asked] == ["1.0", "0.0"]
    owner.over = False  # the lease was renewed late
    await each.pass_time(2)
    assert each.sink.taken == ["1.0", "0.0", "1.1"]


async def test_an_outage_of_the_store_ends_without_those_who_left_during_it(each: EachLife) -> None:
    with capture_logs() as shown:
        outage = SharedOutage(get_logger(), each.clock)
        stays, leaves = (Shard(each.store, number, outage) for number in (1, 11))
        for shard in (stays, leaves):
            shard.store_failed("polls of", StoreFault("no answer"))
            shard.store_failed("delivery of", StoreFault("no answer"))
        leaves.given_up()
        stays.store_works("polls of")
        assert [line["event"] for line in shown] == ["failing"]
        stays.store_works("delivery of")
        leaves.store_failed("delivery of", StoreFault("an answer that comes late"))
    assert [line["event"] for line in shown] == ["failing", "works again"]
