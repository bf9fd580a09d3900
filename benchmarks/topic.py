"""A topic as its readers see it. Not a benchmark itself."""

import asyncio
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

PARTITIONS = 8


def create(bootstrap: str, name: str) -> None:
    """The topic, with as many partitions as the program gives its own."""

    async def made() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, PARTITIONS, 1)])
        finally:
            await admin.close()

    asyncio.run(made())


def found(bootstrap: str, name: str, identity: Callable[[Any], str]) -> Counter[str]:
    """How often a read_committed reader sees each record; `identity` gives it a name."""

    async def read() -> Counter[str]:
        parts = [TopicPartition(name, number) for number in range(PARTITIONS)]
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            isolation_level="read_committed",
            enable_auto_commit=False,
            max_partition_fetch_bytes=8 << 20,
        )
        await consumer.start()
        try:
            consumer.assign(parts)
            await consumer.seek_to_beginning(*parts)
            return await _to_the_end(consumer, parts, identity)
        finally:
            await consumer.stop()

    return asyncio.run(read())


async def _to_the_end(consumer: Any, parts: list[TopicPartition], identity: Callable[[Any], str]) -> Counter[str]:
    """Up to the end that is stable now: positions pass the markers of transactions too."""
    seen: Counter[str] = Counter()
    ends = await consumer.end_offsets(parts)
    while any([await consumer.position(part) < ends[part] for part in parts]):
        for messages in (await consumer.getmany(timeout_ms=500, max_records=10_000)).values():
            seen.update(map(identity, messages))
    return seen


class Growing:
    """How many offsets a topic has, asked again and again while something fills it."""

    def __init__(self, bootstrap: str, name: str) -> None:
        self._runner = asyncio.Runner()
        self._parts = [TopicPartition(name, number) for number in range(PARTITIONS)]
        self._bootstrap = bootstrap

    def __enter__(self) -> Self:
        self._runner.run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._consumer.stop())
        self._runner.close()

    async def _start(self) -> None:
        self._consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False)
        await self._consumer.start()

    def offsets(self) -> int:
        """Records of open transactions and the markers included."""
        return sum(self._runner.run(self._consumer.end_offsets(self._parts)).values())
