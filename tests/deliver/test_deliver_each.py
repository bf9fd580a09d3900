"""Events go one by one: delivered, tried again, dead."""

import asyncio
import gc
import tracemalloc
from itertools import accumulate, pairwise

import anyio
import pytest
import structlog
from each_life import REFUSED, TAKEN, EachLife, later, never
from fake_clock import FakeClock
from msgspec import structs
from stores_content import dead_events

from poller.backlog import DROPPED
from poller.each import Answered
from poller.health import ABORTED, FIRST
from poller.model import Position
from poller.one_by_one.gate import switch
from poller.one_by_one.turns import Spent, Turns
from poller.one_by_one.waiting import MOST
from poller.patience import FAILURES

pytestmark = pytest.mark.anyio


async def test_everything_is_delivered_once_and_the_position_follows(each: EachLife) -> None:
    delivery = await each.begin()
    await each.commit("a", "b", "c")
    await each.commit("d")
    await each.until(lambda: each.position == each.shard.held.last)
    assert each.sink.taken == ["a", "b", "c", "d"]
    assert [attempt.number for _, _, attempt in each.sink.asked] == [1] * 4
    assert delivery.pending == 0


async def test_an_event_that_fails_for_days_follows_its_schedule_to_a_dead_letter(each: EachLife) -> None:
    each.sink.answer = lambda _event, _attempt: later()
    delivery = await each.begin()
    await each.commit("a")
    began = each.clock.now()
    while not await dead_events(each.store):
        await each.pass_time(600)
    times = [round(at - began) for at in each.sink.times("a")]
    expected = [round(at) for at in accumulate(each.sink.pace.schedule, initial=0.0)]
    assert len(times) == 10
    assert all(abs(one - other) < 3 for one, other in zip(times, expected, strict=True)), times
    (letter,) = await dead_events(each.store)
    assert (letter.reason, letter.error, letter.seq) == ("exhausted", "said server_error", 1)
    assert delivery.pending == 0
    firsts = {attempt.first for _, _, attempt in each.sink.asked}
    assert firsts == {began}


async def test_one_that_is_refused_is_dead_and_costs_the_others_nothing(each: EachLife) -> None:
    each.sink.answer = lambda event, _: REFUSED if event.subject == "b" else TAKEN
    await each.begin()
    await each.commit("a", "b", "c")
    await each.until(lambda: each.position == each.shard.held.last)
    assert each.sink.taken == ["a", "c"]
    assert [dead.reason for dead in await dead_events(each.store)] == ["client_error"]


async def test_one_that_refuses_everything_for_good_loses_five_events_and_the_others_wait_for_it(
    each: EachLife,
) -> None:
    each.sink.answer = lambda _event, _attempt: REFUSED
    delivery = await each.begin()
    await each.commit(*[f"c{n}" for n in range(50)])
    await each.pass_time(3600)
    assert (delivery.health.state, delivery.health.why) == ("down", "400 no")
    dead = {letter.event.subject for letter in await dead_events(each.store)}
    assert len(dead) == FAILURES
    each.sink.answer = lambda _event, _attempt: TAKEN
    await each.until(lambda: delivery.pending == 0)
    assert sorted(each.sink.taken) == sorted({f"c{n}" for n in range(50)} - dead)


async def test_events_that_are_refused_for_good_in_a_row_do_not_keep_the_good_ones_behind_them(each: EachLife) -> None:
    each.sink.answer = lambda event, _: REFUSED if event.subject.startswith("bad") else TAKEN
    delivery = await each.begin()
    began = each.clock.now()
    await each.commit(*[f"bad{n}" for n in range(20)], *[f"good{n}" for n in range(20)])
    await each.until(lambda: len(each.sink.taken) == 20)
    assert each.clock.now() - began <= 20 * FIRST
    await each.until(lambda: delivery.pending == 0, longest=60)
    assert len(await dead_events(each.store)) == 20
    assert delivery.health.state == "up"


async def test_dead_letters_are_said_once_a_minute_however_many_there_are(each: EachLife) -> None:
    each.sink.answer = lambda _event, _attempt: structs.replace(REFUSED, reason=ABORTED)
    delivery = await each.begin()
    with structlog.testing.capture_logs() as lines:
        await each.commit(*[f"c{n}" for n in range(50)])
        await each.until(lambda: delivery.pending == 0)
        await each.pass_time(61)
        await each.commit("last")
        await each.until(lambda: delivery.pending == 0)
    said = [line for line in lines if line["event"] == "an event became a dead letter"]
    assert [(line["reason"], line["error"], line["left_out"]) for line in said] == [
        ("aborted", "400 no", 0),
        ("aborted", "400 no", 49),
    ]


