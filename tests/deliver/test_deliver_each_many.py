"""A hundred sinks of which thirty hang: the others get everything, and memory stays small."""

import asyncio
import gc
import random
import tracemalloc

import anyio
import pytest
from delivery_events import call_event
from each_life import PACE, TAKEN
from msgspec import structs

from poller.clock import SystemClock
from poller.each import Answered, Attempt
from poller.metrics import Metrics
from poller.model import Event, PageCommit
from poller.one_by_one.delivery import EachDelivery
from poller.one_by_one.outlet import Outlet
from poller.one_by_one.turns import Turns
from poller.options import SinkOptions
from poller.segment import pack
from poller.shard import Shard
from poller.stores.memory import MemoryStore

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SINKS, HANGING = 100, 30
EVENTS, EACH_PAGE = 100, 100


class Hook:
    """Takes everything, or nothing ever."""

    def __init__(self, name: str, *, hangs: bool) -> None:
        self.name = name
        self.pace = structs.replace(PACE, concurrency=4)
        self.hangs = hangs
        self.taken = 0
        self.tried = 0

    def wants(self, event: Event) -> bool:  # noqa: ARG002 the protocol's
        return True

    async def attempt(self, event: Event, attempt: Attempt) -> Answered:  # noqa: ARG002 the protocol's
        self.tried += 1
        await (anyio.sleep_forever() if self.hangs else asyncio.sleep(0))
        self.taken += 1
        return TAKEN

    async def close(self) -> None:
        pass


async def test_sinks_that_hang_cost_the_others_nothing() -> None:
    shard = Shard(MemoryStore(), 0)
    await shard.believe()
    for first in range(1, EVENTS, EACH_PAGE):
        events = [call_event(f"c{seq}", seq, size=1_000) for seq in range(first, first + EACH_PAGE)]
        page = PageCommit(segment=pack(events, shard.held.last, 1.7e9))
        shard.held = await shard.store.commit_page(shard.held, page)
    hooks = [Hook(f"crm{number}", hangs=number < HANGING) for number in range(SINKS)]
    options, metrics = SinkOptions.model_validate({"start_from": "earliest"}), Metrics()
    clock = SystemClock()
    turns = Turns(clock.mono)
    gc.collect()
    tracemalloc.start()
    async with anyio.create_task_group() as tasks:
        well = []
        for hook in hooks:
            outlet = Outlet(shard.store, hook, options, clock, random.Random(1), metrics, turns)
            delivery = EachDelivery(outlet, [shard])
            await tasks.start(delivery.run)
            if not hook.hangs:
                well.append(delivery)
        with anyio.fail_after(300):
            for delivery in well:
                await delivery.caught_up()
        gc.collect()
        now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        tasks.cancel_scope.cancel()
    assert {hook.taken for hook in hooks if not hook.hangs} == {EVENTS}
    assert {hook.tried for hook in hooks if hook.hangs} == {4}
    print(f"{now >> 20} MiB at the end, {peak >> 20} MiB at most")
    assert now < HANGING << 20, "a sink that hangs holds less than a MiB"
    assert peak < 80 << 20
