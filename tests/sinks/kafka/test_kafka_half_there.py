"""Brokers that listen and are not of any use yet: written down byte by byte, since a real one is like that for a moment only."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from aiokafka.protocol.admin import CreateTopicsRequest
from aiokafka.protocol.metadata import MetadataRequest, MetadataResponse_v1
from aiokafka.protocol.offset import OffsetRequest, OffsetResponse_v2
from kafka_broker import kafka_config

from poller.errors import SinkFault
from poller.simulate.broker import free_port
from poller.sinks.kafka import build
from poller.sinks.kafka.reading import Reading
from poller.sinks.kafka.records import Identity
from poller.sinks.kafka.tail import tail

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_behind")]

VERSIONS = 18
METADATA = MetadataRequest.API_KEY
CREATE = CreateTopicsRequest.API_KEY
OFFSETS = OffsetRequest.API_KEY
NO_TOPIC = 3
TOPICS = ("p.calls", "p.recordings")

Answer = Callable[[int, int], Awaitable[bytes]]
"""The body of the answer to a request, by its key and the broker's port."""


def versions() -> bytes:
    """Every request that is used here, in its first version; metadata in the one that names a controller."""
    ranges = [(VERSIONS, 0, 0), (METADATA, 0, 1), (CREATE, 0, 0), (OFFSETS, 0, 2)]
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


def connected(key: int, port: int, *names: str) -> bytes | None:
    """What it says as others do, until somebody who has found these topics asks more: None."""
    if key == VERSIONS:
        return versions()
    return named(port, *names) if key == METADATA else None


def named(port: int, *names: str) -> bytes:
    """These topics, or both, with one partition each."""
    topics = [(0, topic, False, [(0, 0, 1, [1], [1])]) for topic in names or TOPICS]
    return bytes(MetadataResponse_v1([(1, "127.0.0.1", port, None)], 1, topics).encode())


async def test_one_that_never_says_how_far_transactions_are_decided_is_a_fault_like_others() -> None:
    """The wait for strangers' transactions is over as soon as the answer is late, and there is no partition to name."""
    asked, released = 0, asyncio.Event()

    async def answer(key: int, port: int) -> bytes:
        nonlocal asked
        if (said := connected(key, port, "p.progress")) is not None:
            return said
        asked += 1
        if asked > 1:  # the first one asks how far the topic goes
            await released.wait()
            raise ConnectionError
        return bytes(OffsetResponse_v2(0, [("p.progress", [(0, 0, -1, 7)])]).encode())

    async with broker(answer) as address:
        config = kafka_config(address, "p", request_timeout="2s")
        with pytest.raises(SinkFault, match="reading the stable ends of topics: no answer within 2 seconds"):
            await Reading(config, config.connection()).progress(Identity("p.kafka.0", config.progress_topic), 0)
        released.set()
    assert asked == 2


async def test_one_that_goes_away_while_a_consumer_asks_for_its_partitions_is_asked_again() -> None:
    """The library's own subscription would wait for five minutes, and a demo would end without an event."""
    asked, looked = 0, asyncio.Event()

    async def answer(key: int, port: int) -> bytes:
        nonlocal asked
        if key == VERSIONS:
            return versions()
        if key == OFFSETS:
            looked.set()
            raise ConnectionError
        asked += 1
        if 3 <= asked <= 5:  # it has connected and found the topics; now it learns who leads them
            raise ConnectionError
        return named(port)

    async with broker(answer) as address, tail(address, TOPICS) as reader:
        with anyio.fail_after(60):
            while not looked.is_set():
                await reader.read()
    assert asked >= 5


async def test_one_that_never_answers_a_consumer_gets_another_one() -> None:
    asked, released = 0, asyncio.Event()

    async def answer(key: int, port: int) -> bytes:
        nonlocal asked
        if (said := connected(key, port)) is not None:
            return said
        asked += 1
        await released.wait()
        raise ConnectionError

    async with broker(answer) as address, tail(address, TOPICS, stale=0.5) as reader:
        with anyio.fail_after(30):  # the library itself waits for 40 seconds
            while asked < 2:
                assert await reader.read() == []
        released.set()


async def test_a_consumer_is_at_the_end_of_topics_that_are_not_there_and_never_while_nobody_answers() -> None:
    async def answer(key: int, port: int) -> bytes:
        if key == VERSIONS:
            return versions()
        return bytes(MetadataResponse_v1([(1, "127.0.0.1", port, None)], 1, []).encode())

    async with broker(answer) as address, tail(address, TOPICS) as reader:
        assert await reader.at_end()
        assert await reader.read() == []
        assert reader.fault == "the topics are not there yet"
    async with tail(address, TOPICS) as reader:
        assert not await reader.at_end()
        assert await reader.read() == []
        assert "Unable to bootstrap" in reader.fault


async def test_one_that_is_lost_before_a_consumer_has_started_takes_no_other_task_with_it() -> None:
    """Of a consumer that never started only some parts are there, and tasks of plain functions belong to none of them."""
    config = kafka_config(f"127.0.0.1:{free_port()}", "p")

    async def somebody_else() -> None:
        await asyncio.Event().wait()

    other = asyncio.create_task(somebody_else())
    await asyncio.sleep(0)
    with pytest.raises(SinkFault, match="connecting"):
        await Reading(config, config.connection()).progress(Identity("p.kafka.0", config.progress_topic), 0)
    assert not other.cancelling()
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other