async def test_a_receiver_that_refuses_everybody_costs_a_few_events_and_the_rest_wait(each: EachLife) -> None:
    away = Answered(outcome="dead", reason="refused", error="404 no", at_large=True)
    each.sink.answer = lambda _event, _attempt: away
    delivery = await each.begin()
    calls = [f"c{n}" for n in range(100)]
    await each.commit(*calls)
    await each.pass_time(3_600)
    dead = {letter.event.subject for letter in await dead_events(each.store)}
    assert delivery.health.state == "down"
    assert FAILURES <= len(dead) < FAILURES + each.sink.pace.concurrency
    each.sink.answer = lambda _event, _attempt: TAKEN
    await each.until(lambda: delivery.pending == 0)
    assert set(each.sink.taken) == set(calls) - dead


async def test_one_that_hangs_holds_only_its_own_attempt(each: EachLife) -> None:
    each.sink.answer = lambda event, _: never if event.subject == "a" else TAKEN
    await each.begin()
    await each.commit(*"abcdef")
    await each.pass_time(1)
    assert each.sink.taken == list("bcdef")
    assert await each.store.done("crm", 0) == (2, 3, 4, 5, 6)
    await each.begin(restart=True)
    each.sink.answer = lambda _event, _attempt: TAKEN
    await each.pass_time(1)
    assert each.sink.times("b") == each.sink.times("b")[:1]


# --- the sink as a whole -----------------------------------------------------------------------------------------------


async def test_a_sink_that_is_down_is_probed_by_one_and_then_fed(each: EachLife) -> None:
    each.sink.answer = lambda _event, _attempt: later()
    delivery = await each.begin()
    await each.commit(*[f"e{number}" for number in range(100)])
    await each.until(lambda: delivery.health.state == "down")
    began = each.clock.now()
    await each.pass_time(3_600)
    tried = {subject for _, subject, _ in each.sink.asked}
    assert len(tried) <= 8, "fresh events wait while it is down"
    probes = [at for at, _, _ in each.sink.asked if at > began + 10]
    assert len(probes) < 3_600 / 300 + 40
    each.sink.answer = lambda _event, _attempt: TAKEN
    await each.until(lambda: delivery.pending == 0)
    assert each.clock.now() - began < 3_600 + 310, "those that had failed are due at once when it is back"
    assert sorted(each.sink.taken) == sorted(f"e{number}" for number in range(100))
    assert await dead_events(each.store) == []


async def test_a_probe_before_its_time_counts_as_attempt_and_uses_up_nothing(each: EachLife) -> None:
    each.pace(concurrency=8)
    each.sink.answer = lambda _event, _attempt: later()
    delivery = await each.begin()
    await each.commit(*"abcde")
    await each.until(lambda: delivery.health.state == "down")
    await each.pass_time(250)
    (first, *_) = await each.store.retries("crm", 0, [1])
    assert first.step == 2  # at once, and after five seconds
    assert first.attempts > 3  # and as a probe
    numbers = [attempt.number for _, subject, attempt in each.sink.asked if subject == "a"]
    assert numbers == list(range(1, first.attempts + 1))


async def test_a_sink_that_is_down_for_days_loses_only_what_was_tried(each: EachLife) -> None:
    each.sink.answer = lambda _event, _attempt: later()
    delivery = await each.begin()
    await each.commit(*[f"e{number}" for number in range(50)])
    for _ in range(80):
        await each.pass_time(3_600)
    dead = await dead_events(each.store)
    assert 5 <= len(dead) <= 12
    assert {letter.reason for letter in dead} == {"exhausted"}
    assert delivery.pending == 50 - len(dead)


