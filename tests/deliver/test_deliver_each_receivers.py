"""One by one: receivers that are unwell in their own ways: what they cost in attempts, in delay, and in lines of the log."""

import math
import random
from collections import Counter
from collections.abc import Callable

import pytest
import structlog
from each_life import TAKEN, Answer, EachLife, later
from msgspec import Struct
from stores_content import dead_events

from poller.each import Answered, Attempt
from poller.model import Event
from poller.patience import BOUGHT, FAILURES

pytestmark = pytest.mark.anyio

SECONDS = 1_800
PAGE = 20
"""Seconds from one page of new calls to the next; one call per second."""
Receiver = Callable[[Event, Attempt], Answer]


class Figures(Struct, kw_only=True):
    """What came of half an hour."""

    attempts: float
    """Per event that was tried at all."""
    most: int
    """Of one event."""
    p99: float
    """Seconds from commit to the attempt that was taken, of all events; infinity where one in a hundred was not taken."""
    lines: int
    downs: int
    """How often it went down, as the metrics say."""
    tried: int
    """Different events."""


async def half_an_hour(each: EachLife, receiver: Receiver, then: float = 60.0) -> Figures:
    """New calls, page after page; then nothing new for so many seconds."""
    each.pace(jitter=0.2)
    each.sink.answer = receiver
    committed: dict[str, float] = {}
    with structlog.testing.capture_logs() as lines:
        await each.begin()
        for page in range(SECONDS // PAGE):
            calls = [f"{page}.{number}" for number in range(PAGE)]
            committed |= dict.fromkeys(calls, each.clock.now())
            await each.commit(*calls)
            await each.pass_time(PAGE)
        said = len(lines)
        await each.pass_time(then)
    tried = Counter(call for _, call, _ in each.sink.asked)
    last = {call: at for at, call, _ in each.sink.asked}
    waited = sorted(last[call] - committed[call] for call in set(each.sink.taken))
    index = int(len(committed) * 0.99)
    return Figures(
        attempts=tried.total() / max(1, len(tried)), most=max(tried.values()),
        p99=waited[index] if index < len(waited) else math.inf, lines=said,
        downs=int(each.metrics.sink_changes["crm", "down"].value or 0), tried=len(tried),
    )  # fmt: skip


def second_try(_event: Event, attempt: Attempt) -> Answered:
    """Fails with everything that is new."""
    return later() if attempt.number == 1 else TAKEN


def by_chance(part: float) -> Receiver:
    rnd = random.Random(7)
    return lambda _event, _attempt: later() if rnd.random() < part else TAKEN


async def test_one_that_is_well(each: EachLife) -> None:
    found = await half_an_hour(each, lambda _event, _attempt: TAKEN)
    assert (found.attempts, found.lines, found.downs) == (1, 0, 0)
    assert found.p99 < 1


async def test_one_that_always_fails_is_tried_with_a_few_events_and_said_once(each: EachLife) -> None:
    found = await half_an_hour(each, lambda _event, _attempt: later())
    assert (found.lines, found.downs) == (1, 1)
    assert found.tried < FAILURES + each.sink.pace.concurrency
    assert {one.step for one in await each.store.retries("crm", 0, range(20))} <= {3, 4}, (
        "after 0 s, 5 s, 5 m, about 30 m; no probe counts"
    )


async def test_one_that_takes_each_at_its_second_try_keeps_its_full_rate(each: EachLife) -> None:
    found = await half_an_hour(each, second_try)
    assert found.attempts == 2
    assert found.p99 < 10, "the first wait of the schedule, and its jitter"
    assert found.downs <= 3, "until that was learned"
    assert found.lines <= 2


async def test_one_that_takes_each_at_its_second_try_and_gets_a_thousand_at_once(each: EachLife) -> None:
    each.sink.answer = second_try
    await each.begin()
    await each.commit(*[f"e{number}" for number in range(1_000)])
    began = each.clock.now()
    await each.until(lambda: len(each.sink.taken) == 1_000)
    assert each.clock.now() - began < 60
    assert len(each.sink.asked) == 2_000


async def test_one_that_comes_and_goes_each_minute_uses_up_no_schedule_and_is_said_once_a_minute(
    each: EachLife,
) -> None:
    found = await half_an_hour(each, lambda _event, _attempt: TAKEN if each.clock.now() % 60 < 30 else later(), 300)
    assert found.attempts < 1.5
    assert found.p99 < 240
    assert await dead_events(each.store) == []
    assert found.downs > 20, "the metrics say each"
    assert found.lines <= 2 * SECONDS / 60 + 2


async def test_one_that_comes_and_goes_each_few_seconds_is_said_once_a_minute(each: EachLife) -> None:
    found = await half_an_hour(each, lambda _event, _attempt: TAKEN if each.clock.now() % 7 < 2 else later(), 600)
    assert found.downs > 10
    assert found.lines <= 2 * SECONDS / 60 + 2
    assert await dead_events(each.store) == []


async def test_one_that_is_slow_is_tried_once_with_each(each: EachLife) -> None:
    async def slowly() -> Answered:
        await each.clock.sleep(3.5)
        return TAKEN

    found = await half_an_hour(each, lambda _event, _attempt: slowly)
    assert (found.attempts, found.downs, found.lines) == (1, 0, 0)
    assert found.p99 <= PAGE + 3.5


async def test_one_that_fails_with_one_in_twenty_is_never_down(each: EachLife) -> None:
    found = await half_an_hour(each, by_chance(0.05), 600)
    assert (found.downs, found.lines) == (0, 0)
    assert found.attempts < 1.1
    assert found.p99 < 10


async def test_one_that_fails_with_every_other_one_is_hardly_ever_down_and_each_follows_its_schedule(
    each: EachLife,
) -> None:
    found = await half_an_hour(each, by_chance(0.5), 3 * 86_400)
    assert found.downs <= 12, "99 when five are always enough"
    assert found.lines <= 6
    assert 1.8 < found.attempts < 2.2
    assert found.p99 < 86_400, "seven tries"
    assert len(await dead_events(each.store)) < 10, "one in a thousand fails with all ten"


async def test_one_that_took_each_at_its_second_try_and_is_away_now_is_tried_with_no_more_than_it_made_good(
    each: EachLife,
) -> None:
    each.sink.answer = second_try
    delivery = await each.begin()
    for page in range(20):
        await each.commit(*[f"{page}.{number}" for number in range(20)])
        await each.pass_time(10)
    good = len(each.sink.taken)
    each.sink.answer = lambda _event, _attempt: later()
    for page in range(200):
        await each.commit(*[f"away {page}.{number}" for number in range(20)])
        await each.pass_time(10)
    assert delivery.health.state == "down"
    exposed = len(await each.store.places("crm", 0))
    assert exposed < FAILURES + good * BOUGHT + each.sink.pace.concurrency
    each.sink.answer = second_try
    await each.until(lambda: delivery.pending == 0, longest=1_200)
    assert await dead_events(each.store) == []
    *others, probe = sorted(Counter(call for _, call, _ in each.sink.asked).values())
    assert max(others) <= 6 < probe, "by the schedule of half an hour, and as it was back"
