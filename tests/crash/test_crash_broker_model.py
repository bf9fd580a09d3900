"""The model of Kafka's transactions and a real broker, told the same at random: readers of both see the same, at the same offsets."""

import asyncio
import random
import time
from dataclasses import dataclass, field

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from crash_broker import Broker as Model
from crash_broker import Isolation, Refused, Sent
from kafka_broker import kafka_config

from poller.errors import SinkFault
from poller.simulate.broker import Broker
from poller.sinks.kafka.batch import record
from poller.sinks.kafka.config import Config
from poller.sinks.kafka.producer import Producer, discard_consumer
from poller.sinks.kafka.topics import prepare

pytestmark = [pytest.mark.anyio, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

PARTITIONS = 2
STEPS = 40
DEADLINE = 120.0
TIMEOUT = 900
"""Seconds after which a transaction is aborted: longer than any of these takes, on any machine."""


@dataclass
class Both:
    """One producer on either side."""

    identity: str
    real: Producer
    who: tuple[int, int]
    sequences: dict[int, int] = field(default_factory=dict)
    open: bool = False


@dataclass
class Sides:
    """The model, the broker, and what was done to both."""

    config: Config
    model: Model
    rnd: random.Random
    topic: str
    producers: dict[str, Both] = field(default_factory=dict)
    """The living one of each transactional id."""
    fenced: list[Both] = field(default_factory=list)
    """Earlier ones, which do not know it."""
    said: list[str] = field(default_factory=list)
    numbers: int = 0

    async def start(self, identity: str) -> None:
        """A new producer; an earlier one of the same name is fenced, crashed or not."""
        real = Producer(self.config, self.config.connection(), identity, 100_000)
        await real.start()
        before = self.producers.pop(identity, None)
        if before is not None:
            self.fenced.append(before)
        self.producers[identity] = Both(identity, real, self.model.begin(identity, TIMEOUT))
        self.said.append(f"start {identity}")

    async def send(self, both: Both) -> bool:
        """Some records to one partition, in a transaction that is begun where none is open. Whether it worked, on both sides."""
        partition = self.rnd.randrange(PARTITIONS)
        values = [f"{self.numbers + count}".encode() for count in range(self.rnd.randint(1, 3))]
        self.numbers += len(values)
        if not both.open:
            await both.real.begin()
            both.open = True
        sequence = both.sequences.get(partition, -1) + 1
        batch = both.real.batch(int(time.time() * 1000))
        for value in values:
            batch.append(record(b"k", value))
        sent = [Sent(b"k", value) for value in values]

        def produce() -> None:
            self.model.produce(both.identity, both.who, self.topic, partition, sequence, sent)
            both.sequences[partition] = sequence

        return await self._same("send", both, both.real.send([(self.topic, partition, batch)]), produce)

    async def end(self, both: Both, *, commit: bool) -> bool:
        """Ends the transaction."""
        both.open = False
        doing = both.real.commit() if commit else both.real.abort()
        worked = await self._same(
            "commit" if commit else "abort", both, doing, lambda: self.model.end(both.identity, both.who, commit=commit)
        )
        # A broker answers first and writes the marks of the end later: what another one sends now might come before them.
        await self._read("read_uncommitted")
        return worked

    async def crash(self, both: Both) -> None:
        """Its connections end, and nothing is said."""
        del self.producers[both.identity]
        await both.real.discard()
        self.said.append(f"crash {both.identity}")

    async def _same(self, what: str, both: Both, doing: object, model: object) -> bool:
        real_worked = model_worked = True
        try:
            await doing  # type: ignore[misc]
        except SinkFault:
            real_worked = False
        try:
            model()  # type: ignore[operator]
        except Refused:
            model_worked = False
        self.said.append(f"{what} {both.identity} {both.who}: {model_worked}")
        assert real_worked == model_worked, self.said
        return real_worked

    async def read(self) -> int:
        """Both kinds of readers of both sides see the same. Returns how many are committed."""
        await self._read("read_uncommitted")
        committed = await self._read("read_committed")
        self.said.append("read")
        return committed

    async def _read(self, kind: Isolation) -> int:
        """A broker may take a moment to decide. Returns how many such readers see."""
        wanted = {}
        for number in range(PARTITIONS):
            records, end = self.model.partition(self.topic, number).read(0, kind)
            wanted[number] = ([(one.offset, one.sent.value) for one in records], end)
        deadline = time.monotonic() + DEADLINE
        while (found := await seen(self.config, self.topic, kind)) != wanted:
            assert time.monotonic() < deadline, f"{kind}: {found} instead of {wanted}: {self.said}"
            await asyncio.sleep(0.1)
        return sum(len(records) for records, _ in wanted.values())


async def seen(config: Config, topic: str, isolation: Isolation) -> dict[int, tuple[list[tuple[int, bytes]], int]]:
    """By partition: what a reader gets, with offsets, and where it goes on."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=list(config.bootstrap_servers), group_id=None, enable_auto_commit=False,
        isolation_level=isolation, fetch_max_wait_ms=50,
    )  # fmt: skip
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(partitions)
        found: dict[int, list[tuple[int, bytes]]] = {one.partition: [] for one in partitions}
        async with asyncio.timeout(DEADLINE):
            while any([await consumer.position(one) < ends[one] for one in partitions]):
                for one, records in (await consumer.getmany(timeout_ms=100)).items():
                    found[one.partition] += [(record.offset, record.value) for record in records]
        return {one.partition: (found[one.partition], ends[one]) for one in partitions}
    finally:
        await discard_consumer(consumer)


@pytest.mark.parametrize("seed", range(1, 5))
async def test_readers_of_the_model_and_of_a_broker_see_the_same(broker: Broker, prefix: str, seed: int) -> None:
    config = kafka_config(broker.bootstrap, prefix, partitions=PARTITIONS, transaction_timeout=f"{TIMEOUT}s")
    topic = config.topics.call
    await prepare(config, config.connection(), 1, [topic])
    model = Model(time.monotonic)
    model.create(topic, PARTITIONS)
    sides = Sides(config, model, random.Random(seed), topic)
    try:
        committed = await many_steps(sides)
    finally:
        for both in (*sides.producers.values(), *sides.fenced):
            await both.real.discard()
    print(f"seed {seed}: {sides.numbers} sent, {committed} committed, {' '.join(sides.said)}")
    assert 0 < committed < sides.numbers


async def many_steps(sides: Sides) -> int:
    """At random; in the end every transaction is ended by a new producer of its name."""
    rnd, names = sides.rnd, (f"{sides.topic}.a", f"{sides.topic}.b")
    for name in names:
        await sides.start(name)
    for _ in range(STEPS):
        both = sides.producers.get(rnd.choice(names))
        what = rnd.choices(("send", "commit", "abort", "start", "crash", "zombie", "read"), (9, 4, 2, 2, 1, 3, 2))[0]
        if both is None or what == "start":
            await sides.start(both.identity if both is not None else rnd.choice(names))
        elif what == "crash":
            await sides.crash(both)
        elif what == "zombie" and sides.fenced:
            zombie = sides.fenced.pop()
            worked = await (
                sides.send(zombie) if rnd.random() < 0.6 or not zombie.open else sides.end(zombie, commit=True)
            )
            assert not worked, sides.said
            await zombie.real.discard()
        elif what == "read":
            await sides.read()
        elif both.open and what in {"commit", "abort"}:
            assert await sides.end(both, commit=what == "commit")
        else:
            assert await sides.send(both)
    for name in names:
        await sides.start(name)
    return await sides.read()
