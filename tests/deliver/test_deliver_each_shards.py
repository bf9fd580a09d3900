"""Several shards of one store in one process: one delivery for each sink, fair among its shards, which come and go meanwhile."""

from collections import Counter

import anyio
import pytest
from delivery_model import Lease
from each_life import TAKEN, EachLife, later, never
from stores_content import dead_events
from structlog.testing import capture_logs

from poller.each import Answered
from poller.health import from_json, meta_name
from poller.patience import FAILURES
from poller.shard import Shard

pytestmark = pytest.mark.anyio


@pytest.fixture
def three(each: EachLife) -> EachLife:
    """A life with three shards."""
    each.shards(3)
    return each


async def filled(life: EachLife, count: int, *, size: int = 0) -> None:
    for shard in range(3):
        await life.commit(*[f"{shard}.{number}" for number in range(count)], shard=shard, size=size)


def shard_of(call: str) -> int:
    return int(call.split(".", maxsplit=1)[0])


async def test_all_shards_are_delivered_each_in_turn(three: EachLife) -> None:
    three.pace(rate=10.0)
    delivery = await three.begin()
    await filled(three, 40)
    await three.until(lambda: len(three.sink.taken) >= 60)
    got = Counter(shard_of(call) for call in three.sink.taken[:60])
    assert max(got.values()) - min(got.values()) <= 4
    await three.until(lambda: delivery.pending == 0)
    assert len(set(three.sink.taken)) == len(three.sink.taken) == 120
    await three.pass_time(10)
    assert {number: place.seq for number, place in delivery.positions.items()} == {0: 40, 1: 40, 2: 40}


async def test_limits_hold_for_the_sink_and_not_for_each_shard(three: EachLife) -> None:
    three.pace(concurrency=5, in_flight=25_000)
    three.sink.answer = lambda _event, _attempt: never
    await three.begin()
    await filled(three, 20, size=6_000)
    await three.pass_time(100)
    assert three.sink.most == 3
    assert {shard_of(call) for _, call, _ in three.sink.asked} == {0, 1, 2}


async def test_a_large_event_is_not_passed_by_small_ones_of_other_shards_for_ever(three: EachLife) -> None:
    three.pace(concurrency=4, in_flight=10_000)

    async def slowly() -> Answered:
        await three.clock.sleep(1)
        return TAKEN

    three.sink.answer = lambda _event, _attempt: slowly
    await three.begin()
    for shard in (0, 1):
        await three.commit(*[f"{shard}.{number}" for number in range(200)], shard=shard, size=1_000)
    await three.pass_time(3)
    await three.commit("2.large", shard=2, size=50_000)
    await three.until(lambda: "2.large" in three.sink.taken, longest=5)


async def test_failures_of_events_that_have_one_number_in_different_shards_are_different_failures(
    three: EachLife,
) -> None:
    three.sink.answer = lambda _event, _attempt: later()
    delivery = await three.begin()
    await filled(three, 2)
    await three.pass_time(1)
    assert delivery.health.state == "down"
    assert len({call for _, call, _ in three.sink.asked}) == FAILURES


async def test_what_waits_is_counted_and_limited_for_the_sink(three: EachLife) -> None:
    three.sink.answer = lambda _event, _attempt: never
    delivery = await three.begin(max_pending="64KiB")
    await filled(three, 20, size=6_000)
    await three.until(lambda: 0 < delivery.pending <= 11)
    await three.pass_time(30)
    waiting = three.metrics.pending_events["crm"].value
    assert waiting is not None
    assert 3 <= waiting <= 11
    assert len(await dead_events(three.store)) == 60 - waiting


async def test_a_sink_that_is_back_is_fed_from_all_shards_and_not_said_to_be_before_that_is_kept(
    three: EachLife,
) -> None:
    three.sink.answer = lambda _event, _attempt: later()
    delivery = await three.begin()
    await filled(three, 3)
    await three.until(lambda: delivery.health.state == "down")
    await three.pass_time(4_000)
    three.sink.answer = lambda _event, _attempt: TAKEN
    await three.until(lambda: delivery.health.state == "up")
    began = three.clock.now()
    await three.until(lambda: delivery.pending == 0)
    assert three.clock.now() - began < 2


async def test_a_shard_that_is_lost_is_neither_tried_nor_written_any_more(three: EachLife) -> None:
    three.sink.answer = lambda event, _attempt: never if event.subject.startswith("1.") else TAKEN
    delivery = await three.begin()
    await filled(three, 3)
    await three.pass_time(10)
    before = await three.store.position("crm", 1), await three.store.done("crm", 1), len(three.sink.asked)
    assert three.sink.running == 3
    await delivery.drop(1, lost=True)
    assert three.sink.running == 0
    await three.commit("1.more", shard=1)
    await three.commit("0.more", shard=0)
    await three.pass_time(100)
    assert (await three.store.position("crm", 1), await three.store.done("crm", 1)) == before[:2]
    assert [call for _, call, _ in three.sink.asked[before[2] :]] == ["0.more"]
    assert set(delivery.positions) == {0, 2}
    assert delivery.pending == 0


