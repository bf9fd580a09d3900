"""What a consumer gets of a batch: read by the client library, which knows nothing of how it was made."""

from typing import Any

from aiokafka.record.memory_records import MemoryRecords

from poller.model import Event
from poller.sinks.kafka.batch import RecordBatch
from poller.sinks.kafka.records import Constants, encoded


def sent(batch: RecordBatch) -> list[Any]:
    """The records: `offset`, `timestamp`, `key`, `value`, `headers`."""
    found = MemoryRecords(bytes(batch._build())).next_batch()
    assert found is not None
    assert found.validate_crc()
    return list(found)


def sent_headers(constants: Constants, seq: int, event: Event, key: bytes) -> dict[str, bytes]:
    """Of one event."""
    batch = RecordBatch(1 << 20, "none", transactional=False, at=0)
    _, constant = constants.of(event.type, event.source)
    assert batch.append(encoded(constant, seq, event, key))
    (one,) = sent(batch)
    assert (one.key, one.value) == (key, event.body)
    found = dict(one.headers)
    assert len(found) == len(one.headers)
    return found
