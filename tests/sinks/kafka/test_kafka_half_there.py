"""Brokers that listen and are not of any use yet: written down byte by byte, since a real one is like that for a moment only."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka.protocol.admin import CreateTopicsRequest
from aiokafka.protocol.metadata import MetadataRequest, MetadataResponse_v1
from kafka_broker import kafka_config

from poller.errors import SinkFault
from poller.sinks.kafka import build

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_behind")]

VERSIONS = 18
METADATA = MetadataRequest.API_KEY
CREATE = CreateTopicsRequest.API_KEY
NO_TOPIC = 3

Answer = Callable[[int, int], Awaitable[bytes]]
"""The body of the answer to a request, by its key and the broker's port."""


def versions() -> bytes:
    """Every request that is used here, in its first version; metadata in the one that names a controller."""
    ranges = [(VERSIONS, 0, 0), (METADATA, 0, 1), (CREATE, 0, 0)]
    return struct.pack(">hi", 0, len(ranges)) + b"".join(struct.pack(">hhh", *each) for each in ranges)


@asynccontextmanager
async def broker(answer: Answer) -> AsyncIterator[str]:
    """Its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(4))
                request = await reader.readexactly(size)
                body = request[4:8] + await answer(int.from_bytes(request[:2]), port)
                writer.write(len(body).to_bytes(4) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.close()
        await server.wait_closed()


async def test_one_that_is_too_slow_to_name_the_brokers_leaves_no_connection_open() -> None:
    released = asyncio.Event()

    async def answer(key: int, _: int) -> bytes:
        if key == VERSIONS:
            return versions()
        await released.wait()
        raise ConnectionError

    async with broker(answer) as address:
        with pytest.raises(SinkFault, match=r"connecting: no answer within 0.5 seconds"):
            await build("kafka", kafka_config(address, "p", request_timeout="500ms"), shards=1).lane(0)
        released.set()


async def test_one_that_knows_no_controller_is_a_fault_like_others() -> None:
    async def answer(key: int, port: int) -> bytes:
        if key == VERSIONS:
            return versions()
        topics: list[tuple[int, str, bool, list[object]]] = [
            (NO_TOPIC, f"p.{name}", False, []) for name in ("calls", "recordings", "progress")
        ]
        answered = MetadataResponse_v1([(1, "127.0.0.1", port, None)], -1, topics)
        return bytes(answered.encode())

    async with broker(answer) as address:
        with pytest.raises(SinkFault, match="no controller at the moment"):
            await build("kafka", kafka_config(address, "p", request_timeout="10s"), shards=1).lane(0)
