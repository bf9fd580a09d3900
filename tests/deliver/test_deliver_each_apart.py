"""One by one: what must not reach further than it has to: a defect, a slow list, a clock that is moved, a sink that comes and goes."""

from typing import Any

import anyio
import pytest
import structlog
from each_life import TAKEN, EachLife, later
from stores_content import dead_events

from poller.each import Answered
from poller.kept import Attempted
from poller.model import Held, Position
from poller.patience import FAILURES
from poller.shard import Shard
from poller.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def said() -> Any:
    with structlog.testing.capture_logs() as lines:
        yield lines


async def test_a_defect_is_said_and_tried_again_and_ends_nobody(each: EachLife, said: Any) -> None:
    async def defect() -> Answered:
        raise TypeError("nobody thought of this")

    each.sink.answer = lambda _event, attempt: TAKEN if attempt.number > 1 else defect
    delivery = await each.begin()
    await each.commit("a", "b")
    await each.drive()
    assert not each.ended
    await each.until(lambda: delivery.pending == 0, longest=10)
    assert sorted(each.sink.taken) == ["a", "b"]
    assert [line["log_level"] for line in said if line["event"] == "defect"] == ["error"] * 2


async def test_a_sink_that_fails_by_a_defect_with_every_event_is_down(each: EachLife) -> None:
    async def defect() -> Answered:
        raise KeyError("x")

    each.sink.answer = lambda _event, _attempt: defect
    delivery = await each.begin()
    await each.commit(*"abcdefgh")
    await each.until(lambda: delivery.health.state == "down", longest=10)
    assert delivery.health.why == "a defect of this program: KeyError"
    await each.pass_time(1)
    assert {retry.reason for retry in await each.store.retries("crm", 0, range(9))} == {"defect"}


class Busy(MemoryStore):
    """Answers no question about positions while somebody reads something long."""

    def __init__(self) -> None:
        super().__init__()
        self.free = anyio.Event()
        self.free.set()
        self.asked = 0

    async def position(self, sink: str, shard: int) -> Position | None:
        self.asked += not self.free.is_set()
        await self.free.wait()
        return await super().position(sink, shard)


async def test_polling_does_not_wait_while_the_store_reads_for_somebody_else(each: EachLife) -> None:
    each.store = store = Busy()
    each.shard = Shard(store, 0)
    each.sink.answer = lambda event, _attempt: later() if event.subject == "a" else TAKEN
    await each.begin()
    await each.commit("a")
    await each.pass_time(1)
    store.free = anyio.Event()
    await each.commit("b")
    await each.pass_time(1)
    assert store.asked
    with anyio.fail_after(20):
        async with each.shard.lock:
            pass
    store.free.set()
    await each.until(lambda: each.position == each.shard.held.last, longest=1)


async def test_a_sink_that_comes_and_goes_uses_up_no_schedule(each: EachLife) -> None:
    """It takes one event whenever it is tried again, and fails with the others."""
    each.pace(concurrency=16)
    each.sink.answer = lambda _event, _attempt: later()
    delivery = await each.begin()
    await each.commit(*[f"e{number}" for number in range(40)])
    began = each.clock.now()
    for _ in range(12):
        await each.until(lambda: delivery.health.state == "down")
        one = iter([TAKEN])
        each.sink.answer = lambda _event, _attempt, one=one: next(one, later())  # type: ignore[misc]
        taken = len(each.sink.taken)
        await each.until(lambda taken=taken: len(each.sink.taken) > taken)  # type: ignore[misc]
        await each.pass_time(20)
    assert each.clock.now() - began < 2_000
    assert await dead_events(each.store) == []
    assert max(retry.step for retry in await each.store.retries("crm", 0, range(50))) <= 3, "5 s, 5 m, 30 m"