async def test_one_that_wants_no_more_calls_is_disabled_over_restarts_until_it_is_enabled(each: EachLife) -> None:
    gone = later("gone", disable=True)
    each.sink.answer = lambda _event, _attempt: gone
    each.pace(concurrency=1)
    delivery = await each.begin()
    await each.commit(*"abc")
    await each.pass_time(5)
    assert delivery.health.state == "disabled"
    assert each.metrics.sink_enabled["crm"].value == 0
    each.sink.answer = lambda _event, _attempt: TAKEN
    delivery = await each.begin(restart=True)
    await each.commit("d")
    await each.pass_time(86_400)
    assert len(each.sink.asked) == 1
    assert (delivery.pending, delivery.health.state) == (4, "disabled")
    assert "disabled" in str(delivery.error)
    hanging = anyio.Event()

    async def slowly() -> Answered:
        await hanging.wait()
        return TAKEN

    each.sink.answer = lambda _event, _attempt: slowly
    await delivery.enable()
    await each.pass_time(60)
    assert [subject for _, subject, _ in each.sink.asked] == ["a", "a"], "it is probed with one event"
    hanging.set()
    await each.until(lambda: delivery.pending == 0)
    assert sorted(each.sink.taken) == ["a", "b", "c", "d"]
    assert each.metrics.sink_enabled["crm"].value == 1


async def test_it_can_be_disabled_and_enabled_by_hand_without_a_daemon(each: EachLife) -> None:
    await each.begin()
    await each.end()
    await switch(each.store, "crm", why="moving house", now=5.0)
    delivery = await each.begin(restart=True)
    await each.commit("a")
    await each.pass_time(100)
    assert each.sink.asked == []
    assert delivery.health.why == "moving house"
    await each.end()
    await switch(each.store, "crm", why=None, now=6.0)
    await each.begin(restart=True)
    await each.pass_time(1)
    assert each.sink.taken == ["a"]


async def test_what_is_kept_of_the_health_and_cannot_be_read_counts_as_up(each: EachLife) -> None:
    await each.store.put_meta("sink.crm.health", '{"state": "asleep"')
    delivery = await each.begin()
    await each.commit("a")
    await each.pass_time(1)
    assert (delivery.health.state, each.sink.taken) == ("up", ["a"])


@pytest.mark.parametrize("asked", [3_600.0, 50.0])
async def test_retry_after_is_waited_in_full_by_the_whole_sink(each: EachLife, asked: float) -> None:
    slow = later("rate_limited", slow_down=True, retry_after=asked)
    each.sink.answer = lambda _event, _attempt: slow
    each.pace(concurrency=1)
    await each.begin()
    await each.commit(*"abc")
    await each.pass_time(1)
    (first, *_) = each.sink.times("a")
    each.sink.answer = lambda _event, _attempt: TAKEN
    await each.pass_time(asked - 2)
    assert len(each.sink.asked) == 1
    await each.pass_time(3)
    assert sorted(each.sink.taken) == ["a", "b", "c"]
    assert min(at for at, _, _ in each.sink.asked[1:]) >= first + asked


async def test_retry_after_is_cut_to_the_longest(each: EachLife) -> None:
    each.pace(longest_retry_after=100.0)
    each.sink.answer = lambda _event, attempt: TAKEN if attempt.number > 1 else later(retry_after=1e6)
    await each.begin()
    await each.commit("a")
    await each.pass_time(99)
    assert each.sink.taken == []
    await each.pass_time(2)
    assert each.sink.taken == ["a"]


# --- limits ------------------------------------------------------------------------------------------------------------


async def test_concurrency_is_a_limit(each: EachLife) -> None:
    each.pace(concurrency=3)
    each.sink.answer = lambda _event, _attempt: never
    await each.begin()
    await each.commit(*"abcdefgh")
    await each.pass_time(100)
    assert (each.sink.most, len(each.sink.asked)) == (3, 3)


async def test_the_rate_is_kept_and_used(each: EachLife) -> None:
    each.pace(rate=2.0, concurrency=50)
    await each.begin()
    await each.commit(*[f"e{number}" for number in range(61)])
    begin = each.clock.time
    await each.until(lambda: len(each.sink.taken) == 61)
    assert 29.9 <= each.clock.time - begin <= 30.5
    times = [at for at, _, _ in each.sink.asked]
    assert all(later - earlier > 0.49 for earlier, later in pairwise(times))


