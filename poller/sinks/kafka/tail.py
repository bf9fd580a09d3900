"""What a consumer of the topics sees while events arrive: for the demo, which shows the topics and not our word about them."""

import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from poller.sinks.kafka.producer import discard_consumer, started

_LOOK = 0.25
_AT_ONCE = 1_000
_DEADLINE = 10.0


class Tail:
    """Reads topics from their beginning as any read_committed consumer does. They may be created later.

    It keeps its places itself, so that the library's consumer can be thrown away after any fault, and after `stale` seconds
    without an event. Partitions are named to the consumer: one that subscribes and loses the broker just when it asks for them
    asks again after five minutes.
    """

    def __init__(self, bootstrap: str, topics: Sequence[str], stale: float) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._stale = stale
        self._turn = anyio.Lock()
        self._consumer: AIOKafkaConsumer | None = None
        self._next: dict[TopicPartition, int] = {}
        self._moved = 0.0
        self.fault = ""
        """Why nothing can be read now; empty while all is well."""

    async def read(self) -> list[bytes]:
        """The next events, none where none came for a moment or the broker is away."""
        async with self._turn:
            try:
                consumer = await self._ready()
                batches = (
                    {}
                    if consumer is None
                    else await consumer.getmany(timeout_ms=int(_LOOK * 1000), max_records=_AT_ONCE)
                )
                self.fault = "" if consumer else "the topics are not there yet"
            except (KafkaError, OSError) as error:
                self.fault = f"{type(error).__name__} {error}".strip()
                await self.close()
                consumer, batches = None, {}
            for partition, records in batches.items():
                self._next[partition] = records[-1].offset + 1
            if batches:
                self._moved = time.monotonic()
            elif consumer is not None and time.monotonic() - self._moved > self._stale:
                await self.close()
        if consumer is None:
            await anyio.sleep(_LOOK)
        return [record.value for records in batches.values() for record in records]

    async def at_end(self) -> bool:
        """Whether everything that was committed has been read. Never, while the broker is away."""
        with suppress(KafkaError, OSError), anyio.fail_after(_DEADLINE):
            async with self._turn:
                consumer = await self._ready()
                if consumer is None:
                    return True
                ends: Mapping[TopicPartition, int] = await consumer.end_offsets(consumer.assignment())
                return all([await consumer.position(each) >= end for each, end in ends.items()])
        return False

    async def close(self) -> None:
        """Throws the consumer away; the next one goes on where it was. Bounded; never raises."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await discard_consumer(consumer)

    async def _ready(self) -> AIOKafkaConsumer | None:
        """A consumer of all partitions, None where a topic is not there yet. Raises KafkaError or OSError."""
        if self._consumer is None:
            with anyio.fail_after(_DEADLINE):
                self._consumer = await self._open()
            self._moved = time.monotonic()
        return self._consumer

    async def _open(self) -> AIOKafkaConsumer | None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=100,
        )
        try:
            await started(consumer)
            cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001 nothing public asks without remembering
            found = [(topic, cluster.partitions_for_topic(topic)) for topic in self._topics]
            if not all(numbers for _, numbers in found):
                await discard_consumer(consumer)
                return None
            consumer.assign([TopicPartition(topic, number) for topic, numbers in found for number in numbers])
            for partition, offset in self._next.items():
                consumer.seek(partition, offset)
        except BaseException:
            await discard_consumer(consumer)
            raise
        return consumer


@asynccontextmanager
async def tail(bootstrap: str, topics: Sequence[str], *, stale: float = 15.0) -> AsyncIterator[Tail]:
    """A consumer without a group, for as long as the block lasts."""
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # a broker that is away is for the caller to tell
    reader = Tail(bootstrap, topics, stale)
    try:
        yield reader
    finally:
        await reader.close()
