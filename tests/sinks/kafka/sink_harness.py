"""How the conformance suite builds a Kafka sink and reads what it has sent."""

from typing import Any

from kafka_broker import kafka_config, read_all

from poller.sinks.kafka import build

needs = "broker"


class Harness:
    def __init__(self, broker: Any, prefix: str, **options: Any) -> None:
        self.config = kafka_config(broker.bootstrap, prefix, **options)
        self.bootstrap = broker.bootstrap
        self.sink = build("subject", self.config, shards=1)

    async def bodies(self) -> list[bytes]:
        return [record.value for record in await read_all(self.bootstrap, [self.config.topics.call])]