async def test_the_bytes_under_way_are_a_limit_unless_a_single_event_is_larger(each: EachLife) -> None:
    each.pace(in_flight=20_000, concurrency=50)

    async def soon() -> Answered:
        await each.clock.sleep(1)
        return TAKEN

    each.sink.answer = lambda _event, _attempt: soon
    await each.begin()
    await each.commit(*[f"e{number}" for number in range(30)], size=4_000)
    await each.until(lambda: len(each.sink.taken) == 30)
    assert 10_000 < each.sink.most_bytes <= 20_000
    assert each.sink.most > 1
    await each.commit("large", size=90_000)
    await each.until(lambda: "large" in each.sink.taken)


async def test_shards_of_a_sink_share_its_limits_and_its_health(each: EachLife) -> None:
    each.pace(concurrency=3)
    each.sink.answer = lambda _event, _attempt: never
    each.shards(2)
    delivery = await each.begin()
    await each.commit(*"abcdefgh")
    await each.commit(*"ijklmnop", shard=1)
    await each.pass_time(10)
    assert each.sink.most == 3
    assert {call < "i" for _, call, _ in each.sink.asked} == {True, False}
    await delivery.disable("both")
    assert delivery.health.state == "disabled"


# --- what is not wanted ------------------------------------------------------------------------------------------------


async def test_what_is_not_wanted_is_passed_and_counted_what_is_for_others_only_passed(each: EachLife) -> None:
    each.sink.unwanted = {"b", "c"}
    await each.begin()
    await each.commit(*"abcd")
    await each.commit("e", only=("other",))
    await each.commit("f", only=("crm",))
    await each.until(lambda: each.position == each.shard.held.last)
    assert each.sink.taken == ["a", "d", "f"]
    assert each.metrics.deliveries["crm", "filtered", ""].value == 2
    assert each.metrics.deliveries["crm", "delivered", ""].value == 3


async def test_a_log_of_nothing_but_what_is_not_wanted_is_passed_fast(each: EachLife) -> None:
    await each.begin()
    for page in range(20):
        await each.commit(*[f"x{page}.{number}" for number in range(1000)], only=("other",))
    begin = each.clock.time
    await each.until(lambda: each.position == each.shard.held.last)
    assert each.clock.time - begin < 10


# --- a key's events in order -------------------------------------------------------------------------------------------


async def test_events_of_a_key_wait_for_each_other_and_others_go_on(each: EachLife) -> None:
    each.pace(ordered=True)
    each.sink.answer = lambda event, attempt: later() if event.subject == "k1" and attempt.number < 3 else TAKEN
    delivery = await each.begin()
    await each.commit("k1", "k2", key="k")
    await each.commit("x")
    await each.commit("k3", key="k")
    await each.pass_time(1)
    assert each.sink.taken == ["x"]
    assert each.position == each.shard.held.last
    await each.until(lambda: delivery.pending == 0)
    assert each.sink.taken == ["x", "k1", "k2", "k3"]
    assert await each.store.retrying() == {}


async def test_a_key_whose_first_one_is_dead_goes_on_with_the_next(each: EachLife) -> None:
    each.pace(ordered=True)
    each.sink.answer = lambda event, _: REFUSED if event.subject in {"k1", "k3"} else TAKEN
    delivery = await each.begin()
    await each.commit("k1", "k2", "k3", "k4", key="k")
    await each.until(lambda: delivery.pending == 0)
    assert each.sink.taken == ["k2", "k4"]


async def test_order_holds_over_a_restart_with_the_first_one_under_way(each: EachLife) -> None:
    """The later ones are kept in the store, the first one only in the log: it goes first all the same."""
    each.pace(ordered=True)
    each.sink.answer = lambda _event, _attempt: never
    await each.begin()
    await each.commit("k1", "k2", key="k")
    await each.commit("k3", key="k")
    await each.pass_time(5)
    assert len(await each.store.places("crm", 0)) == 2
    assert await each.store.position("crm", 0) == Position()
    each.sink.answer = lambda _event, _attempt: TAKEN
    delivery = await each.begin(restart=True)
    await each.until(lambda: delivery.pending == 0)
    assert each.sink.taken == ["k1", "k2", "k3"]


async def test_order_can_be_turned_on_and_off(each: EachLife) -> None:
    each.pace(ordered=True)
    each.sink.answer = lambda event, _: later() if event.subject == "k1" else TAKEN
    await each.begin()
    await each.commit("k1", "k2", "k3", key="k")
    await each.pass_time(2)
    assert each.sink.taken == []
    each.pace(ordered=False)
    await each.begin(restart=True)
    await each.pass_time(2)
    assert sorted(each.sink.taken) == ["k2", "k3"]
    each.pace(ordered=True)
    each.sink.answer = lambda _event, _attempt: TAKEN
    delivery = await each.begin(restart=True)
    await each.until(lambda: delivery.pending == 0)
    assert sorted(each.sink.taken) == ["k1", "k2", "k3"]


