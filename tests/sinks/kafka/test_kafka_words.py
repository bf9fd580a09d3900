"""What is said of the client library's errors."""

import pytest
from aiokafka import errors

from poller.errors import SinkFault
from poller.sinks.kafka.faults import mapped


@pytest.mark.anyio
async def test_what_lies_behind_an_unexpected_error_is_said() -> None:
    closed = errors.KafkaConnectionError("Connection at b:9092 closed")
    inner, outer = errors.KafkaError(repr(closed)), errors.KafkaError("Unexpected error during batch delivery")
    inner.__cause__, outer.__cause__ = closed, inner
    with pytest.raises(SinkFault) as raised, mapped("sending", 1):
        raise outer
    assert str(raised.value) == "Kafka: sending: KafkaConnectionError: Connection at b:9092 closed"


@pytest.mark.anyio
async def test_a_clock_that_the_brokers_refuse_is_said() -> None:
    with (
        pytest.raises(SinkFault, match="it is this machine's, and by theirs it is too far ahead"),
        mapped("sending", 1),
    ):
        raise errors.InvalidTimestampError
