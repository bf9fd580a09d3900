"""One by one over a store that fails, is exchanged or knows the sink by another name; starts, stops, and what is said."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
import structlog
from each_life import TAKEN, EachLife, later, never

from poller.each import Answered
from poller.errors import StoreFault
from poller.kept import Attempted
from poller.model import Held, Segment
from poller.one_by_one.delivery import EachDelivery
from poller.shard import Shard
from poller.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio


class Troubled(MemoryStore):
    """Fails so many times more at each of its methods."""

    def __init__(self) -> None:
        super().__init__()
        self.faults = dict.fromkeys(("hold", "attempted", "segments_after", "put_meta"), 0)

    def fail(self, name: str) -> None:
        if self.faults[name]:
            self.faults[name] -= 1
            raise StoreFault("the disk does not answer")

    async def hold(self, shard: int) -> Held:
        self.fail("hold")
        return await super().hold(shard)

    async def attempted(self, held: Held, sink: str, attempted: Attempted) -> None:
        self.fail("attempted")
        await super().attempted(held, sink, attempted)

    async def segments_after(self, shard: int, seq: int, max_bytes: int) -> list[Segment]:
        self.fail("segments_after")
        return await super().segments_after(shard, seq, max_bytes)

    async def put_meta(self, name: str, value: str | None) -> None:
        self.fail("put_meta")
        await super().put_meta(name, value)


@pytest.fixture
async def each() -> AsyncIterator[EachLife]:
    life = EachLife()
    life.store = Troubled()
    life.shard = Shard(life.store, 0)
    yield life
    await life.end()


@pytest.fixture
def said() -> Any:
    with structlog.testing.capture_logs() as lines:
        yield lines


async def test_what_is_answered_is_kept_while_the_store_fails_and_nothing_more_is_tried(
    each: EachLife, said: list[Any]
) -> None:
    delivery = await each.begin()
    each.store.faults["attempted"] = 6
    await each.commit("a", "b")
    await each.pass_time(1)
    assert str(delivery.error) == "the disk does not answer"
    await each.commit("c")
    await each.until(lambda: delivery.pending == 0)
    await each.pass_time(5)
    assert each.sink.taken == ["a", "b", "c"]
    assert delivery.error is None
    assert await each.store.position("crm", 0) == each.shard.held.last
    assert [line["event"] for line in said] == ["failing", "works again"]


@pytest.mark.parametrize("call", ["hold", "segments_after", "put_meta"])
async def test_a_store_that_fails_is_tried_again_and_said_once(each: EachLife, said: list[Any], call: str) -> None:
    if call == "hold":
        await each.store.hold(0)
    each.store.faults[call] = 4
    each.sink.answer = lambda _event, attempt: TAKEN if attempt.number > 2 else later()
    await each.begin()
    await each.pass_time(60)
    await each.commit(*"abcde")
    await each.pass_time(400)
    assert each.store.faults[call] == 0
    assert sorted(each.sink.taken) == list("abcde")
    assert [line["event"] for line in said].count("failing") == 1


async def test_another_writer_is_noticed_and_the_same_is_sent_again_at_most(each: EachLife) -> None:
    delivery = await each.begin()
    each.sink.answer = lambda event, _: never if event.subject == "b" else TAKEN
    await each.commit("a", "b", "c")
    await each.pass_time(1)
    await each.store.hold(0)
    each.sink.answer = lambda _event, _attempt: TAKEN
    async with each.shard.lock:
        await each.shard.believe()  # the way in has noticed
    await each.until(lambda: delivery.pending == 0)
    assert each.sink.taken == ["a", "c", "b"]


async def test_an_emptied_store_is_begun_anew(each: EachLife) -> None:
    delivery = await each.begin()
    await each.commit("a")
    await each.pass_time(1)
    each.store.restore(MemoryStore())
    async with each.shard.lock:
        await each.shard.believe()
    await each.commit("a", "b")
    await each.until(lambda: delivery.pending == 0)
    assert each.sink.taken == ["a", "a", "b"]
    assert len(each.sink.ids["a"]) == 1


async def test_a_store_that_was_set_back_is_counted_by_the_delivery_that_meets_it(each: EachLife) -> None:
    delivery = await each.begin()
    await each.commit("a")
    copy = MemoryStore()
    copy.restore(each.store)
    await each.commit("b")
    each.store.restore(copy)
    await each.until(lambda: each.metrics.store_rollbacks[()].value == 1)
    await each.commit("b")
    await each.until(lambda: delivery.pending == 0)
    assert set(each.sink.taken) == {"a", "b"}


async def one_waits_and_one_is_kept(each: EachLife) -> tuple[EachDelivery, MemoryStore, anyio.Event]:
    """The receiver keeps `b` until the event, and takes `a` at the third try. The copy is from before that was noted."""
    held = anyio.Event()

    async def later_on() -> Answered:
        await held.wait()
        return TAKEN

    each.sink.answer = lambda event, attempt: (
        later_on if event.subject == "b" else TAKEN if attempt.number > 2 or event.subject != "a" else later()
    )
    delivery = await each.begin()
    await each.commit("a", "b")
    copy = MemoryStore()
    copy.restore(each.store)
    await each.pass_time(1)
    return delivery, copy, held


async def test_a_store_that_lost_only_what_the_deliveries_wrote_is_noticed(each: EachLife) -> None:
    """A standby that lagged: epoch and log are as they were, what was kept to be tried again is gone."""
    delivery, copy, held = await one_waits_and_one_is_kept(each)
    assert len(await each.store.places("crm", 0)) == 1
    each.store.restore(copy)
    held.set()
    await each.until(lambda: delivery.pending == 0)
    assert set(each.sink.taken) == {"a", "b"}
    assert each.metrics.store_rollbacks[()].value == 1


async def test_one_restore_is_counted_once_although_the_shard_and_its_deliveries_notice_it(each: EachLife) -> None:
    delivery, copy, held = await one_waits_and_one_is_kept(each)
    await each.commit("c")
    await each.pass_time(1)
    each.store.restore(copy)
    held.set()
    await each.until(lambda: delivery.pending == 0, longest=600)
    assert set(each.sink.taken) == {"a", "b", "c"}
    assert each.metrics.store_rollbacks[()].value == 1


async def test_a_probe_that_is_given_up_is_followed_by_another(each: EachLife) -> None:
    each.sink.answer = lambda _event, _attempt: later()
    delivery = await each.begin()
    await each.commit(*"abcdefgh")
    await each.until(lambda: delivery.health.state == "down")
    each.sink.answer = lambda _event, _attempt: never
    await each.until(lambda: each.sink.running > 0)
    async with each.shard.lock:
        await each.store.hold(0)
        await each.shard.believe()
    each.sink.answer = lambda _event, _attempt: TAKEN
    await each.until(lambda: delivery.pending == 0)
    assert set(each.sink.taken) == set("abcdefgh")


async def test_what_failed_before_a_restart_is_due_when_the_sink_is_back(each: EachLife) -> None:
    each.sink.answer = lambda _event, _attempt: later()
    delivery = await each.begin()
    await each.commit(*"abcdefgh")
    await each.pass_time(40_000)
    each.sink.answer = lambda _event, _attempt: TAKEN
    delivery = await each.begin(restart=True)
    assert delivery.health.state == "down"
    await each.until(lambda: delivery.pending == 0, longest=310)


# --- turns -------------------------------------------------------------------------------------------------------------


async def test_a_turn_that_comes_while_the_one_that_waits_is_written(each: EachLife) -> None:
    answered, writing = anyio.Event(), anyio.Event()

    class Slow(MemoryStore):
        async def attempted(self, held: Held, sink: str, attempted: Attempted) -> None:
            if attempted.later:
                answered.set()
                await writing.wait()
            await super().attempted(held, sink, attempted)

    async def later_on() -> Answered:
        await answered.wait()
        return TAKEN

    each.shard = Shard(Slow(), 0)
    each.pace(ordered=True)
    each.sink.answer = lambda event, _: later_on if event.subject == "k1" else TAKEN
    delivery = await each.begin()
    await each.commit("k1", "k2", key="k")
    await each.pass_time(1)
    assert each.sink.taken == ["k1"]
    writing.set()
    await each.until(lambda: delivery.pending == 0, longest=5)
    assert each.sink.taken == ["k1", "k2"]


async def test_one_that_waits_for_what_is_not_wanted_any_more_has_its_turn(each: EachLife) -> None:
    each.pace(ordered=True)
    each.sink.answer = lambda _event, _attempt: never
    await each.begin()
    await each.commit("k1", "k2", key="k")
    await each.pass_time(1)
    assert [place.due for place in await each.store.places("crm", 0)] == [None]
    each.sink.unwanted = {"k1"}
    each.sink.answer = lambda _event, _attempt: TAKEN
    delivery = await each.begin(restart=True)
    await each.until(lambda: delivery.pending == 0, longest=5)
    assert each.sink.taken == ["k2"]


# --- where it begins ---------------------------------------------------------------------------------------------------


async def test_start_from_now_and_from_a_time(each: EachLife) -> None:
    await each.commit("a")
    each.clock._to(each.clock.time + 1000)
    await each.commit("b")
    each.clock._to(each.clock.time + 10)
    await each.begin(start_from="100s")
    await each.pass_time(1)
    assert each.sink.taken == ["b"]
    each.sink.name = "other"
    await each.begin(start_from="now")
    await each.commit("c")
    await each.pass_time(1)
    assert each.sink.taken == ["b", "c"]


async def test_a_renamed_sink_takes_everything_with_it(each: EachLife) -> None:
    each.sink.answer = lambda event, _: TAKEN if event.subject == "a" else later("gone", disable=True)
    each.pace(concurrency=1)
    delivery = await each.begin()
    await each.commit("a", "b", "c")
    await each.pass_time(1)
    assert delivery.health.state == "disabled"
    each.sink.name = "crm2"
    delivery = await each.begin(renamed_from="crm")
    await each.pass_time(10)
    assert delivery.health.state == "disabled"
    assert [place.seq for place in await each.store.places("crm2", 0)] == [2]
    each.sink.answer = lambda _event, _attempt: TAKEN
    await delivery.enable()
    await each.until(lambda: delivery.pending == 0)
    assert each.sink.taken == ["a", "b", "c"]
    await each.begin(restart=True, renamed_from="crm")
    await each.pass_time(10)
    assert each.sink.taken == ["a", "b", "c"]


async def test_a_sink_that_was_never_there_leaves_nothing_and_that_is_said_once(each: EachLife) -> None:
    with structlog.testing.capture_logs() as lines:
        await each.begin(renamed_from="crn")
        await each.begin(restart=True, renamed_from="crn")
    (line,) = [line for line in lines if line["event"] == "nothing to take over"]
    assert (line["log_level"], line["renamed_from"]) == ("warning", "crn")
    assert "begins where start_from says" in line["detail"]


# --- the end -----------------------------------------------------------------------------------------------------------


async def test_a_stop_gives_up_what_is_under_way_and_keeps_what_is_answered(each: EachLife) -> None:
    each.sink.answer = lambda event, _: never if event.subject == "b" else TAKEN
    await each.begin()
    await each.commit("a", "b", "c")
    await each.drive()
    assert each.sink.taken == ["a", "c"]
    assert await each.store.done("crm", 0) == ()
    await each.end()
    assert each.sink.running == 0
    assert await each.store.done("crm", 0) == (1, 3)


async def test_caught_up_waits_for_what_is_due_soon_and_not_for_what_is_due_later(each: EachLife) -> None:
    each.sink.answer = lambda event, attempt: TAKEN if attempt.number > (1 if event.subject == "a" else 2) else later()
    delivery = await each.begin()
    await each.commit("a", "b", "c")
    ended = anyio.Event()

    async def wait() -> None:
        await delivery.caught_up(60)
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await each.until(ended.is_set, longest=59)
    assert each.sink.taken == ["a"]
    assert delivery.pending == 2
    begin = each.clock.time
    await delivery.caught_up()
    assert each.clock.time == begin
    await each.until(lambda: delivery.pending == 0)
    assert sorted(each.sink.taken) == ["a", "b", "c"]


# --- what is said ------------------------------------------------------------------------------------------------------


async def test_one_line_when_it_goes_down_and_one_when_it_is_back(each: EachLife, said: list[Any]) -> None:
    each.sink.answer = lambda _event, _attempt: later()
    delivery = await each.begin()
    await each.commit(*[f"e{number}" for number in range(50)])
    await each.pass_time(3_600)
    (line,) = said
    assert (line["event"], line["reason"], line["log_level"]) == ("the sink is down", "said server_error", "warning")
    assert 40 < line["waiting"] <= 50
    each.sink.answer = lambda _event, _attempt: TAKEN
    await each.until(lambda: delivery.pending == 0)
    assert [line["event"] for line in said] == ["the sink is down", "the sink is up again"]
    assert said[1]["after"]


async def test_figures_of_attempts(each: EachLife) -> None:
    each.sink.answer = lambda _event, attempt: TAKEN if attempt.number > 1 else later("timeout")
    await each.begin()
    await each.commit("a")
    await each.pass_time(10)
    counts = each.metrics.deliveries
    assert (counts["crm", "failed", "timeout"].value, counts["crm", "delivered", ""].value) == (1, 1)
    text = b"".join(each.metrics.write()).decode()
    assert 'poller_delivery_seconds_count{sink="crm"} 2.0' in text
    assert 'poller_end_to_end_seconds_count{sink="crm"} 1.0' in text
