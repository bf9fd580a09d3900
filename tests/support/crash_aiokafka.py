"""The Kafka client library in front of the model: what `poller.sinks.kafka` uses of aiokafka, with its ways and its hazards.

Every exchange takes time, may be lost on the way or on the way back, and goes on after the death of who asked.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import aiokafka
import aiokafka.admin
import aiokafka.conn
from aiokafka import TopicPartition, errors
from aiokafka.admin.config_resource import ConfigResource
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import OffsetAndTimestamp
from crash_broker import Broker, Isolation, Refused, Sent
from crash_net import Net
from crash_time import replace

_ERRORS = {
    "ProducerFenced": errors.ProducerFenced,
    "InvalidProducerIdMapping": errors.InvalidProducerIdMapping,
    "OutOfOrderSequenceNumber": errors.OutOfOrderSequenceNumber,
    "MessageSizeTooLargeError": errors.MessageSizeTooLargeError,
    "UnknownTopicOrPartitionError": errors.UnknownTopicOrPartitionError,
    "TopicAlreadyExistsError": errors.TopicAlreadyExistsError,
}


class Cluster:
    """The brokers and the way to them."""

    net: Net
    broker: Broker
    open = 0
    """Clients that were started and not closed."""


class _Client:
    """What every client of the library has."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self._closed = False
        self._started = False
        self.client = self._client = self
        self.cluster = SimpleNamespace(leader_for_partition=lambda _: 1)

    async def start(self) -> None:
        """Connects."""
        await self._ask("connect", lambda: None)
        Cluster.open += 1
        self._started = True

    async def close(self) -> None:
        """Drops the connections."""
        if self._started:
            Cluster.open -= 1
            self._started = False

    async def fetch_all_metadata(self) -> None:
        """Learns who leads."""
        await self._ask("metadata", lambda: None)

    async def _ask(self, what: str, do: Callable[[], Any]) -> Any:
        """Raises what the library raises."""
        return await Cluster.net.exchange("kafka", f"kafka: {what}", do, _broken)


def _broken(what: str, _: float) -> BaseException:
    error: BaseException = errors.KafkaConnectionError(f"the model says {what}")
    return error


def _mapped(do: Callable[[], Any]) -> Callable[[], Any]:
    def call() -> Any:
        try:
            return do()
        except Refused as refused:
            raise _ERRORS[refused.reason](refused.reason) from None

    return call


