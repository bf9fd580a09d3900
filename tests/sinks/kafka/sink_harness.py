"""How the conformance suite builds a Kafka sink, makes it fail, and reads what it has sent."""

import asyncio
from contextlib import suppress
from typing import Any, Self

from kafka_broker import kafka_config, read_all

from poller.options import SinkOptions
from poller.simulate.broker import free_port
from poller.sinks.kafka import Config, build

needs = "broker"


class Harness:
    """Asks for the brokers at a port of its own, where nobody listens as long as it is to fail."""

    def __init__(self, broker: Any, prefix: str, **options: Any) -> None:
        self.port, self.broker = free_port(), broker.bootstrap
        self.config = kafka_config(f"127.0.0.1:{self.port}", prefix, start_from="earliest", **options)
        self.sink = build("subject", self.config, shards=1)
        self.server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sink.close()
        await self.fail()

    async def fail(self) -> None:
        """Nobody listens."""
        if self.server is not None:
            self.server.close()
            self.server = None

    async def mend(self) -> None:
        self.server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)

    def failed(self, delivery: Any) -> bool:
        return delivery.error is not None

    async def bodies(self) -> list[bytes]:
        return [record.value for record in await read_all(self.broker, [self.config.topics.call])]

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.broker.rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))
        try:
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            back.transport.abort()
            writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


def with_secrets(given: Any) -> SinkOptions:
    """Settings with every secret that the kind has."""
    security = {"protocol": "SASL_SSL", "username": "u", "password": given, "key_password": given}
    whole = {"kind": "kafka", "bootstrap_servers": ["broker.example:9093"], "security": security}
    return Config.model_validate(whole, context={"literals": True})
