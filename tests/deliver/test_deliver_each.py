"""Events go one by one: delivered, tried again, dead."""

from collections.abc import AsyncIterator
from itertools import accumulate

import pytest
from each_life import REFUSED, TAKEN, EachLife, later, never

pytestmark = pytest.mark.anyio


@pytest.fixture
async def each() -> AsyncIterator[EachLife]:
    life = EachLife()
    yield life
    await life.end()


async def test_everything_is_delivered_once_and_the_position_follows(each: EachLife) -> None:
    delivery = await each.begin()
    await each.commit("a", "b", "c")
    await each.commit("d")
    await each.until(lambda: delivery.position == each.shard.held.last)
    assert each.sink.taken == ["a", "b", "c", "d"]
    assert [attempt.number for _, _, attempt in each.sink.asked] == [1] * 4
    assert delivery.pending == 0


async def test_an_event_that_fails_for_days_follows_its_schedule_to_a_dead_letter(each: EachLife) -> None:
    each.sink.answer = lambda _event, _attempt: later()
    delivery = await each.begin()
    await each.commit("a")
    began = each.clock.now()
    while not await each.store.dead_events():
        await each.pass_time(600)
    times = [round(at - began) for at in each.sink.times("a")]
    expected = [round(at) for at in accumulate(each.sink.pace.schedule, initial=0.0)]
    assert len(times) == 10
    assert all(abs(one - other) < 3 for one, other in zip(times, expected, strict=True)), times
    (letter,) = await each.store.dead_events()
    assert (letter.reason, letter.error, letter.seq) == ("exhausted", "said server_error", 1)
    assert delivery.pending == 0
    firsts = {attempt.first for _, _, attempt in each.sink.asked}
    assert firsts == {began}


async def test_one_that_is_refused_is_dead_and_costs_the_others_nothing(each: EachLife) -> None:
    each.sink.answer = lambda event, _: REFUSED if event.subject == "b" else TAKEN
    delivery = await each.begin()
    await each.commit("a", "b", "c")
    await each.until(lambda: delivery.position == each.shard.held.last)
    assert each.sink.taken == ["a", "c"]
    assert [dead.reason for dead in await each.store.dead_events()] == ["client_error"]


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