class Producer(_Client):
    """AIOKafkaProducer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._identity: str | None = options.get("transactional_id")
        self._timeout = options.get("transaction_timeout_ms", 60_000) / 1000
        self._who = (0, 0)
        self._sequences: dict[tuple[str, int], int] = {}
        self._turns: dict[tuple[str, int], asyncio.Future[Any]] = {}
        self._flying: list[asyncio.Future[Any]] = []
        self._in_transaction = False
        self._fenced = False
        self._sender = self._message_accumulator = SimpleNamespace(_batches={}, _pending_batches=[])
        self._txn_manager = None

    async def start(self) -> None:
        """Fences."""
        await super().start()
        begin = Cluster.broker.begin
        self._who = await self._ask("InitProducerId", lambda: begin(self._identity, self._timeout))

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> "asyncio.Future[Any]":
        """One batch of a partition is under way at a time. The future tells what became of it."""
        self._usable()
        place = (topic, partition)
        before = self._turns.get(place)
        if before is not None and not before.done():
            await asyncio.wait([before])
        # A number is used up although the batch fails (a hazard of the library).
        sequence = self._sequences[place] = self._sequences.get(place, -1) + 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._turns[place] = future
        self._flying.append(future)
        read = MemoryRecords(batch._build()).next_batch()
        sent = [Sent(one.key, one.value, tuple(one.headers), one.timestamp) for one in read or ()]

        def produce() -> int:
            return Cluster.broker.produce(self._identity, self._who, topic, partition, sequence, sent)

        Cluster.net.send("produce", "kafka: Produce", _mapped(produce), _broken, future)
        return future

    async def begin_transaction(self) -> None:
        """Says nothing to the brokers."""
        self._usable()
        if self._in_transaction:
            raise errors.IllegalOperation("in transaction")
        self._in_transaction = True

    async def commit_transaction(self) -> None:
        """Commits although a batch failed, unless somebody asked for its outcome (a hazard of the library)."""
        await self._end(commit=True)

    async def abort_transaction(self) -> None:
        """Forgets what was sent."""
        await self._end(commit=False)

    async def _end(self, *, commit: bool) -> None:
        self._usable()
        if flying := [one for one in self._flying if not one.done()]:
            await asyncio.wait(flying)
        for one in self._flying:
            if not one.cancelled():
                one.exception()
        sent, self._flying = bool(self._flying), []
        identity = self._identity
        assert identity is not None
        if sent:
            await self._ask("EndTxn", _mapped(lambda: Cluster.broker.end(identity, self._who, commit=commit)))
        self._in_transaction = False

    async def close(self) -> None:
        """What comes after it nobody hears."""
        await super().close()
        for one in self._flying:
            one.cancel()

    def _usable(self) -> None:
        assert self._started
        if self._closed:
            raise errors.ProducerClosed


class Consumer(_Client):
    """AIOKafkaConsumer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._isolation: Isolation = options.get("isolation_level", "read_uncommitted")
        self._fetcher = self._coordinator = None
        self._at: dict[TopicPartition, int] = {}

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        """From the beginning."""
        self._at = dict.fromkeys(partitions, 0)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Goes there."""
        self._at[partition] = offset

    async def position(self, partition: TopicPartition) -> int:
        """The next offset."""
        return self._at[partition]

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Of a read_committed one: the stable ends."""

        def ends() -> dict[TopicPartition, int]:
            found = {one: Cluster.broker.partition(one.topic, one.partition) for one in partitions}
            committed = self._isolation == "read_committed"
            return {one: part.stable if committed else part.end for one, part in found.items()}

        return dict(await self._ask("ListOffsets", _mapped(ends)))

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Nothing is ever deleted."""
        return dict(await self._ask("ListOffsets", lambda: dict.fromkeys(partitions, 0)))

    async def offsets_for_times(
        self, times: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """The first at or after the time."""

        def find() -> dict[TopicPartition, OffsetAndTimestamp | None]:
            out: dict[TopicPartition, OffsetAndTimestamp | None] = {}
            for one, at in times.items():
                records = Cluster.broker.partition(one.topic, one.partition).records
                first = next((record for record in records if record.sent.timestamp >= at), None)
                out[one] = first and OffsetAndTimestamp(first.offset, first.sent.timestamp)
            return out

        return dict(await self._ask("ListOffsets", _mapped(find)))

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[Any]]:
        """What is visible now. Fewer at a time than a real one, so that there is more than one turn."""

        def fetch() -> dict[TopicPartition, list[Any]]:
            out: dict[TopicPartition, list[Any]] = {}
            for one in partitions or self._at:
                found, end = Cluster.broker.partition(one.topic, one.partition).read(self._at[one], self._isolation)
                some = found[: min(max_records, 50)]
                self._at[one] = end if len(some) == len(found) else some[-1].offset + 1
                if some:
                    out[one] = [
                        SimpleNamespace(
                            offset=record.offset, key=record.sent.key, value=record.sent.value,
                            headers=record.sent.headers, timestamp=record.sent.timestamp,
                        )
                        for record in some
                    ]  # fmt: skip
            return out

        found: dict[TopicPartition, list[Any]] = await self._ask("Fetch", _mapped(fetch))
        if not found:
            await asyncio.sleep(timeout_ms / 1000)
        return found


class Admin(_Client):
    """AIOKafkaAdminClient."""

    async def _send_request(self, request: Any, _leader: int | None = None) -> Any:
        if type(request).__name__ == "MetadataRequest":
            return await self._ask("Metadata", lambda: self._topics(request))
        return await self._ask("DescribeProducers", lambda: self._producers(request))

    def _topics(self, request: Any) -> Any:
        topics = [
            {"topic": name, "error_code": 0, "partitions": found.partitions}
            if (found := Cluster.broker.topics.get(name)) is not None
            else {"topic": name, "error_code": 3, "partitions": []}
            for name in request._topics
        ]
        return SimpleNamespace(to_object=lambda: {"topics": topics})

    def _producers(self, request: Any) -> Any:
        ((topic, (partition,), _),) = request._asked
        producers = [
            {"producer_id": number, "producer_epoch": epoch, "last_timestamp": 0, "transaction_start": first}
            for number, epoch, first in Cluster.broker.open_on(topic, partition)
        ]
        found = {"topics": [{"partitions": [{"producers": producers}]}]}
        return SimpleNamespace(to_object=lambda: found)

    async def describe_cluster(self) -> dict[str, Any]:
        """One broker."""
        return dict(await self._ask("DescribeCluster", lambda: {"controller_id": 1, "brokers": [1]}))

    async def create_topics(self, topics: Sequence[Any]) -> Any:
        """Each with its own answer."""

        def create() -> Any:
            said = []
            for topic in topics:
                try:
                    Cluster.broker.create(topic.name, topic.num_partitions, topic.topic_configs)
                    said.append((topic.name, 0, None))
                except Refused:
                    said.append((topic.name, 36, None))
            return SimpleNamespace(topic_errors=said)

        return await self._ask("CreateTopics", create)

    async def describe_configs(self, resources: Sequence[ConfigResource]) -> list[Any]:
        """All of them in one answer."""

        def describe() -> list[Any]:
            found = [(0, "", 2, one.name, list(Cluster.broker.topics[one.name].settings.items())) for one in resources]
            return [SimpleNamespace(resources=found)]

        return list(await self._ask("DescribeConfigs", describe))


async def _create_conn(*_: Any, **__: Any) -> None:
    raise errors.KafkaConnectionError("the model refuses")


def install() -> None:
    """Before `poller.sinks.kafka` is imported."""
    replace(aiokafka, "AIOKafkaProducer", Producer)
    replace(aiokafka, "AIOKafkaConsumer", Consumer)
    replace(aiokafka.admin, "AIOKafkaAdminClient", Admin)
    replace(aiokafka.conn, "create_conn", _create_conn)
