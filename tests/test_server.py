"""/metrics, /livez and /readyz on a real socket."""

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
import httpx
import pytest
from anyio.abc import TaskGroup
from fake_clock import FakeClock
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from poller.clock import Clock, SystemClock
from poller.errors import ConfigError
from poller.metrics import SLICE, Metrics
from poller.server import METRICS_TYPE, Heartbeat, listening, pages, serve, split_listen
from poller.serving import answer

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(
    metrics: Metrics, ready: dict[str, bool], clock: Clock | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, TaskGroup]]:
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(
            lambda *, task_status: serve(
                "127.0.0.1:0", metrics, lambda: ready, clock=clock or SystemClock(), task_status=task_status
            )
        )
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield client, tasks
        tasks.cancel_scope.cancel()


async def test_ready_says_what_is_missing() -> None:
    ready = {"config": True, "store": False}
    async with running(Metrics(), ready) as (client, _):
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"ready": False, "waiting_for": ["store"]})
        ready["store"] = True
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"ready": True, "waiting_for": []})
        assert (await client.get("/elsewhere")).status_code == 404
        assert (await client.post("/readyz")).status_code == 405


async def test_alive_is_the_heartbeat_alone() -> None:
    clock = FakeClock()
    async with running(Metrics(), {"store": False}, clock) as (client, _):
        assert (await client.get("/livez")).status_code == 200
        clock.time += 11  # the loop was held: nobody woke
        answer = await client.get("/livez")
        assert answer.status_code == 503
        assert answer.json()["heartbeat_age_seconds"] >= 11
        await clock.advance(1)
        assert (await client.get("/livez")).status_code == 200


async def test_the_heartbeat_measures_how_late_it_wakes() -> None:
    clock = FakeClock()
    metrics = Metrics()
    async with running(metrics, {}, clock):
        await clock.advance(1)
        clock.time += 3
        await clock.advance(1)
    text = b"".join(metrics.write()).decode()
    assert 'poller_loop_lag_seconds_bucket{le="1.0"} 2.0' in text  # the first one and the one after the long one
    assert 'poller_loop_lag_seconds_bucket{le="5.0"} 3.0' in text


async def test_metrics_are_the_text_format() -> None:
    metrics = Metrics()
    metrics.declare("mor", "mor.user_calls")
    async with running(metrics, {}) as (client, _):
        answer = await client.get("/metrics")
    assert answer.headers["content-type"] == METRICS_TYPE
    families = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"poller_polls", "poller_loop_lag_seconds", "poller_build_info"} <= families


async def test_a_scrape_of_little_is_one_slice() -> None:
    """Each is handed from a thread to the loop and sent by itself, which costs more than to write a short one."""
    metrics = Metrics()
    metrics.declare("mor", "mor.user_calls")
    pieces = list(metrics.write())
    assert sum(map(len, pieces)) < SLICE * 2
    assert len(pieces) <= 2


@pytest.mark.parametrize(("version", "mark"), [("1.0", b"content-length: "), ("1.1", b"transfer-encoding: chunked")])
async def test_a_scrape_that_is_cut_short_can_be_told(version: str, mark: bytes) -> None:
    async with (
        running(Metrics(), {}) as (client, _),
        await anyio.connect_tcp("127.0.0.1", client.base_url.port or 0) as asking,
    ):
        await asking.send(f"GET /metrics HTTP/{version}\r\nhost: here\r\nconnection: close\r\n\r\n".encode())
        with anyio.fail_after(30):
            head, _, body = b"".join([part async for part in asking]).partition(b"\r\n\r\n")
    assert mark in head.lower()
    if version == "1.0":
        assert f"content-length: {len(body)}".encode() in head.lower()
    assert b"poller_build_info" in body


async def test_a_scrape_is_written_off_the_loop_in_short_slices() -> None:
    """What keeps a scrape from delaying a poll: another thread, and no slice that holds the interpreter for long."""
    where: list[int] = []

    class Watched(Metrics):
        def write(self) -> Iterator[bytes]:
            for piece in super().write():
                where.append(threading.get_ident())
                yield piece

    metrics = Watched()
    for at in range(1000):
        metrics.declare(f"source-{at}", "mor.user_calls")
    async with running(metrics, {}) as (client, _):
        answer = await client.get("/metrics")
    assert answer.text.count("\n") > 25_000
    assert len(where) > 50
    assert threading.get_ident() not in where
    assert max(text.count("\n") for table in metrics.tables for text in table.write()) <= 500


async def test_metrics_that_take_too_long_are_none() -> None:
    """Half of them would look like all of them."""

    class Endless(Metrics):
        def write(self) -> Iterator[bytes]:
            while True:
                yield from super().write()

    metrics, clock = Endless(), FakeClock()
    transport = httpx.ASGITransport(pages(metrics, Heartbeat(clock, metrics), dict, longest=0.2))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        answer = await client.get("/metrics")
    assert answer.text.endswith("the metrics could not be written in time\n")
    with pytest.raises(ValueError, match="could not convert"):
        list(text_string_to_metric_families(answer.text))


async def test_the_socket_is_free_again_and_no_thread_or_task_stays() -> None:
    before = threading.active_count()
    async with running(Metrics(), {}) as (client, _):
        port = client.base_url.port
        assert (await client.get("/livez")).status_code == 200
    with listening(f"127.0.0.1:{port}"):
        assert threading.active_count() <= before + 1  # anyio keeps idle workers


async def test_a_client_that_never_finishes_does_not_hold_the_end_up() -> None:
    with anyio.fail_after(120):
        async with running(Metrics(), {}) as (client, _):
            assert client.base_url.port is not None
            stream = await anyio.connect_tcp("127.0.0.1", client.base_url.port)
            await stream.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        await stream.aclose()


@pytest.mark.parametrize("said", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half a request"])
async def test_a_connection_that_asks_nothing_is_closed(said: bytes) -> None:
    """One that has asked and waits for its answer is not."""
    app = pages(Metrics(), Heartbeat(SystemClock(), Metrics()), dict)
    asked = anyio.Event()

    async def slow(_: Request) -> Response:
        await asked.wait()
        return Response("late")

    app.router.routes.append(Route("/slow", slow))
    with anyio.fail_after(120), listening("127.0.0.1:0") as there:
        async with anyio.create_task_group() as tasks:
            port = await tasks.start(partial(answer, app, there, tick=0.05))
            waits = await anyio.connect_tcp("127.0.0.1", port)
            await waits.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            silent = await anyio.connect_tcp("127.0.0.1", port)
            if said:
                await silent.send(said)
            with pytest.raises(anyio.EndOfStream):
                await silent.receive()
            asked.set()
            assert (await waits.receive()).startswith(b"HTTP/1.1 200")
            await waits.aclose()
            await silent.aclose()
            tasks.cancel_scope.cancel()


async def test_a_port_in_use_is_a_clear_sentence() -> None:
    with listening("127.0.0.1:0") as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"cannot listen at {address}.*Is another daemon running"):
            await serve(address, Metrics(), dict, clock=SystemClock())


@pytest.mark.parametrize("wrong", ["9464", ":9464", "host", "host:99999", "host:x", ""])
def test_an_address_that_is_none(wrong: str) -> None:
    with pytest.raises(ConfigError, match="write host:port"):
        split_listen(wrong)


def test_addresses() -> None:
    assert split_listen("0.0.0.0:1") == ("0.0.0.0", 1)
    assert split_listen("[::1]:9464") == ("::1", 9464)
