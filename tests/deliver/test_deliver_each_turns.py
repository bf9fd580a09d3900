"""Sinks that take events one by one leave room for everybody else, and get no more than one another.

Nothing here depends on time: what is counted is laps of the event loop, and who came in between.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from delivery_events import call_event
from each_life import PACE, TAKEN
from fake_clock import FakeClock

from poller.clock import SystemClock
from poller.each import Answered, Attempt
from poller.kept import Attempted
from poller.metrics import Metrics
from poller.model import Event, Held, PageCommit
from poller.one_by_one.delivery import EachDelivery
from poller.one_by_one.outlet import Outlet
from poller.one_by_one.turns import Turns
from poller.options import SinkOptions
from poller.segment import pack
from poller.shard import Shard
from poller.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio

SINKS, EVENTS = 30, 40


def free(_seconds: float) -> None:
    """Nobody counts."""


class Laps:
    """Counts the laps of the event loop, as anybody else in the process has them."""

    def __init__(self) -> None:
        self.now = 0

    async def run(self) -> None:
        while True:
            self.now += 1
            await asyncio.sleep(0)


@asynccontextmanager
async def counted() -> AsyncIterator[Laps]:
    laps = Laps()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(laps.run)
        await asyncio.sleep(0)
        yield laps
        tasks.cancel_scope.cancel()


async def test_one_begins_in_a_lap_however_many_want_to_and_all_get_the_same() -> None:
    turns, begun, got = Turns(FakeClock().mono), Counter[int](), Counter[int]()
    async with counted() as laps:

        async def eager(who: int) -> None:
            while laps.now < 1_000:
                await turns.begin(free)
                begun[laps.now] += 1
                got[who] += 1

        async with anyio.create_task_group() as tasks:
            for who in range(SINKS):
                tasks.start_soon(eager, who)
    assert max(begun.values()) == 1
    assert begun.total() > 300, "and nothing is held back for longer than that"
    assert max(got.values()) - min(got.values()) <= 1


async def test_one_at_a_time_reads_and_one_writes_to_a_shard_in_the_order_in_which_they_came() -> None:
    turns, inside, most, order = Turns(FakeClock().mono), Counter[str](), Counter[str](), list[int]()

    async def work(what: str, who: int) -> None:
        turn = turns.reading(free) if what == "read" else turns.writing(int(what), free)
        async with turn:
            inside[what] += 1
            most[what] = max(most[what], inside[what])
            order.append(who)
            await asyncio.sleep(0)
            inside[what] -= 1

    async with anyio.create_task_group() as tasks:
        for who in range(9):
            tasks.start_soon(work, ("read", "0", "1")[who % 3], who)
    assert most == {"read": 1, "0": 1, "1": 1}
    assert [who for who in order if who % 3 == 0] == [0, 3, 6]
    assert order[:3] == [0, 1, 2], "shards do not wait for one another, nor for what is read"


async def test_what_was_waited_is_told() -> None:
    clock, told = FakeClock(), list[float]()
    turns = Turns(clock.mono)

    async def second() -> None:
        async with turns.reading(told.append):
            pass

    async with anyio.create_task_group() as tasks, turns.reading(told.append):
        tasks.start_soon(second)
        await clock.advance(3)
    assert told == [0, 3]


class Hook:
    """Takes everything at once."""

    def __init__(self, name: str, laps: Laps) -> None:
        self.name = name
        self.pace = PACE
        self.begun: list[int] = []
        self._laps = laps

    def wants(self, event: Event) -> bool:  # noqa: ARG002 the protocol's
        return True

    async def attempt(self, event: Event, attempt: Attempt) -> Answered:  # noqa: ARG002 the protocol's
        self.begun.append(self._laps.now)
        return TAKEN

    async def close(self) -> None:
        pass


class Busy(MemoryStore):
    """Needs a while for everything that deliveries write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.noted: dict[str, int] = {}

    async def attempted(self, held: Held, sink: str, attempted: Attempted) -> None:
        self.writes += 1
        self.noted[sink] = attempted.position.seq
        for _ in range(5):
            await asyncio.sleep(0)
        await super().attempted(held, sink, attempted)


async def test_polling_waits_for_one_of_many_that_catch_up() -> None:
    store, clock, metrics = Busy(), SystemClock(), Metrics()
    shard = Shard(store, 0)
    await shard.believe()
    turns, options = Turns(clock.mono), SinkOptions.model_validate({"start_from": "earliest"})
    waited, deliveries = 0, list[EachDelivery]()
    async with counted() as laps, anyio.create_task_group() as tasks:
        hooks = [Hook(f"crm{number}", laps) for number in range(SINKS)]
        for hook in hooks:
            outlet = Outlet(store, hook, options, clock, random.Random(1), metrics, turns)
            deliveries.append(EachDelivery(outlet, [shard]))
        for delivery in deliveries:
            await tasks.start(delivery.run)
        events = [call_event(f"c{seq}", seq) for seq in range(1, EVENTS + 1)]
        shard.held = await store.commit_page(shard.held, PageCommit(segment=pack(events, shard.held.last, clock.now())))
        shard.tell()
        with anyio.fail_after(120):
            while list(store.noted.values()) != [EVENTS] * SINKS or shard.lock.locked():
                before = store.writes
                async with shard.lock:
                    waited = max(waited, store.writes - before)
                await asyncio.sleep(0)
        tasks.cancel_scope.cancel()
    assert waited <= 1, "nobody else came before it"
    assert set(Counter(lap for hook in hooks for lap in hook.begun).values()) == {1}
