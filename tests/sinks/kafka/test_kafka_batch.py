"""Batches are, byte for byte, what the client library would make of the same records; a consumer reads back what was meant."""

from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from delivery_events import call_event
from hypothesis import example, given
from hypothesis import strategies as st
from kafka_records import sent, sent_headers
from msgspec import structs

from poller.event import CONTENT_TYPE
from poller.outgoing import recorded_time
from poller.sinks.kafka.batch import RecordBatch, header, record, varint
from poller.sinks.kafka.records import SEEN, Constants, unpack_seen

Headers = list[tuple[str, bytes]]
RECORDS = st.lists(
    st.tuples(
        st.binary(max_size=300),
        st.binary(max_size=300),
        st.lists(st.tuples(st.text(st.characters(codec="ascii"), max_size=20), st.binary(max_size=90)), max_size=14),
    ),
    min_size=1,
    max_size=80,
)


def by_library(records: list[tuple[bytes, bytes, Headers]], *, transactional: bool) -> bytes:
    """The library's bytes of all of them."""
    builder = DefaultRecordBatchBuilder(
        2, 0, is_transactional=transactional, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 30
    )
    for count, (key, value, headers) in enumerate(records):
        builder.append(count, 1_700_000_000_123, key, value, headers)
    builder.set_producer_state(77, 3, 1234)
    return bytes(builder.build())


def ours(
    records: list[tuple[bytes, bytes, Headers]], limit: int, *, transactional: bool, compression: str = "none"
) -> tuple[RecordBatch, int]:
    """The same of ours."""
    batch = RecordBatch(limit, compression, transactional=transactional, at=1_700_000_000_123)
    for key, value, headers in records:
        if not batch.append(record(key, value, *(header(name, text) for name, text in headers))):
            break
    batch._set_producer_state(77, 3, 1234)
    return batch, batch.record_count()


@given(RECORDS, st.booleans())
def test_the_library_makes_the_same(records: list[tuple[bytes, bytes, Headers]], transactional: bool) -> None:
    batch, count = ours(records, 1 << 30, transactional=transactional)
    assert count == len(records)
    assert bytes(batch._build()) == by_library(records, transactional=transactional)


@given(RECORDS, st.integers(100, 5_000))
@example([(b"k", b"v" * 20_000, [])], 100)
def test_a_batch_takes_what_its_limit_allows(records: list[tuple[bytes, bytes, Headers]], limit: int) -> None:
    batch, count = ours(records, limit, transactional=True)
    assert count == 1 or len(batch._build()) <= limit
    assert count == len(records) or len(by_library(records[: count + 1], transactional=True)) > limit


def test_more_records_than_have_a_beginning_at_hand() -> None:
    records: list[tuple[bytes, bytes, Headers]] = [(b"", b"%d" % number, []) for number in range(5000)]
    batch, _ = ours(records, 1 << 20, transactional=True)
    assert bytes(batch._build()) == by_library(records, transactional=True)


@pytest.mark.parametrize("compression", ["none", "lz4", "snappy", "zstd"])
def test_consumers_read_what_was_meant(compression: str) -> None:
    records: list[tuple[bytes, bytes, Headers]] = [
        (b"k%d" % n, b"value %d" % n * 9, [("n", b"%d" % n)]) for n in range(300)
    ]
    batch, _ = ours(records, 1 << 20, transactional=True, compression=compression)
    read = [(one.key, one.value, list(one.headers)) for one in sent(batch)]
    assert read == records
    assert {one.timestamp for one in sent(batch)} == {1_700_000_000_123}
    found: Any = MemoryRecords(batch._build()).next_batch()
    codes = {"none": 0, "snappy": 2, "lz4": 3, "zstd": 4}
    assert (found.compression_type, found.is_transactional, found.producer_id, found.base_sequence) == (
        codes[compression],
        True,
        77,
        1234,
    )
    assert compression == "none" or len(batch._build()) < sum(len(value) for _, value, _ in records) / 2


def test_what_compression_makes_larger_is_sent_as_it_is() -> None:
    records: list[tuple[bytes, bytes, Headers]] = [(b"k", b"v", [])]
    batch, _ = ours(records, 1000, transactional=False, compression="zstd")
    assert bytes(batch._build()) == by_library(records, transactional=False)


def test_a_batch_is_built_once_and_takes_nothing_afterwards() -> None:
    batch, _ = ours([(b"k", b"v", [])], 1000, transactional=True)
    built = batch._build()
    assert batch.closed()
    assert not batch.append(record(b"k", b"w"))
    assert batch._build() is built
    assert batch.record_count() == 1


@given(st.integers(0, 1 << 40))
def test_varints(number: int) -> None:
    value = shift = 0
    for byte in varint(number):
        value |= (byte & 0x7F) << shift
        shift += 7
    assert value == number << 1
    assert not varint(number)[-1] & 0x80


@pytest.mark.parametrize("time", [None, "2026-01-02T03:04:05Z"])
@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize("replay", [True, False])
def test_an_event_has_its_headers(time: str | None, remembered: bool, replay: bool) -> None:
    event = call_event("48221234567-1", 1)
    seen = event.seen if remembered else None
    event = structs.replace(event, time=time, seen=seen, replay=replay, subject="Ł\ud800")
    found = sent_headers(Constants(lambda _: "calls"), 12, event, b"48221234567-1")
    assert found == {
        "content-type": CONTENT_TYPE.encode(),
        "ce_specversion": b"1.0",
        "ce_datacontenttype": b"application/json",
        "ce_type": event.type.encode(),
        "ce_source": event.source.encode(),
        "ce_id": event.id.encode(),
        "ce_subject": "Ł?".encode(),
        "ce_sequence": b"00000000000000000012",
        "ce_recordedtime": recorded_time(event.body),
        "ce_partitionkey": b"48221234567-1",
        **({"ce_time": time.encode()} if time else {}),
        **({SEEN: found.get(SEEN, b"")} if remembered else {}),
        **({"poller-replay": b"true"} if replay else {}),
    }
    assert not remembered or unpack_seen(found[SEEN]) == event.seen