async def test_who_waits_for_room_has_what_was_taken_written_at_once(each: EachLife) -> None:
    delivery = await each.begin()
    await each.commit("a")
    began = each.clock.now()
    await each.drive()
    assert each.sink.taken == ["a"]
    assert each.position != each.shard.held.last, "outcomes gather for a moment"
    delivery.hurry()
    await each.drive()
    assert each.position == each.shard.held.last
    assert each.clock.now() == began


# --- many --------------------------------------------------------------------------------------------------------------


async def test_a_hundred_thousand_that_wait_take_no_memory(each: EachLife) -> None:
    each.sink.answer = lambda _event, _attempt: later()
    delivery = await each.begin()
    await each.commit(*"abcdefgh")
    await each.until(lambda: delivery.health.state == "down")
    for page in range(100):
        await each.commit(*[f"e{page}.{number}" for number in range(1000)])
    gc.collect()
    tracemalloc.start()
    await each.pass_time(1_000)
    gc.collect()
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert delivery.pending > 100_000
    assert now < 3 << 20
    assert peak < 12 << 20


async def test_no_more_than_so_many_are_kept_to_be_tried_again(each: EachLife) -> None:
    each.pace(concurrency=50)
    each.sink.answer = lambda event, _: TAKEN if int(event.subject[-1]) % 2 else later()
    delivery = await each.begin()
    for page in range(25):
        await each.commit(*[f"e{page}.{number}" for number in range(1000)])
    await each.pass_time(4)
    kept = len(await each.store.places("crm", 0))
    assert MOST <= kept <= MOST + 600
    assert delivery.pending > MOST + 1_000, "the log is not read on"
    before = len(set(each.sink.taken))
    each.sink.answer = lambda _event, _attempt: TAKEN
    await each.until(lambda: len(set(each.sink.taken)) > before + 500)


async def test_one_that_comes_and_goes_is_said_to_be_down_once_a_minute_and_in_the_end(each: EachLife) -> None:
    each.pace(probe=5.0)
    changes = each.metrics.sink_changes["crm", "down"]
    with structlog.testing.capture_logs() as lines:
        delivery = await each.begin()
        for page in range(20):
            each.sink.answer = lambda _event, _attempt: later()
            await each.commit(*[f"e{page}.{number}" for number in range(5)])
            await each.until(lambda: delivery.health.state == "down")
            assert (changes.value, each.metrics.sink_up["crm"].value) == (page + 1, 0)
            if page < 19:
                each.sink.answer = lambda _event, _attempt: TAKEN
                await each.until(lambda: delivery.pending == 0)
                assert each.metrics.sink_up["crm"].value == 1
                await each.pass_time(2)
        begun = delivery.health.since
        await each.pass_time(70)
    took = each.clock.now() - 1_700_000_000
    told = [line for line in lines if line["event"] in {"the sink is down", "the sink is up again"}]
    downs = [line for line in told if line["event"] == "the sink is down"]
    assert told[-1] is downs[-1], "how it stands in the end"
    assert 2 <= len(downs) <= took / 60 + 1
    assert sum(line.get("times", 1) for line in downs) == 20, "none is left out of the count"
    assert all(one["event"] != other["event"] for one, other in pairwise(told)), "in turn"
    assert delivery.health.since == begun


async def test_who_ends_does_not_wait_for_a_call_to_one_that_is_down(each: EachLife) -> None:
    each.sink.answer = lambda _event, _attempt: later()
    delivery = await each.begin()
    await each.commit(*[f"e{number}" for number in range(20)])
    await each.until(lambda: delivery.health.state == "down")
    each.sink.answer = lambda _event, _attempt: never
    await each.until(lambda: each.sink.running > 0)
    ended = asyncio.create_task(delivery.caught_up())
    patient = asyncio.create_task(delivery.caught_up(60.0))
    await each.pass_time(1)
    assert (ended.done(), patient.done(), each.sink.running > 0) == (True, False, True)
    patient.cancel()
    each.sink.answer = lambda _event, _attempt: TAKEN
    await each.begin(restart=True)
    await each.until(lambda: len(each.sink.taken) == 20)


