"""The fast partitioner is the library's own, and so the Java client's."""

from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as slow
from hypothesis import given
from hypothesis import strategies as st

from poller.sinks.kafka.partition import murmur2, partition_of


@given(st.binary(max_size=400))
def test_same_hash(data: bytes) -> None:
    assert murmur2(data) == slow(data)


@given(st.binary(min_size=1, max_size=64), st.integers(1, 100))
def test_same_partition(key: bytes, count: int) -> None:
    assert partition_of(key, count) == DefaultPartitioner()(key, list(range(count)), list(range(count)))
