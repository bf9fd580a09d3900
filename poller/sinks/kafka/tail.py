"""What a consumer of the topics sees while events arrive: for the demo, which shows the topics and not our word about them."""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from poller.sinks.kafka.producer import discard_consumer, started

_LOOK = 0.25
_AT_ONCE = 1_000
_DEADLINE = 5.0


class Tail:
    """Reads topics from their beginning as any read_committed consumer does. They may be created later."""

    def __init__(self, consumer: AIOKafkaConsumer, topics: Sequence[str]) -> None:
        self._consumer = consumer
        self._topics = topics
        self._there = False

    async def read(self) -> list[bytes]:
        """The next events, none where none came for a moment or the broker is away."""
        try:
            if not self._there and not await self._found():
                await anyio.sleep(_LOOK)
                return []
            batches = await self._consumer.getmany(timeout_ms=int(_LOOK * 1000), max_records=_AT_ONCE)
        except (KafkaError, OSError):
            await anyio.sleep(_LOOK)
            return []
        return [record.value for records in batches.values() for record in records]

    async def at_end(self) -> bool:
        """Whether everything that was committed has been read. Never, while the broker is away."""
        with anyio.move_on_after(_DEADLINE), suppress(KafkaError, OSError):
            partitions = self._consumer.assignment()
            ends: Mapping[TopicPartition, int] = await self._consumer.end_offsets(partitions)
            return all([await self._consumer.position(each) >= ends[each] for each in partitions])
        return False

    async def _found(self) -> bool:
        with anyio.move_on_after(_DEADLINE):
            self._there = (await self._consumer.topics()).issuperset(self._topics)
        if self._there:
            self._consumer.subscribe(self._topics)
        return self._there


@asynccontextmanager
async def tail(bootstrap: str, topics: Sequence[str]) -> AsyncIterator[Tail]:
    """A consumer without a group, for as long as the block lasts."""
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # a broker that is away is for the caller to tell
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=100,
    )
    try:
        await started(consumer)
        yield Tail(consumer, topics)
    finally:
        await discard_consumer(consumer)
