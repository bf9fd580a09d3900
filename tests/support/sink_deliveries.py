"""A log delivered to a sink of any kind through the real way out, over a store in memory."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from poller.clock import SystemClock
from poller.deliver import Delivery
from poller.metrics import Metrics
from poller.model import PageCommit, Segment
from poller.one_by_one.delivery import EachDelivery
from poller.one_by_one.outlet import Outlet
from poller.one_by_one.turns import Turns
from poller.options import SinkOptions
from poller.route import Route
from poller.segment import end, unpack
from poller.shard import Shard
from poller.stores.memory import MemoryStore

PATIENCE = 300.0
"""Seconds that a slow machine may take for what takes a fast one a moment."""


@asynccontextmanager
async def delivering(sink: Any, config: SinkOptions, log: Sequence[Segment]) -> AsyncIterator[Delivery | EachDelivery]:
    """Runs while the block does."""
    store = MemoryStore()
    shard = Shard(store, 0)
    async with shard.lock:
        await shard.believe()
        for segment in log:
            seen = [(event.seen, 0) for event in unpack(segment) if event.seen is not None]
            shard.held = await store.commit_page(shard.held, PageCommit(segment=segment, seen=seen))
    clock, rnd, metrics = SystemClock(), random.Random(1), Metrics()
    if hasattr(sink, "lane"):
        delivery: Delivery | EachDelivery = Delivery(Route(shard, sink, config, clock, rnd, metrics))
    else:
        delivery = EachDelivery(Outlet(store, sink, config, clock, rnd, metrics, Turns(clock.mono)), [shard])
    async with anyio.create_task_group() as tasks:
        await tasks.start(delivery.run)
        yield delivery
        tasks.cancel_scope.cancel()


async def delivered(delivery: Delivery | EachDelivery, log: Sequence[Segment]) -> None:
    """Waits until all of it is delivered, what is tried again included."""
    with anyio.fail_after(PATIENCE):
        await delivery.caught_up(PATIENCE)
    position = delivery.positions[0] if isinstance(delivery, EachDelivery) else delivery.position
    assert position == end(log[-1])


async def deliver(sink: Any, config: SinkOptions, log: Sequence[Segment]) -> None:
    """From nothing to everything."""
    async with delivering(sink, config, log) as delivery:
        await delivered(delivery, log)
