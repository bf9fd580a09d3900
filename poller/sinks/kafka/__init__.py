"""Kafka: exactly once by default. Consumers must read with `isolation.level=read_committed`."""

from poller.sinks.kafka.config import Config
from poller.sinks.kafka.sink import KafkaSink

__all__ = ["Config", "build"]


def build(name: str, config: Config, *, shards: int) -> KafkaSink:
    """A sink of this name over a store with that many shards. Connects to nothing yet."""
    return KafkaSink(name, config, shards=shards)
