"""The sink: settings, topics, and a lane for each shard."""

from collections.abc import Mapping
from typing import Any

from poller.model import Event, Progress
from poller.outgoing import Outgoing
from poller.sinks.kafka.config import Config
from poller.sinks.kafka.lane import KafkaLane
from poller.sinks.kafka.partition import hashes_of
from poller.sinks.kafka.producer import Producer
from poller.sinks.kafka.reading import Reading
from poller.sinks.kafka.records import Identity
from poller.sinks.kafka.topics import Limits, prepare, widen

_RESERVE = 0.9
"""Of the largest batch that a topic takes: what compression and framing may add to records that cannot be compressed."""
_LARGEST_BATCH = 900_000
"""Bytes before compression; larger batches save nothing and cost memory on both sides."""


class KafkaSink:
    """Publishes to Kafka."""

    pauses_polling = True

    def __init__(self, name: str, config: Config, *, shards: int) -> None:
        self.name = name
        self.config = config
        self.shards = shards
        self.keeps_progress = config.delivery == "exactly_once"
        self._outgoing = Outgoing(vendor=config.vendor == "include", mask_numbers=config.mask_numbers)
        self._partitions: Mapping[str, int] = {}
        """Of each topic, as the brokers said last."""
        self._connection: dict[str, Any] | None = None

    def __repr__(self) -> str:
        """Without the credentials."""
        return f"<KafkaSink {self.name}>"

    def identity(self, shard: int) -> str:
        """Transactional id and progress topic."""
        if not self.keeps_progress:
            return ""
        return str(Identity(self.config.transactional_id(self.name, shard), self.config.progress_topic))

    def place_of(self, event: Event) -> str:
        """The topic, and the partition once the brokers have said how many there are."""
        topic, key = self.config.topics.of(event.type), self._outgoing.event(event).key
        if topic not in self._partitions:
            return f"topic {topic}, in the partition of its key"
        (hashed,) = hashes_of([key.encode("utf-8", "surrogatepass")])
        return f"topic {topic}, partition {hashed % self._partitions[topic]}"

    async def peek(self, shard: int, identity: str = "") -> Progress | None:
        """The progress, read without fencing anybody."""
        if not self.keeps_progress:
            return None
        await self._limits()
        return await self._reading().progress(Identity.of(identity or self.identity(shard)), shard)

    async def lane(self, shard: int, identity: str = "") -> KafkaLane:
        """Fences older producers of the shard and reads its progress. Raises SinkFault or SinkRefused."""
        own = Identity.of(identity or self.identity(shard)) if self.keeps_progress else None

        async def open_producer() -> tuple[Producer, Limits]:
            limits = await self._limits()
            size = min(_LARGEST_BATCH, int(limits.largest * _RESERVE))
            producer = Producer(self.config, self._connect(), own.id if own is not None else None, size)
            await producer.start()
            return producer, limits

        lane = KafkaLane(self.name, shard, self.config, own, open_producer, self._reading(), shards=self.shards)
        await lane.start()
        return lane

    async def widen(self) -> None:
        """Where a store with more shards takes over: a partition of the progress topic for each."""
        if self.keeps_progress:
            await widen(self.config, self._connect(), self.shards)

    async def close(self) -> None:
        """Nothing is kept between lanes."""

    async def _limits(self) -> Limits:
        limits = await prepare(self.config, self._connect(), self.shards, self.config.event_topics)
        self._partitions = limits.partitions
        return limits

    def _reading(self) -> Reading:
        return Reading(self.config, self._connect())

    def _connect(self) -> dict[str, Any]:
        if self._connection is None:
            self._connection = self.config.connection()
        return self._connection
