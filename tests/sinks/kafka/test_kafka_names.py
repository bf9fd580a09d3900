"""Transactional id and progress topic are changed against a real broker, and a store from before comes back."""

import json
import random
import time
from typing import Any

import anyio
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from delivery_events import call_event, call_id, seen_key
from kafka_broker import ids, kafka_config, read_all

from poller.clock import SystemClock
from poller.deliver import Delivery
from poller.metrics import Metrics
from poller.model import PageCommit, Position
from poller.route import Route
from poller.segment import pack
from poller.shard import Shard
from poller.simulate.broker import Broker
from poller.sinks.kafka import build
from poller.sinks.kafka.config import Config
from poller.stores.memory import MemoryStore

pytestmark = [pytest.mark.anyio, pytest.mark.kafka, pytest.mark.timeout(300)]


async def lives(store: MemoryStore, config: Config, *calls: str) -> None:
    """A process that finds these calls, unless the store knows them, and delivers everything."""
    shard = Shard(store, 0)
    sink = build("kafka", config, shards=1)
    delivery = Delivery(Route(shard, sink, config, SystemClock(), random.Random(1), Metrics()))
    async with anyio.create_task_group() as tasks:
        await tasks.start(delivery.run)
        with anyio.fail_after(120):
            await delivery.caught_up()
            await poll(shard, *calls)
            await delivery.caught_up()
        tasks.cancel_scope.cancel()


async def poll(shard: Shard, *calls: str) -> None:
    async with shard.lock:
        fresh = sorted(await shard.store.look_up(None, [seen_key(call) for call in calls]))
        events = [call_event(calls[index], shard.held.last.seq + at) for at, index in enumerate(fresh, 1)]
        seen = [(seen_key(calls[index]), 1) for index in fresh]
        page = PageCommit(segment=pack(events, shard.held.last, time.time()), seen=seen)
        shard.held = await shard.store.commit_page(shard.held, page)
    shard.tell()


async def progress(broker: Broker, topic: str) -> dict[str, dict[str, Any]]:
    """The last record of each transactional id."""
    return {record.key.decode(): json.loads(record.value) for record in await read_all(broker.bootstrap, [topic])}


async def test_a_store_from_before_changes_of_names_publishes_nothing_twice(broker: Broker, prefix: str) -> None:
    first = kafka_config(broker.bootstrap, prefix)
    other_topic = first.model_copy(update={"progress_topic": f"{prefix}.elsewhere"})
    other_id = first.model_copy(update={"transactional_id_prefix": f"{prefix}-other"})
    store = MemoryStore()
    await lives(store, first, "a")
    before = store.copy()
    await lives(store, other_topic, "a", "b")
    await lives(store, other_id, "a", "b", "c")
    store.restore(before)
    await lives(store, first, "a", "b", "c", "d")
    assert ids(await read_all(broker.bootstrap, [first.topics.call])) == {call_id(name): 1 for name in "abcd"}

    mine, others = f"{prefix}.kafka.0", f"{prefix}-other.kafka.0"
    here, there = await progress(broker, first.progress_topic), await progress(broker, other_topic.progress_topic)
    assert set(here[mine]) == {"seq", "chain", "at", "shards"}, "the one in use"
    assert there[mine]["moved"] == {"id": others, "topic": first.progress_topic}
    assert here[others]["moved"] == {"id": mine, "topic": first.progress_topic}
    assert here[others]["seq"] < here[mine]["seq"]


async def test_a_progress_topic_that_is_no_longer_there_stops_nothing(broker: Broker, prefix: str) -> None:
    first = kafka_config(broker.bootstrap, prefix)
    store = MemoryStore()
    await lives(store, first, "a")
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([first.progress_topic])
        with anyio.fail_after(60):
            while first.progress_topic in await admin.list_topics():  # noqa: ASYNC110 a broker tells nobody
                await anyio.sleep(0.05)
        second = first.model_copy(update={"progress_topic": f"{prefix}.elsewhere"})
        await lives(store, second, "a", "b")
        assert first.progress_topic not in await admin.list_topics(), "nor is it made anew"
    finally:
        await admin.close()
    assert ids(await read_all(broker.bootstrap, [first.topics.call])) == {call_id(name): 1 for name in "ab"}
    sink = build("kafka", second, shards=1)
    left = await sink.peek(0, sink.identity(0))
    assert left is not None
    assert left.position == await store.position("kafka", 0) != Position()
