"""A progress topic that was made for one shard, when a store with more takes over."""

import pytest
from kafka_broker import kafka_config

from poller.errors import SinkRefused
from poller.simulate.broker import Broker
from poller.sinks.kafka import build

pytestmark = [pytest.mark.kafka, pytest.mark.anyio]


async def test_it_is_widened_only_by_who_may_and_only_when_asked(broker: Broker, prefix: str) -> None:
    alone = await build("kafka", kafka_config(broker.bootstrap, prefix), shards=1).lane(0)
    await alone.close()
    config = kafka_config(broker.bootstrap, prefix)
    sink = build("kafka", config, shards=4)
    with pytest.raises(SinkRefused, match="has 1 partitions for 4 shards"):
        await sink.lane(3)
    strict = build("kafka", kafka_config(broker.bootstrap, prefix, create_topics=False), shards=4)
    with pytest.raises(SinkRefused, match="has 1 partitions for 4 shards: add partitions"):
        await strict.widen()
    await sink.widen()
    await sink.widen()
    lane = await sink.lane(3)
    assert lane.progress is None
    await lane.close()
