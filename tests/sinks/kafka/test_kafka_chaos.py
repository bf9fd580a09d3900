"""Exactly once against a real broker that is killed, a producer that hangs, and brokers that are not there."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from aiokafka import AIOKafkaProducer
from delivery_events import call_event, call_id, segments
from kafka_broker import ids, kafka_config, read_all

from poller.clock import SystemClock
from poller.deliver import Delivery
from poller.errors import SinkFault
from poller.metrics import Metrics
from poller.model import PageCommit
from poller.route import Route
from poller.segment import pack
from poller.shard import Shard
from poller.simulate.broker import Broker, free_port
from poller.sinks.kafka import build
from poller.sinks.kafka.sink import KafkaSink
from poller.stores.memory import MemoryStore

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.anyio,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("nothing_left_behind"),
]
PATIENCE = 300
"""Seconds that a slow machine may take for what takes a fast one two or three."""


class Process:
    """A daemon's way out over a store in memory, and a way in that commits pages of calls."""

    def __init__(self, sink: KafkaSink, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.shard = Shard(self.store, 0)
        self.sink = sink
        self.metrics = Metrics()
        route = Route(self.shard, sink, sink.config, SystemClock(), random.Random(1), self.metrics)
        self.delivery = Delivery(route)

    async def commit(self, count: int) -> None:
        async with self.shard.lock:
            first = self.shard.held.last.seq + 1
            events = [call_event(f"c{seq}", seq) for seq in range(first, first + count)]
            segment = pack(events, self.shard.held.last, time.time())
            seen = [(event.seen, 0) for event in events if event.seen is not None]
            self.shard.held = await self.store.commit_page(self.shard.held, PageCommit(segment=segment, seen=seen))
        self.shard.tell()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Process"]:
        async with anyio.create_task_group() as tasks:
            await tasks.start(self.delivery.run)
            yield self
            tasks.cancel_scope.cancel()

    @property
    def failures(self) -> float:
        """How often a delivery has failed and its producer was thrown away."""
        return self.metrics.producer_rebuilds[self.sink.name].value or 0

    async def caught_up(self) -> None:
        with anyio.fail_after(PATIENCE):
            await self.delivery.caught_up()


async def judge(broker: Broker, topic: str, count: int) -> None:
    found = ids(await read_all(broker.bootstrap, [topic]))
    wanted = {call_id(f"c{number}") for number in range(1, count + 1)}
    assert len(wanted - set(found)) == 0, "missing"
    assert [key for key, times in found.items() if times > 1] == [], "twice"
    assert len(found) == count


async def test_broker_killed_under_load(broker: Broker, prefix: str) -> None:
    """For a moment, which the same producer may outlive, and until the delivery has failed."""
    config = kafka_config(
        broker.bootstrap, prefix, request_timeout="8s", commit_timeout="12s", transaction_timeout="20s"
    )
    process, total = Process(build("kafka", config, shards=1)), 0
    async with process.running():
        for for_long in (False, True):
            for _ in range(30):
                await process.commit(200)
                total += 200
                await asyncio.sleep(0.01)
            await anyio.to_thread.run_sync(broker.kill)
            failures = process.failures
            await process.commit(200)
            total += 200
            if for_long:
                await wait_for(lambda before=failures: process.failures > before)
            await anyio.to_thread.run_sync(broker.start)
        await process.caught_up()
    await judge(broker, config.topics.call, total)


async def test_process_gone_between_commit_and_note(broker: Broker, prefix: str) -> None:
    """A store that was copied before the note: the progress tells that the transaction took place."""
    config = kafka_config(broker.bootstrap, prefix)
    process = Process(build("kafka", config, shards=1))
    async with process.running():
        await process.commit(50)
        await process.caught_up()
        await process.commit(50)
        before = process.store.copy()
        await process.caught_up()
    async with Process(build("kafka", config, shards=1), before).running() as again:
        await again.commit(50)
        await again.caught_up()
    await judge(broker, config.topics.call, 150)


async def test_store_rolled_back_is_healed_from_the_topics(broker: Broker, prefix: str) -> None:
    config = kafka_config(broker.bootstrap, prefix)
    process = Process(build("kafka", config, shards=1))
    async with process.running():
        await process.commit(50)
        await process.caught_up()
        copy = process.store.copy()
        await process.commit(50)
        await process.caught_up()
    async with Process(build("kafka", config, shards=1), copy).running() as again:
        await again.caught_up()
        await wait_for(lambda: again.delivery.position is not None and again.delivery.position.seq >= 100)
        unknown = await copy.look_up(
            None, [event.seen for seq in range(1, 101) if (event := call_event(f"c{seq}", seq)).seen]
        )
        assert unknown == {}, "all that was published is known again"
        await again.commit(20)
        await again.caught_up()
    found = ids(await read_all(broker.bootstrap, [config.topics.call]))
    assert max(found.values()) == 1
    assert len(found) == 120


async def wait_for(condition: Any) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 the condition is the broker's, nobody sets an event
            await asyncio.sleep(0.02)


async def test_foreign_transaction_that_hangs_on_the_progress_partition(broker: Broker, prefix: str) -> None:
    """It pins the stable offset below our last progress record: who believed what is visible would send all of it again."""
    config = kafka_config(broker.bootstrap, prefix)
    process = Process(build("kafka", config, shards=1))
    async with process.running():
        await process.commit(10)
        await process.caught_up()
        foreign = AIOKafkaProducer(
            bootstrap_servers=broker.bootstrap, transactional_id=f"{prefix}-foreign", transaction_timeout_ms=600_000
        )
        await foreign.start()
        await foreign.begin_transaction()
        await foreign.send_and_wait(config.progress_topic, b"x", key=b"foreign", partition=0)
        older = process.store.copy()
        await process.commit(100)
        await process.caught_up()
    sink = build("kafka", config, shards=1)
    with pytest.raises(SinkFault, match=r"open transaction hides.* producer id \d+"):
        await sink.lane(0)
    async with Process(sink, older).running() as again:
        await again.commit(100)  # the same calls, polled again
        await wait_for(lambda: again.failures)
        assert again.delivery.position is None, "nothing is delivered while the truth is hidden"
        await foreign.abort_transaction()
        await foreign.stop()
        await wait_for(lambda: again.delivery.position is not None)
        await again.caught_up()
    await judge(broker, config.topics.call, 110)


async def test_no_broker_at_the_start_then_one(prefix: str, broker: Broker) -> None:
    config = kafka_config(broker.bootstrap, prefix, request_timeout="8s")
    await anyio.to_thread.run_sync(broker.kill)
    process = Process(build("kafka", config, shards=1))
    try:
        async with process.running():
            await process.commit(30)
            await wait_for(lambda: process.failures)
            assert process.delivery.position is None
            await anyio.to_thread.run_sync(broker.start)
            await process.caught_up()
    finally:
        if broker.pid is None:
            await anyio.to_thread.run_sync(broker.start)
    await judge(broker, config.topics.call, 30)


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
async def test_closing_is_bounded_with_the_broker_dead(broker: Broker, prefix: str, delivery: str) -> None:
    config = kafka_config(broker.bootstrap, prefix, delivery=delivery, request_timeout="8s", commit_timeout="8s")
    log = segments(2, 100)
    lane = await build("kafka", config, shards=1).lane(0)
    await lane.send(log[:1])
    await anyio.to_thread.run_sync(broker.kill)
    try:
        with anyio.fail_after(PATIENCE):  # the library's own way to close waits for ever
            with pytest.raises(SinkFault):
                await lane.send(log[1:])
            await lane.close()
    finally:
        await anyio.to_thread.run_sync(broker.start)


async def test_at_least_once_needs_no_progress_topic(broker: Broker, prefix: str) -> None:
    config = kafka_config(broker.bootstrap, prefix, delivery="at_least_once")
    async with Process(build("kafka", config, shards=1)).running() as process:
        await process.commit(100)
        await process.caught_up()
    await judge(broker, config.topics.call, 100)


async def test_nobody_listens(prefix: str) -> None:
    config = kafka_config(f"127.0.0.1:{free_port()}", prefix)
    with pytest.raises(SinkFault, match="Kafka"):
        await build("kafka", config, shards=1).lane(0)
