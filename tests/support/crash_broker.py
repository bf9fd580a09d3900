"""A model of Kafka's transactions: logs, idempotent and transactional producers, fencing, timeouts, and what readers see. No I/O.

That real brokers show read_committed readers the same is proved by `tests/crash/test_crash_broker_model.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Isolation = Literal["read_committed", "read_uncommitted"]


class Refused(Exception):
    """`reason`: the name of the library's error."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Sent(NamedTuple):
    """What a producer wants to be written."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp: int = 0

    @property
    def size(self) -> int:
        """About as a broker counts it."""
        return (
            20
            + len(self.key or b"")
            + len(self.value or b"")
            + sum(len(name) + len(text) for name, text in self.headers)
        )


@dataclass(slots=True, eq=False)
class Transaction:
    """Of one producer."""

    began: float
    state: Literal["open", "committed", "aborted"] = "open"
    partitions: set["Partition"] = field(default_factory=set)


class Record(NamedTuple):
    """As it stands in the log."""

    offset: int
    sent: Sent
    transaction: Transaction | None


@dataclass(eq=False)
class Partition:
    """A log. The end of a transaction takes an offset, too."""

    records: list[Record] = field(default_factory=list)
    end: int = 0
    last: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """Producer → epoch, sequence and offset of its last batch."""

    def append(self, batch: Sequence[Sent], transaction: Transaction | None) -> int:
        """The offset of the first."""
        first = self.end
        for sent in batch:
            self.records.append(Record(self.end, sent, transaction))
            self.end += 1
        return first

    @property
    def stable(self) -> int:
        """The first offset that is not decided."""
        for record in self.records:
            if record.transaction is not None and record.transaction.state == "open":
                return record.offset
        return self.end

    def read(self, begin: int, isolation: Isolation) -> tuple[list[Record], int]:
        """What a reader sees from there, and where it goes on."""
        committed = isolation == "read_committed"
        end = self.stable if committed else self.end
        found = [record for record in self.records if begin <= record.offset < end]
        if committed:
            found = [one for one in found if one.transaction is None or one.transaction.state == "committed"]
        return found, max(begin, end)


@dataclass(slots=True)
class _Producer:
    """A transactional id as the brokers know it."""

    number: int
    epoch: int = -1
    timeout: float = 60.0
    open: Transaction | None = None


@dataclass(slots=True)
class Topic:
    """Partitions and settings."""

    partitions: list[Partition]
    settings: dict[str, str]


class Broker:
    """All of the cluster. `now`: seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.topics: dict[str, Topic] = {}
        self._now = now
        self._producers: dict[str, _Producer] = {}
        self._numbers = 0

    def create(self, name: str, partitions: int, settings: Mapping[str, str] = {}) -> None:
        """Raises Refused."""
        if name in self.topics:
            raise Refused("TopicAlreadyExistsError")
        self.topics[name] = Topic([Partition() for _ in range(partitions)], dict(settings))

    def partition(self, topic: str, number: int) -> Partition:
        """Raises Refused."""
        self._expire()
        found = self.topics.get(topic)
        if found is None or number >= len(found.partitions):
            raise Refused("UnknownTopicOrPartitionError")
        return found.partitions[number]

    # --- producers -------------------------------------------------------------------------------------------------------

    def begin(self, identity: str | None, timeout: float = 60.0) -> tuple[int, int]:
        """(number, epoch) of a new producer. Older ones of the same transactional id are fenced, what they have open is aborted."""
        self._expire()
        if identity is None:
            self._numbers += 1
            return self._numbers, 0
        found = self._producers.get(identity)
        if found is None:
            self._numbers += 1
            found = self._producers[identity] = _Producer(self._numbers)
        self._finish(found, "aborted")
        found.epoch += 1
        found.timeout = timeout
        return found.number, found.epoch

    def produce(
        self, identity: str | None, who: tuple[int, int], topic: str, number: int, sequence: int, batch: Sequence[Sent]
    ) -> int:
        """Writes a batch; one that comes again is not written again. Returns its first offset. Raises Refused."""
        partition = self.partition(topic, number)
        transaction = None
        if identity is not None:
            producer = self._checked(identity, who)
            producer.open = transaction = producer.open or Transaction(self._now())
        largest = int(self.topics[topic].settings.get("max.message.bytes", 1_048_588))
        if sum(sent.size for sent in batch) > largest:
            raise Refused("MessageSizeTooLargeError")
        epoch, last, offset = partition.last.get(who[0], (who[1], -1, -1))
        if epoch != who[1]:
            last = -1
        if sequence == last:
            return offset
        if sequence != last + 1:
            raise Refused("OutOfOrderSequenceNumber")
        if transaction is not None:
            transaction.partitions.add(partition)
        offset = partition.append(batch, transaction)
        partition.last[who[0]] = (who[1], sequence, offset)
        return offset

    def end(self, identity: str, who: tuple[int, int], *, commit: bool) -> None:
        """Ends the open transaction, if there is one. Raises Refused."""
        self._finish(self._checked(identity, who), "committed" if commit else "aborted")

    def open_on(self, topic: str, number: int) -> list[tuple[int, int, int]]:
        """(producer, epoch, first offset) of the transactions that are open on a partition."""
        partition = self.partition(topic, number)
        return [
            (producer.number, producer.epoch, first)
            for producer in self._producers.values()
            if producer.open is not None
            and (first := next((one.offset for one in partition.records if one.transaction is producer.open), -1)) >= 0
        ]

    def _checked(self, identity: str, who: tuple[int, int]) -> _Producer:
        self._expire()
        found = self._producers.get(identity)
        if found is None or found.number != who[0]:
            raise Refused("InvalidProducerIdMapping")
        if found.epoch != who[1]:
            raise Refused("ProducerFenced")
        return found

    def _expire(self) -> None:
        """A transaction that takes too long is aborted, and its producer fenced."""
        for producer in self._producers.values():
            if producer.open is not None and self._now() - producer.open.began > producer.timeout:
                self._finish(producer, "aborted")
                producer.epoch += 1

    @staticmethod
    def _finish(producer: _Producer, state: Literal["committed", "aborted"]) -> None:
        transaction, producer.open = producer.open, None
        if transaction is not None:
            transaction.state = state
            for partition in transaction.partitions:
                partition.end += 1
