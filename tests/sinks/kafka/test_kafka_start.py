"""A producer that the brokers do not let start."""

import asyncio

import pytest
from kafka_broker import kafka_config

from poller.errors import SinkRefused
from poller.simulate.broker import Broker
from poller.sinks.kafka import build

pytestmark = [pytest.mark.kafka, pytest.mark.anyio]


async def test_a_producer_that_may_not_start_leaves_nothing_behind(broker: Broker, prefix: str) -> None:
    """Brokers take transactions of 15 minutes at most (transaction.max.timeout.ms)."""
    config = kafka_config(broker.bootstrap, prefix, transaction_timeout="1h")
    before = asyncio.all_tasks()
    with pytest.raises(SinkRefused, match=r"starting the producer: .*InvalidTransactionTimeout"):
        await build("kafka", config, shards=1).lane(0)
    assert asyncio.all_tasks() <= before
