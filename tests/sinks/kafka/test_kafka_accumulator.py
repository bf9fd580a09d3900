"""What the client library asks of a batch of ours, and what it sends where a broker has to be asked again: of the version that is installed."""

from typing import Any

import pytest
from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from poller.sinks.kafka.batch import RecordBatch, record

pytestmark = pytest.mark.anyio
PLACE = TopicPartition("calls", 3)
PUBLIC = {"record_count", "close", "closed"}


class Leader:
    """All that the library's queue asks of its cluster."""

    def leader_for_partition(self, _: TopicPartition) -> int:
        return 1


class Watched:
    """A batch of ours, and by which names it was asked."""

    def __init__(self, *values: bytes) -> None:
        self.batch = RecordBatch(1 << 20, "zstd", transactional=True, at=1_700_000_000_123)
        for value in values:
            assert self.batch.append(record(b"key", value))
        self.asked: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.asked.add(name)
        return getattr(self.batch, name)


def drained(queue: MessageAccumulator) -> MessageBatch:
    """What would be sent next."""
    nodes, _ = queue.drain_by_nodes(ignore_nodes=[])
    batch: MessageBatch = nodes[1][PLACE]
    return batch


def numbers(sent: bytes) -> tuple[int, int, int]:
    """The producer's number and epoch, and the first sequence."""
    found: Any = MemoryRecords(bytes(sent)).next_batch()
    assert found.validate_crc()
    return found.producer_id, found.producer_epoch, found.base_sequence


async def test_what_is_sent_again_is_the_same() -> None:
    known = TransactionManager("poller.main.0", 60_000)
    known.set_pid_and_epoch(77, 3)
    known.begin_transaction()
    queue = MessageAccumulator(Leader(), 16_384, 0, 30, txn_manager=known)
    first, second = Watched(b"one", b"two" * 100), Watched(b"three")

    outcome = await queue.add_batch(first, PLACE, 60)
    taken = drained(queue)
    sent = bytes(taken.get_data_buffer())
    assert numbers(sent) == (77, 3, 0)
    queue.reenqueue(taken)
    again = drained(queue)
    assert again is taken
    assert bytes(again.get_data_buffer()) == sent
    again.done(base_offset=5)
    assert (await outcome).offset == 5

    await queue.add_batch(second, PLACE, 60)
    following = drained(queue)
    assert numbers(bytes(following.get_data_buffer())) == (77, 3, 2)
    following.done_noack()
    await queue.flush_for_commit()
    assert first.asked | second.asked <= {*PUBLIC, "_set_producer_state", "_build"}
    assert {"_set_producer_state", "_build", "record_count"} <= first.asked


def test_numbers_that_come_too_late_are_not_dropped() -> None:
    batch = Watched(b"one").batch
    batch._set_producer_state(77, 3, 0)
    batch._build()
    with pytest.raises(RuntimeError):
        batch._set_producer_state(77, 4, 0)
