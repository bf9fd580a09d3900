"""A real broker for tests, and a plain reader of what consumers see. The fixtures stand in tests/conftest.py."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from poller.sinks.kafka.config import Config
from poller.sinks.kafka.producer import discard_consumer


def kafka_config(bootstrap: str, prefix: str, **more: Any) -> Config:
    """A sink's settings with topics of its own."""
    return Config.model_validate(
        {
            "kind": "kafka",
            "bootstrap_servers": [bootstrap],
            "topics": {"call": f"{prefix}.calls", "recording": f"{prefix}.recordings", "window": f"{prefix}.windows"},
            "progress_topic": f"{prefix}.progress",
            "transactional_id_prefix": prefix,
            "partitions": 4,
            **more,
        }
    )


async def read_all(bootstrap: str, topics: Sequence[str]) -> list[Any]:
    """Every record of the topics up to the end, as a read_committed consumer sees them.

    The end is the high watermark: a commit returns before its markers are written, and the stable offset lags until then.
    """
    consumer = _consumer(bootstrap, committed=True)
    tail = _consumer(bootstrap, committed=False)
    records: list[Any] = []
    await consumer.start()
    await tail.start()
    try:
        async with asyncio.timeout(300):
            found = {topic: await consumer._client._wait_on_metadata(topic) for topic in topics}
            parts = [TopicPartition(topic, number) for topic, numbers in found.items() for number in numbers]
            consumer.assign(parts)
            ends = await tail.end_offsets(parts)
            begins = await consumer.beginning_offsets(parts)
            for part in parts:
                consumer.seek(part, begins[part])
            while any([await consumer.position(part) < ends[part] for part in parts]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    records += batch
    finally:
        await discard_consumer(consumer)
        await discard_consumer(tail)
    return records


def _consumer(bootstrap: str, *, committed: bool) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed" if committed else "read_uncommitted",
    )


def ids(records: Sequence[Any]) -> Counter[str]:
    """How often each event id was read."""
    return Counter(dict(record.headers)["ce_id"].decode() for record in records)
