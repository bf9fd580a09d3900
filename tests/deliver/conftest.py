"""A life of one process with a store in memory and a model sink."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from delivery_events import call_event, seen_key
from delivery_model import Crashed, Fuse, ModelSink, ModelTopics, quiet, wake_next
from each_life import EachLife
from fake_clock import FakeClock

from poller.deliver import Delivery
from poller.metrics import Metrics
from poller.model import PageCommit
from poller.options import SinkOptions
from poller.route import Route
from poller.segment import pack
from poller.shard import Shard
from poller.stores.memory import MemoryStore


class Life:
    """`begin` starts a delivery; `drive` lets it run until it waits."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore()
        self.topics = ModelTopics(self.clock)
        self.metrics = Metrics()
        self.fuse = Fuse()
        self.sink = ModelSink("kafka", self.topics, self.fuse)
        self.shard = Shard(self.store, 0)
        self.task: asyncio.Task[None] | None = None
        self.delivery: Delivery | None = None
        self.waits: list[float] = []

    async def commit(self, *calls: str, at: float | None = None) -> None:
        """A page of new calls, as the way in commits it."""
        if not self.shard.held.epoch:
            await self.shard.believe()
        events, seen = [], []
        for seq, call in enumerate(calls, self.shard.held.last.seq + 1):
            events.append(call_event(call, seq))
            assert events[-1].seen is not None
            seen.append((events[-1].seen, seq))
        segment = pack(events, self.shard.held.last, self.clock.now() if at is None else at)
        self.shard.held = await self.store.commit_page(self.shard.held, PageCommit(segment=segment, seen=seen))
        self.shard.tell()

    async def poll(self, *calls: str) -> None:
        """As the way in does it: only what is not known yet is committed."""
        fresh = await self.store.look_up(None, [seen_key(call) for call in calls]) if calls else {}
        if fresh:
            await self.commit(*[calls[index] for index in sorted(fresh)])

    async def begin(
        self,
        *,
        restart: bool = False,
        others: tuple[str, ...] = (),
        rewind: Any = None,
        told: tuple[str, ...] = (),
        unsettled: tuple[str, ...] = (),
        **options: Any,
    ) -> None:
        await self.end()
        if restart:
            self.shard = Shard(self.store, 0)
        options = {"start_from": "earliest"} | options
        chosen, rnd = SinkOptions.model_validate(options), random.Random(1)
        route = Route(self.shard, self.sink, chosen, self.clock, rnd, self.metrics, others, rewind, told, unsettled)
        self.delivery = Delivery(route)
        self.task = asyncio.create_task(self.delivery.run())
        await self.drive()

    async def drive(self, *, sleeps: int = 50) -> None:
        for _ in range(sleeps):
            await quiet(self.fuse)
            if not self.clock.sleeping or self.task is None or self.task.done():
                break
            self.waits.append(self.clock._sleepers[0][0] - self.clock.time)
            wake_next(self.clock)

    async def end(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with suppress(asyncio.CancelledError, Crashed, Exception):
                await self.task
        self.task = None

    @property
    def published(self) -> list[str]:
        return [event.subject for event in self.topics.events]


@pytest.fixture
async def life() -> AsyncIterator[Life]:
    life = Life()
    yield life
    await life.end()


Made = Callable[[], Awaitable[None]]


@pytest.fixture
async def each() -> AsyncIterator[EachLife]:
    """A life of one process with a sink that takes events one by one."""
    life = EachLife()
    yield life
    await life.end()
