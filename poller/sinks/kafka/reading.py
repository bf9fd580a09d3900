"""Reading what was committed: the progress of a shard, and the events themselves to heal a store.

An open transaction of anybody pins the last stable offset, and newer committed records behind it are invisible. So whoever
reads first notes the high watermark, and nothing is believed before the stable offset has passed it.
"""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
from aiokafka import AIOKafkaConsumer, TopicPartition

from poller.errors import SinkFault
from poller.model import Progress
from poller.protocols import Published
from poller.sinks.kafka.config import Config
from poller.sinks.kafka.faults import mapped
from poller.sinks.kafka.hanging import open_transactions
from poller.sinks.kafka.producer import discard_consumer, started
from poller.sinks.kafka.records import Identity, last_progress, published
from poller.sinks.kafka.topics import is_there

_LOOK = 0.2
_STABLE_WAIT = 10.0
"""Seconds to wait for open transactions before the caller is told, where an answer may take so long; it comes again."""
_FIRST_SPAN = 2_000
_AT_ONCE = 2_000
_STALL = 60.0
"""Seconds without any progress after which reading back is given up."""


class Reading:
    """Reads for one sink."""

    def __init__(self, config: Config, connection: Mapping[str, Any]) -> None:
        self._config = config
        self._connection = connection

    @asynccontextmanager
    async def _consumer(
        self, isolation: Literal["read_committed", "read_uncommitted"]
    ) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            **self._connection,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=isolation,
            fetch_max_bytes=8 << 20,
            max_partition_fetch_bytes=1 << 20,
            fetch_max_wait_ms=100,
        )
        try:
            with mapped("connecting", self._config.request_timeout):
                await started(consumer)
            yield consumer
        finally:
            await discard_consumer(consumer)

    async def _ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The high watermarks."""
        async with self._consumer("read_uncommitted") as consumer:
            with mapped("reading the ends of topics", self._config.request_timeout):
                return dict(await consumer.end_offsets(list(partitions)))

    async def _stable(self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> None:
        """Waits until everything below `ends` is decided. Raises SinkFault that names who holds it open."""
        until = anyio.current_time() + min(_STABLE_WAIT, self._config.request_timeout)
        while True:
            with mapped("reading the stable ends of topics", self._config.request_timeout):
                stable = await consumer.end_offsets(list(ends))
            behind = [partition for partition, end in ends.items() if stable[partition] < end]
            if not behind:
                return
            if anyio.current_time() >= until:
                break
            await anyio.sleep(_LOOK)
        who = await open_transactions(self._config, self._connection, behind[0].topic, behind[0].partition)
        raise SinkFault(
            f"Kafka: an open transaction hides what was committed to {behind[0].topic} partition {behind[0].partition} "
            f"after offset {stable[behind[0]]}; nothing is delivered before it ends. {who} The broker ends it after the "
            "timeout of that transaction; `kafka-transactions.sh abort` ends it at once"
        )

    async def progress(self, identity: Identity, shard: int) -> Progress | None:
        """The last committed progress record; none where an earlier configuration's topic is no longer there.

        Read backwards in growing spans: the record that counts stands near the end.
        """
        configured = identity.topic == self._config.progress_topic
        if not configured and not await is_there(self._config, self._connection, identity.topic):
            return None
        partition = TopicPartition(identity.topic, shard)
        end = (await self._ends([partition]))[partition]
        async with self._consumer("read_committed") as consumer:
            consumer.assign([partition])
            await self._stable(consumer, {partition: end})
            with mapped("reading the beginning of the progress topic", self._config.request_timeout):
                first = (await consumer.beginning_offsets([partition]))[partition]
            span = _FIRST_SPAN
            while end > first:
                begin = max(first, end - span)
                records = [
                    (record.key, record.value)
                    async for batch in self._read(consumer, {partition: begin}, {partition: end})
                    for record in batch
                ]
                if (found := last_progress(records, identity.id.encode())) is not None or begin == first:
                    return found
                span *= 8
        return None

    async def published(self, topics: Mapping[str, int], since: float | None) -> AsyncIterator[Published]:
        """The events in the topics, whole or written at or after `since`; at most a few thousand in memory at a time."""
        partitions = [TopicPartition(topic, number) for topic, count in topics.items() for number in range(count)]
        ends = await self._ends(partitions)
        async with self._consumer("read_committed") as consumer:
            consumer.assign(partitions)
            await self._stable(consumer, ends)
            begins = await self._begins(consumer, partitions, ends, since)
            async for batch in self._read(consumer, begins, ends):
                for record in batch:
                    found = published(record.key, record.value, record.headers, record.timestamp / 1000)
                    if found is not None:
                        yield found

    async def _begins(
        self,
        consumer: AIOKafkaConsumer,
        partitions: Sequence[TopicPartition],
        ends: Mapping[TopicPartition, int],
        since: float | None,
    ) -> dict[TopicPartition, int]:
        with mapped("looking for where to begin", self._config.request_timeout):
            if since is None:
                return dict(await consumer.beginning_offsets(list(partitions)))
            found = await consumer.offsets_for_times(dict.fromkeys(partitions, max(0, int(since * 1000))))
        return {one: at.offset if (at := found.get(one)) is not None else ends[one] for one in partitions}

    async def _read(
        self, consumer: AIOKafkaConsumer, begins: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> AsyncIterator[list[Any]]:
        """Batches of records between two offsets of each partition."""
        left = {one for one in begins if begins[one] < ends[one]}
        for one in begins:
            consumer.seek(one, begins[one])
        moved = time.monotonic()
        while left:
            with mapped("reading back", self._config.request_timeout):
                batches = await consumer.getmany(*left, timeout_ms=500, max_records=_AT_ONCE)
                positions = {one: await consumer.position(one) for one in left}
            for one, records in batches.items():
                yield [record for record in records if record.offset < ends[one]]
            done = {one for one in left if positions[one] >= ends[one]}
            if batches or done:
                moved = time.monotonic()
            elif time.monotonic() - moved > _STALL:
                raise SinkFault(f"Kafka: reading back stands still at {min(left)} offset {positions[min(left)]}")
            left -= done
