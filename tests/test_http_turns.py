"""Turns at a host, its pace, and a pool that survives being cancelled."""

import random

import anyio
import pytest
from anyio.abc import ByteStream
from fake_clock import FakeClock, settle
from http_peer import Asked, answer, get, open_vendor, peer, saying

from poller.clock import SystemClock
from poller.errors import RateLimited
from poller.hosts import Host, Hosts, origin
from poller.http import BRIEF, IDLE
from poller.model import Request
from poller.options import Tls

pytestmark = pytest.mark.anyio


async def slow(_: Asked, stream: ByteStream) -> None:
    await anyio.sleep(0.02)
    await stream.send(answer(body=b"x"))


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_no_more_requests_at_a_time_than_configured(concurrency: int) -> None:
    async with (
        peer(slow) as server,
        open_vendor(server.url, concurrency=concurrency) as vendor,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(9):
            tasks.start_soon(get, vendor)
    assert server.most_at_once == concurrency


async def test_sources_on_one_host_share_its_turns_and_the_smallest_number_holds() -> None:
    hosts = Hosts(SystemClock())
    async with (
        peer(slow) as server,
        open_vendor(server.url, concurrency=8, hosts=hosts, name="a") as one,
        open_vendor(server.url, concurrency=2, hosts=hosts, name="b") as two,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(8):
            tasks.start_soon(get, one)
            tasks.start_soon(get, two)
    assert server.most_at_once == 2


async def test_the_pace_is_the_slowest_that_was_configured_and_kept_by_all() -> None:
    clock = FakeClock()
    host = Host(clock)
    host.claim(8, 10)
    host.claim(8, 2)
    host.claim(8, 5)
    host.claim(8, None)
    begun: list[float] = []

    async def one() -> None:
        async with host.turn():
            begun.append(clock.mono())

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(one)
        await settle()
        await clock.advance(10)
        await settle()
        tasks.start_soon(one)
    assert begun == [1000, 1000.5, 1001, 1001.5, 1002, 1010]


async def test_one_place_that_waits_for_its_pace_is_given_back_when_cancelled() -> None:
    clock = FakeClock()
    host = Host(clock)
    host.claim(1, 0.001)
    async with host.turn():
        pass
    with anyio.move_on_after(0.01):
        async with host.turn():
            pytest.fail("too early")
    host = Host(clock)
    with anyio.fail_after(120):
        async with host.turn():
            pass


def test_hosts_are_told_apart_by_scheme_name_and_port() -> None:
    assert origin("HTTPS://PBX.example/api") == origin("https://pbx.example:443") == "https://pbx.example:443"
    assert len({origin(f"{url}/x") for url in ("http://a", "https://a", "http://a:8080", "http://b")}) == 4
    for wrong in ("ftp://a", "/x", "http://", "//a/x", "http://a:port"):
        with pytest.raises(ValueError):
            origin(wrong)


def test_equal_tls_settings_share_one_context() -> None:
    hosts = Hosts(FakeClock())
    assert hosts.tls(Tls()) is hosts.tls(Tls())
    assert hosts.tls(Tls()) is not hosts.tls(Tls(verify=False))


async def test_cancelling_under_contention_leaves_the_pool_usable() -> None:
    rnd = random.Random(5)
    async with peer(slow) as server, open_vendor(server.url, concurrency=4) as vendor:

        async def impatient() -> None:
            for _ in range(25):
                with anyio.move_on_after(rnd.uniform(0.001, 0.03)):
                    await get(vendor)

        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(impatient)
        with anyio.fail_after(120):
            for _ in range(8):
                assert await get(vendor) == b"x"


async def test_a_task_may_ask_twice_at_once() -> None:
    async with peer(saying(answer(body=b"x"))) as server, open_vendor(server.url, concurrency=2) as vendor:
        ask = Request(method="GET", path="x")
        with anyio.fail_after(120):
            async with vendor.fetch(ask, timeout=120, max_body=9, endpoint="mor.user_calls") as first:
                assert await get(vendor) == b"x"
                assert await first.read() == b"x"


async def test_a_host_that_asks_to_be_left_alone_is_asked_by_nobody() -> None:
    clock = FakeClock()
    answers = [answer(429, retry_after="30"), answer(body=b"x")]

    async def respond(_: Asked, stream: ByteStream) -> None:
        await stream.send(answers[min(len(server.asked) - 1, 1)])

    async with peer(respond) as server, open_vendor(server.url, clock=clock) as vendor:
        with pytest.raises(RateLimited):
            await get(vendor)
        for waited in (0, 29):
            await clock.advance(waited)
            with pytest.raises(RateLimited) as caught:
                await get(vendor)
            assert caught.value.retry_after == 30 - waited
        assert len(server.asked) == 1
        await clock.advance(1)
        assert await get(vendor) == b"x"


@pytest.mark.parametrize(("seldom", "seconds"), [(False, IDLE), (True, BRIEF)])
async def test_connections_that_nobody_uses_are_closed(*, seldom: bool, seconds: int) -> None:
    gone = anyio.Event()

    async def respond(_: Asked, stream: ByteStream) -> None:
        await stream.send(answer(body=b"x"))
        with pytest.raises(anyio.EndOfStream):
            await stream.receive(1)
        gone.set()

    clock = FakeClock()
    async with peer(respond) as server, open_vendor(server.url, clock=clock, seldom=seldom) as vendor:
        await get(vendor)
        clock.time += seconds - 1
        await vendor.close_idle()
        await settle()
        assert not gone.is_set(), "the next poll may use it still"
        clock.time += 1
        await vendor.close_idle()
        with anyio.fail_after(30):
            await gone.wait()
        await get(vendor)
    assert server.connections == 2


async def test_only_those_that_asked_of_late_are_looked_at() -> None:
    """Each second, of ten thousand sources."""
    clock = FakeClock()
    hosts = Hosts(clock)
    async with (
        peer(saying(answer(body=b"x"))) as server,
        open_vendor(server.url, clock=clock, hosts=hosts, seldom=True) as vendor,
    ):
        assert not hosts.used
        await get(vendor)
        assert hosts.used == {vendor}
        await vendor.close_idle()
        assert hosts.used == {vendor}, "its connection is open"
        clock.time += BRIEF
        await vendor.close_idle()
        assert not hosts.used
        await get(vendor)
    assert not hosts.used, "the source went with its shard"


async def test_a_connection_in_use_is_left_alone() -> None:
    asked, goes_on = anyio.Event(), anyio.Event()

    async def respond(_: Asked, stream: ByteStream) -> None:
        asked.set()
        await goes_on.wait()
        await stream.send(answer(body=b"x"))

    clock = FakeClock()
    async with (
        peer(respond) as server,
        open_vendor(server.url, clock=clock) as vendor,
        anyio.create_task_group() as tasks,
    ):
        goes_on.set()
        await get(vendor)
        goes_on, asked = anyio.Event(), anyio.Event()
        tasks.start_soon(get, vendor)
        await asked.wait()
        clock.time += 2 * IDLE
        await vendor.close_idle()
        goes_on.set()
    assert (len(server.asked), server.connections) == (2, 1)


async def test_a_connection_that_is_not_needed_any_more_is_closed_while_others_are() -> None:
    """Each by its own last use: a busy source holds no more connections than it uses."""
    together = anyio.Event()

    async def respond(_: Asked, stream: ByteStream) -> None:
        if server.at_once == 2:
            together.set()
        await together.wait()
        await stream.send(answer(body=b"x"))

    clock = FakeClock()
    async with peer(respond) as server, open_vendor(server.url, clock=clock, concurrency=2) as vendor:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get, vendor)
            tasks.start_soon(get, vendor)
        for _ in range(IDLE):
            clock.time += 1
            await get(vendor)
            await vendor.close_idle()
        await server.until_open(1)
        await get(vendor)
        assert (server.connections, server.open) == (2, 1)


async def test_a_connection_is_as_old_for_the_next_request_as_for_who_closes_the_idle_ones() -> None:
    clock = FakeClock()
    async with peer(saying(answer(body=b"x"))) as server, open_vendor(server.url, clock=clock) as vendor:
        await get(vendor)
        clock.time += IDLE - 1
        await get(vendor)
        assert server.connections == 1
        clock.time += IDLE
        await get(vendor)
    assert server.connections == 2


async def test_a_connection_in_use_while_its_source_is_closed_ends_with_its_answer() -> None:
    asked, goes_on = anyio.Event(), anyio.Event()

    async def respond(_: Asked, stream: ByteStream) -> None:
        asked.set()
        await goes_on.wait()
        await stream.send(answer(body=b"x"))

    async with peer(respond) as server, open_vendor(server.url) as vendor, anyio.create_task_group() as tasks:
        tasks.start_soon(get, vendor)
        await asked.wait()
        await vendor.close()
        goes_on.set()
        await server.until_open(0)
    assert len(server.asked) == 1