# --- too much waits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["down", "disabled"])
async def test_over_the_limit_the_oldest_become_dead_letters_and_the_rest_is_delivered(
    each: EachLife, state: str
) -> None:
    answer = later() if state == "down" else later("gone", disable=True)
    each.sink.answer = lambda _event, _attempt: answer
    delivery = await each.begin(max_pending="1MiB")
    await each.commit(*[f"e{number}" for number in range(10)], size=4_000)
    await each.until(lambda: delivery.health.state == state)
    for page in range(1, 40):
        await each.commit(*[f"e{page * 10 + number}" for number in range(10)], size=4_000)
    await each.pass_time(120)
    dead = await dead_events(each.store, "crm")
    assert {letter.reason for letter in dead} == {"backlog"}
    assert [letter.seq for letter in sorted(dead, key=lambda one: one.seq)] == list(range(1, len(dead) + 1))
    size = len(dead[0].event.body)
    left = 400 - len(dead)
    assert 0.95 * (1 << 20) - 12 * size < left * size <= (1 << 20) + 2 * size
    assert each.metrics.delivery_dead_letters["crm", "backlog"].value == len(dead)
    assert not each.shard.paused
    each.sink.answer = lambda _event, _attempt: TAKEN
    await delivery.enable()
    await each.until(lambda: delivery.pending == 0)
    assert len(each.sink.taken) == left


class BusyLoop(Turns):
    """Others take much of every lap."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock.mono)
        self._clock = clock

    async def begin(self, spent: Spent) -> None:
        await self._clock.sleep(0.06)
        await super().begin(spent)


async def test_what_is_too_much_is_dropped_many_in_a_turn_said_at_once_and_the_sink_is_probed_meanwhile(
    each: EachLife,
) -> None:
    each.pace(probe=5.0)
    each.sink.answer = lambda _event, _attempt: later()
    for page in range(40):
        await each.commit(*[f"e{page}.{number}" for number in range(100)], size=1_000)
    begun = each.clock.now()
    with structlog.testing.capture_logs() as lines:
        delivery = await each.begin(max_pending="200KiB")
        delivery.gate.turns = BusyLoop(each.clock)
        await each.pass_time(2.5)
        assert len([line for line in lines if line["event"] == DROPPED]) == 1, "as it begins"
        await each.pass_time(10)
        assert 3_700 < len(await dead_events(each.store)) < 4_000
        for page in range(60):
            await each.commit(*[f"f{page}.{number}" for number in range(100)], size=1_000)
            await each.pass_time(1)
    tried = sorted(at - begun for at, _, _ in each.sink.asked)
    assert max(after - before for before, after in pairwise(tried)) < 7, "it looks whether it is back"
    said = [line for line in lines if line["event"] == DROPPED]
    assert len(said) == 2, "once a minute"
    assert {line["log_level"] for line in said} == {"error"}


@pytest.mark.parametrize("down", [True, False])
async def test_what_another_sink_gets_again_costs_this_one_nothing(each: EachLife, down: bool) -> None:
    each.sink.answer = lambda _event, _attempt: later() if down else TAKEN
    delivery = await each.begin(max_pending="1MiB")
    own = [f"e{number}" for number in range(20)]
    await each.commit(*own, size=4_000)
    await each.pass_time(10)
    for page in range(40):
        await each.commit(*[f"r{page}-{number}" for number in range(10)], size=4_000, only=("other",))
    await each.pass_time(120)
    assert await dead_events(each.store, "crm") == []
    assert each.metrics.pending_events["crm"].value == (len(own) if down else 0)
    each.sink.answer = lambda _event, _attempt: TAKEN
    await each.until(lambda: delivery.pending == 0)
    assert set(each.sink.taken) == set(own)


async def test_what_waits_is_shown_with_what_is_kept(each: EachLife) -> None:
    each.sink.answer = lambda event, _: TAKEN if event.subject == "b" else later(retry_after=9_000)
    await each.begin()
    began = each.clock.now()
    await each.commit("a", "b")
    await each.pass_time(100)
    await each.commit("c")
    await each.pass_time(100)
    assert each.metrics.pending_events["crm"].value == 2
    assert each.metrics.oldest_pending["crm"].value == began