async def test_what_is_put_off_is_tried_by_its_own_schedule_and_released_again(each: EachLife) -> None:
    each.pace(concurrency=64)
    each.sink.answer = lambda _event, _attempt: later()
    delivery = await each.begin()
    await each.commit(*[f"e{number}" for number in range(60)])
    await each.pass_time(20_000)
    each.pace(concurrency=1)
    delivery = await each.begin(restart=True)
    one = iter([TAKEN])
    each.sink.answer = lambda _event, _attempt: next(one, later())
    await each.until(lambda: len(each.sink.taken) == 1)
    back = each.clock.now()
    await each.pass_time(4)
    assert delivery.health.state == "down"
    assert len([at for at, _, _ in each.sink.asked if at >= back]) == 1 + FAILURES, (
        "enough to see that it is away again"
    )
    each.sink.answer = lambda _event, _attempt: TAKEN
    await each.until(lambda: delivery.pending == 0, longest=310)
    assert len(each.sink.taken) == 60


class Slow(MemoryStore):
    """Takes its time to write outcomes, while it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.free = anyio.Event()
        self.free.set()

    async def attempted(self, held: Held, sink: str, attempted: Attempted) -> None:
        await self.free.wait()
        await super().attempted(held, sink, attempted)


async def test_what_fails_and_is_being_written_when_the_sink_is_back_is_due_at_once(each: EachLife) -> None:
    each.store = store = Slow()
    each.shard = Shard(store, 0)
    each.pace(concurrency=8)
    held = anyio.Event()

    async def at_last() -> Answered:
        await held.wait()
        return TAKEN

    each.sink.answer = lambda event, _attempt: at_last if event.subject == "h" else later()
    delivery = await each.begin()
    store.free = anyio.Event()
    await each.commit(*"habcdefg")
    await each.pass_time(1)
    states = [delivery.health.state]
    began = each.clock.now()
    each.sink.answer = lambda _event, _attempt: TAKEN
    held.set()
    await each.drive()
    assert [*states, delivery.health.state] == ["down", "up"]
    store.free.set()
    await each.until(lambda: delivery.pending == 0)
    assert each.clock.now() - began < 2, "not after five seconds"


class Fought(MemoryStore):
    """Somebody else takes the shard over whenever we have."""

    def __init__(self) -> None:
        super().__init__()
        self.others = True

    async def attempted(self, held: Held, sink: str, attempted: Attempted) -> None:
        if self.others and attempted.later:
            await self.hold(held.shard)
        await super().attempted(held, sink, attempted)


async def test_two_that_fight_for_a_store_send_no_storm(each: EachLife) -> None:
    each.store = store = Fought()
    each.shard = Shard(store, 0)
    each.sink.answer = lambda _event, _attempt: later()
    await each.commit("a")
    delivery = await each.begin()
    await each.pass_time(3_600)
    assert len(each.sink.asked) < 100
    store.others = False
    each.sink.answer = lambda _event, _attempt: TAKEN
    await each.until(lambda: delivery.pending == 0, longest=100)
    assert len(each.sink.ids["a"]) == 1


@pytest.mark.parametrize("hours", [-5, 5, -24 * 30])
async def test_a_clock_that_is_moved_delays_nothing(each: EachLife, hours: int) -> None:
    each.sink.answer = lambda _event, attempt: TAKEN if attempt.number > 1 else later()
    delivery = await each.begin()
    await each.commit("a")
    await each.pass_time(1)
    began = each.clock.mono()
    each.clock.jump(hours * 3_600)
    await each.until(lambda: delivery.pending == 0)
    assert each.clock.mono() - began < 61


async def test_a_clock_that_is_set_right_delays_no_probe(each: EachLife) -> None:
    each.sink.answer = lambda _event, _attempt: later(retry_after=600.0)
    delivery = await each.begin()
    await each.commit(*"abcdefgh")
    await each.pass_time(10)
    each.clock.jump(72 * 3_600)
    await each.pass_time(700)
    each.clock.jump(-72 * 3_600)
    each.sink.answer = lambda _event, _attempt: TAKEN
    began = each.clock.mono()
    await each.until(lambda: delivery.pending == 0)
    assert each.clock.mono() - began < 700
