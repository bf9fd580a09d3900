"""One shard's way into Kafka, from taking it over until the first fault."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from poller.errors import SinkFault
from poller.event import WINDOW
from poller.model import DeadEvent, Position, Progress, Segment
from poller.outgoing import Outgoing, dead_id, for_sink
from poller.protocols import Published, Sent
from poller.segment import end, unpack
from poller.sinks.kafka.batch import record
from poller.sinks.kafka.config import Config
from poller.sinks.kafka.faults import BatchTooLarge
from poller.sinks.kafka.partition import hashes_of
from poller.sinks.kafka.producer import Batch, Producer
from poller.sinks.kafka.reading import Reading
from poller.sinks.kafka.records import Constants, Entry, Identity, encoded, pack_progress
from poller.sinks.kafka.topics import Limits

Open = Callable[[], Awaitable[tuple[Producer, Limits]]]
"""Opens a new producer for the lane, with the limits read anew."""


class KafkaLane:
    """Sends whole segments. `identity`: where its progress is kept, None for at least once."""

    def __init__(
        self,
        sink: str,
        shard: int,
        config: Config,
        identity: Identity | None,
        open_producer: Open,
        reading: Reading,
        *,
        shards: int = 0,
    ) -> None:
        """`shards`: of the store, as its progress says it."""
        self._sink = sink
        self._shard = shard
        self._shards = shards
        self._config = config
        self._identity = identity
        self._open = open_producer
        self._reading = reading
        self._producer: Producer | None = None
        self._limits: Limits | None = None
        self._outgoing = Outgoing(vendor=config.vendor == "include", mask_numbers=config.mask_numbers)
        self._constants = Constants(config.topics.of)
        self._dead: set[int] = set()
        self.progress: Progress | None = None

    async def start(self) -> None:
        """Fences, then reads the progress. Raises SinkFault or SinkRefused; the lane is closed then."""
        try:
            self._producer, self._limits = await self._open()
            if self._identity is not None:
                self.progress = await self._reading.progress(self._identity, self._shard)
        except BaseException:
            await self.close()
            raise

    async def send(self, segments: Sequence[Segment]) -> Sent:
        """One transaction: the events of the segments and one progress record.

        Too large an event is named in `dead`, and nothing is sent; called again, the lane leaves out what it has named.
        Raises SinkFault or SinkRefused; whether the transaction took place is then known only to the progress record.
        """
        position = end(segments[-1])
        entries = self._entries(segments)
        try:
            try:
                await self._transaction(self._batches(entries), position)
            except BatchTooLarge as error:
                before = self.progress.position if self.progress is not None else Position()
                return Sent(before, await self._name_dead(entries, error))
        except BaseException:
            await self.close()
            raise
        self._dead.clear()
        return Sent(position, [])

    async def note(self, position: Position, *, moved: str | None = None) -> None:
        """A transaction of progress records alone: our own, and the one that the work goes on from."""
        if self._identity is None:
            return
        try:
            await self._transaction([], position, moved)
        except BaseException:
            await self.close()
            raise

    def published(self, since: float | None) -> AsyncIterator[Published]:
        """What is in the event topics, read_committed, up to the stable end."""
        limits = self._limits
        assert limits is not None, "a lane that was never started"  # noqa: S101 the sink hands out started lanes only
        topics = {topic: limits.partitions[topic] for topic in self._config.event_topics}
        return self._reading.published(topics, since)

    async def close(self) -> None:
        """Bounded; never raises."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.discard()

    def _entries(self, segments: Sequence[Segment]) -> list[Entry]:
        """What is meant for this sink and not named in `dead`. It may have asked for windows before, and has no topic for them any more."""
        out: list[Entry] = []
        sink, windows, dead = self._sink, self._config.windows, self._dead
        for segment in segments:
            numbered = enumerate(unpack(segment), segment.first)
            out += [
                Entry(seq, one)
                for seq, one in numbered
                if for_sink(one, sink) and (windows or one.type != WINDOW) and seq not in dead
            ]
        return out

    # --- sending -----------------------------------------------------------------------------------------------------

    async def _transaction(self, batches: list[Batch], position: Position, moved: str | None = None) -> None:
        producer = self._ready()
        if self._identity is None:
            await producer.send(batches)
            return
        progress = Progress(position, time.time(), moved, self._shards)
        noted = []
        # A progress topic that is no longer there, or has nothing of ours, is left as it is.
        if self.progress is not None or self._identity.topic == self._config.progress_topic:
            noted.append(self._record(self._identity, progress))
        if moved is not None:
            noted.append(self._record(Identity.of(moved), Progress(position, progress.at, shards=self._shards)))
        await producer.begin()
        await producer.send([*batches, *noted])
        await producer.commit()
        self.progress = progress

    def _record(self, identity: Identity, progress: Progress) -> Batch:
        batch = self._ready().batch(int(progress.at * 1000))
        batch.append(record(identity.id.encode(), pack_progress(progress)))
        return identity.topic, self._shard, batch

    def _ready(self) -> Producer:
        if self._producer is None:
            raise SinkFault("Kafka: this lane has failed before")
        return self._producer

    def _batches(self, entries: Sequence[Entry]) -> list[Batch]:
        """Record batches by topic and partition, none larger than the topics take unless one record alone is.

        A producer keeps one batch of a partition in flight: batches of different partitions take turns.
        """
        producer, limits = self._ready(), self._limits
        assert limits is not None, "a lane that was never started"  # noqa: S101 as above
        fixed, counts, at = self._constants.of, limits.partitions, int(time.time() * 1000)
        out: dict[tuple[str, int], list[Batch]] = {}
        topics: list[str] = []
        keys: list[bytes] = []
        records: list[bytes] = []
        for entry in entries:  # once: what is looked at twice is out of the processor's cache by then
            event = self._outgoing.event(entry.event)
            key = event.key.encode("utf-8", "replace")
            topic, constant = fixed(event.type, event.source)
            topics.append(topic)
            keys.append(key)
            records.append(encoded(constant, entry.seq, event, key))
        for topic, hashed, one in zip(topics, hashes_of(keys), records, strict=True):
            place = (topic, hashed % counts[topic])
            filling = out.get(place)
            if filling is None:
                filling = out[place] = [(*place, producer.batch(at))]
            if not filling[-1][2].append(one):
                filling.append((*place, producer.batch(at)))
                filling[-1][2].append(one)
        turns = max(map(len, out.values()), default=0)
        return [batches[turn] for turn in range(turns) for batches in out.values() if turn < len(batches)]

    # --- too large ---------------------------------------------------------------------------------------------------

    async def _name_dead(self, entries: list[Entry], error: BatchTooLarge) -> list[DeadEvent]:
        """Finds the events that the brokers refuse for their size. A refused batch spoils the producer: each try has a new one."""
        await self._anew()
        assert self._limits is not None, "a lane that was never started"  # noqa: S101 as above
        largest = self._limits.largest
        suspects = [entry for entry in entries if len(entry.event.body) > largest // 2] or entries
        found = await self._refused(suspects)
        if not found:  # the suspicion was wrong, or the topic has got a new limit
            found = await self._refused(entries)
        if not found:
            raise SinkFault(f"{error}; each event alone is taken")
        self._dead |= {entry.seq for entry in found}
        return [self._letter(entry, error) for entry in found]

    async def _refused(self, entries: list[Entry]) -> list[Entry]:
        """Halves down to the single events that are refused."""
        if not entries or await self._taken(entries):
            return []
        if len(entries) == 1:
            return entries
        middle = len(entries) // 2
        return [*await self._refused(entries[:middle]), *await self._refused(entries[middle:])]

    async def _taken(self, entries: list[Entry]) -> bool:
        """Whether the brokers take these events; in a transaction that is never committed."""
        producer = self._ready()
        try:
            if producer.transactional:
                await producer.begin()
            await producer.send(self._batches(entries))
            if producer.transactional:
                await producer.abort()
        except BatchTooLarge:
            await self._anew()
            return False
        return True

    async def _anew(self) -> None:
        await self.close()
        self._producer, self._limits = await self._open()

    def _letter(self, entry: Entry, error: BatchTooLarge) -> DeadEvent:
        return DeadEvent(
            id=dead_id(self._sink, self._shard, entry.seq, entry.event.id),
            sink=self._sink,
            shard=self._shard,
            seq=entry.seq,
            reason="too_large",
            error=f"{len(entry.event.body)} bytes: {error}; raise the topic's max.message.bytes, then retry",
            event=entry.event,
            at=time.time(),
        )
