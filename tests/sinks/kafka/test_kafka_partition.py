"""The fast partitioner is the library's own, and so the Java client's."""

from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as slow
from delivery_events import call_event
from hypothesis import given
from hypothesis import strategies as st

from poller.sinks.kafka import build
from poller.sinks.kafka.config import Config
from poller.sinks.kafka.partition import hashes_of, murmur2


@given(st.binary(max_size=400))
def test_same_hash(data: bytes) -> None:
    assert murmur2(data) == slow(data)


@given(st.binary(min_size=1, max_size=64), st.integers(1, 100))
def test_same_partition(key: bytes, count: int) -> None:
    assert hashes_of([key])[0] % count == DefaultPartitioner()(key, list(range(count)), list(range(count)))


@given(st.lists(st.binary(max_size=70)) | st.lists(st.binary(min_size=24, max_size=26), min_size=50))
def test_many_keys_at_once(keys: list[bytes]) -> None:
    assert hashes_of(keys) == [slow(key) & 0x7FFFFFFF for key in keys]


def test_every_length_at_once() -> None:
    for size in range(70):
        keys = [bytes((place * 37 + byte * 11) % 256 for byte in range(size)) for place in range(9)]
        assert hashes_of(keys) == [slow(key) & 0x7FFFFFFF for key in keys]


def test_where_an_event_goes_is_said() -> None:
    event = call_event("48221234567-1", 1)
    for masked in (False, True):
        sink = build("kafka", Config(kind="kafka", bootstrap_servers=("k:9092",), mask_numbers=masked), shards=1)
        assert sink.place_of(event) == "topic telephony.calls, in the partition of its key"
        sink._partitions = {"telephony.calls": 8}
        key = b"48221234567-1" if not masked else b"********567-1"
        assert (
            sink.place_of(event)
            == f"topic telephony.calls, partition {DefaultPartitioner()(key, list(range(8)), list(range(8)))}"
        )