async def test_who_wakes_after_the_end_of_its_lease_tries_nothing_more(three: EachLife) -> None:
    lease = Lease(three.store, 1)
    three.more[0] = Shard(three.store, 1, owner=lease)
    three.pace(rate=10.0)
    delivery = await three.begin()
    await filled(three, 40)
    await three.pass_time(1)
    lease.lasts = False
    before = len([call for call in three.sink.taken if shard_of(call) == 1])
    assert 0 < before < 40
    await three.until(lambda: len([call for call in three.sink.taken if shard_of(call) != 1]) == 80)
    await three.pass_time(10)
    assert len([call for call in three.sink.taken if shard_of(call) == 1]) == before
    lease.lasts = True
    await three.until(lambda: delivery.pending == 0)
    assert set(three.sink.taken) == {f"{shard}.{number}" for shard in range(3) for number in range(40)}
    assert delivery.gate.running == 0


async def test_a_shard_that_another_has_taken_is_waited_for_without_a_word(three: EachLife) -> None:
    """Until whoever dropped it ends this, or it is this replica's again."""
    lease, answered = Lease(three.store, 1), anyio.Event()

    async def slowly() -> Answered:
        await answered.wait()
        return TAKEN

    three.more[0] = Shard(three.store, 1, owner=lease)
    three.sink.answer = lambda event, _attempt: slowly if shard_of(event.subject) == 1 else TAKEN
    delivery = await three.begin()
    await filled(three, 2)
    await three.pass_time(1)
    lease.lasts = False
    await three.store.hold(1)
    answered.set()
    asked = lease.asked
    with capture_logs() as said:
        await three.pass_time(10)
    assert 0 < lease.asked - asked <= 60
    assert not said
    lease.lasts = True
    await three.until(lambda: delivery.pending == 0)
    assert sorted(set(three.sink.taken)) == ["0.0", "0.1", "1.0", "1.1", "2.0", "2.1"]


async def test_what_is_answered_for_a_shard_that_is_handed_over_is_written_first(three: EachLife) -> None:
    delivery = await three.begin()
    await filled(three, 3)
    await three.drive()
    assert len(three.sink.taken) == 9
    await delivery.drop(2, lost=False)
    place = await three.store.position("crm", 2)
    assert place is not None
    assert place.seq == 3


async def test_a_shard_that_comes_is_delivered_and_one_that_comes_back_goes_on(three: EachLife) -> None:
    later_on = three.more.pop()
    delivery = await three.begin()
    assert set(delivery.positions) == {0, 1}
    three.more.append(later_on)
    await three.commit("2.0", shard=2)
    await delivery.add(later_on)
    await delivery.add(later_on)
    await three.until(lambda: "2.0" in three.sink.taken)
    await three.pass_time(1)
    await delivery.drop(2, lost=False)
    await delivery.drop(2, lost=True)
    three.more[-1] = again = Shard(three.store, 2)
    await delivery.add(again)
    await three.commit("2.1", shard=2)
    await three.until(lambda: delivery.pending == 0)
    assert three.sink.taken == ["2.0", "2.1"]


async def test_a_shard_that_another_process_took_does_not_hold_up_the_others(three: EachLife) -> None:
    delivery = await three.begin()
    await filled(three, 2)
    await three.until(lambda: delivery.pending == 0)
    await Shard(three.store, 1).believe()
    await filled_but(three, 1)
    await three.until(lambda: {"0.x", "2.x"} <= set(three.sink.taken), longest=30)


async def filled_but(life: EachLife, left_out: int) -> None:
    for shard in {0, 1, 2} - {left_out}:
        await life.commit(f"{shard}.x", shard=shard)


async def test_nothing_is_lost_by_a_restart_with_three_shards(three: EachLife) -> None:
    three.sink.answer = lambda event, _attempt: later() if event.subject.endswith(".1") else TAKEN
    await three.begin()
    await filled(three, 5)
    await three.pass_time(10)
    three.sink.answer = lambda _event, _attempt: TAKEN
    delivery = await three.begin(restart=True)
    await three.until(lambda: delivery.pending == 0)
    assert sorted(three.sink.taken) == sorted(f"{shard}.{n}" for shard in range(3) for n in range(5))


async def beside(life: EachLife) -> EachLife:
    """Another replica on the same store: it has shard 2, and the first one keeps the others."""
    other = EachLife()
    other.store = life.store
    other.shard = Shard(life.store, 2)
    life.more.pop()
    return other


async def test_a_sink_that_another_replica_switched_is_so_here_when_a_shard_is_taken(three: EachLife) -> None:
    other = await beside(three)
    here, there = await three.begin(), await other.begin()
    assert (await there.disable("by hand")).state == "disabled"
    assert here.health.state == "up"
    three.more.append(Shard(three.store, 2))
    await there.drop(2, lost=False)
    await here.add(three.more[-1])
    assert here.health == there.health
    await three.commit("0.0", shard=0)
    await three.pass_time(100)
    assert three.sink.asked == []
    await there.enable()
    await here.drop(2, lost=False)
    await here.add(three.more[-1])
    await three.until(lambda: three.sink.taken == ["0.0"], longest=1_000)
    assert here.health.state == "up"
    await other.end()


async def test_what_a_replica_notes_of_a_sink_does_not_switch_it_on_again(three: EachLife) -> None:
    three.sink.answer = lambda _event, _attempt: later()
    other = await beside(three)
    here, there = await three.begin(), await other.begin()
    await there.disable("by hand")
    await three.commit(*[f"0.{number}" for number in range(9)], shard=0)
    await three.until(lambda: here.health.state == "disabled", longest=1_000)
    assert here.health.why == "by hand"
    await here.enable()
    assert here.health.state == "down"
    assert from_json(await three.store.get_meta(meta_name("crm"))) == here.health
    await other.end()
