"""One login in flight, one more after a 401, and no storm."""

from dataclasses import dataclass

import anyio
import pytest
from anyio.abc import ByteStream
from fake_clock import FakeClock
from http_peer import Asked, Respond, answer, get, open_vendor, peer

from poller.errors import Denied, PollerError, Unreachable, VendorFault
from poller.model import Request
from poller.protocols import Token

pytestmark = pytest.mark.anyio


@dataclass
class TextLogin:
    """The body of the answer is the token; `life` is how long it is good for."""

    clock: FakeClock
    life: float = 3600

    def request(self) -> Request:
        return Request(method="POST", path="/login", json=b'{"password": "open sesame"}')

    def token(self, body: bytes, now: float) -> Token:
        if body == b"no":
            raise Denied("no token for open sesame; password=hidden77")
        return Token((("Authorization", f"Bearer {body.decode()}"),), now + self.life)


@dataclass
class Door:
    """The vendor: gives `token-1`, `token-2`, … and takes those in `good`."""

    good: set[str]
    logins: int = 0
    wait: anyio.Event | None = None
    refuses_logins: bool = False

    async def respond(self, asked: Asked, stream: ByteStream) -> None:
        if asked.target.endswith("/login"):
            self.logins += 1
            if self.wait is not None:
                await self.wait.wait()
            body = f"token-{self.logins}".encode()
            await stream.send(answer(500, b"broken") if self.refuses_logins else answer(body=body))
        elif asked.headers.get("authorization", "").removeprefix("Bearer ") in self.good:
            await stream.send(answer(body=b"data"))
        else:
            await stream.send(answer(401, b"who are you?"))


async def many(count: int, vendor: object) -> list[bytes | PollerError]:
    found: list[bytes | PollerError] = []

    async def one() -> None:
        try:
            found.append(await get(vendor))  # type: ignore[arg-type]
        except PollerError as error:
            found.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(one)
    return found


async def test_fifty_requests_wait_for_one_login() -> None:
    clock = FakeClock()
    door = Door({"token-1"}, wait=anyio.Event())
    results: list[bytes | PollerError] = []
    async with (
        peer(door.respond) as server,
        open_vendor(server.url, TextLogin(clock), clock=clock, concurrency=8) as vendor,
        anyio.create_task_group() as tasks,
    ):

        async def ask() -> None:
            results.extend(await many(50, vendor))

        tasks.start_soon(ask)
        with anyio.fail_after(120):
            while not door.logins:  # noqa: ASYNC110 the other side has no event for it
                await anyio.sleep(0.005)
        assert door.wait is not None
        door.wait.set()
    assert results == [b"data"] * 50
    assert door.logins == 1


async def test_a_storm_of_401_is_one_login() -> None:
    clock = FakeClock()
    door = Door({"token-1"})
    async with (
        peer(door.respond) as server,
        open_vendor(server.url, TextLogin(clock), clock=clock, concurrency=50) as vendor,
    ):
        assert await get(vendor) == b"data"
        door.good = {"token-2"}
        await clock.advance(600)
        assert await many(50, vendor) == [b"data"] * 50
    assert door.logins == 2


async def test_concurrency_of_one_does_not_lock_itself_out() -> None:
    clock = FakeClock()
    door = Door({"token-2"})
    async with (
        peer(door.respond) as server,
        open_vendor(server.url, TextLogin(clock), clock=clock, concurrency=1) as vendor,
    ):
        with anyio.fail_after(120):
            assert await get(vendor) == b"data"


async def test_a_new_token_that_is_refused_is_not_renewed_again_and_again() -> None:
    """The user lacks a right: every poll is refused, but logs in at most once a minute."""
    clock = FakeClock()
    door = Door(set())
    async with peer(door.respond) as server, open_vendor(server.url, TextLogin(clock), clock=clock) as vendor:
        for _ in range(10):
            with pytest.raises(Denied, match="who are you"):
                await get(vendor)
        assert door.logins == 2
        await clock.advance(61)
        with pytest.raises(Denied):
            await get(vendor)
        assert door.logins == 3


async def test_a_token_that_was_taken_and_is_refused_then_is_renewed_however_new_it_is() -> None:
    """A vendor that ends every token after a few seconds. What one endpoint takes says nothing about the rights for another."""
    clock = FakeClock()
    door = Door({"token-1"})
    async with peer(door.respond) as server, open_vendor(server.url, TextLogin(clock), clock=clock) as vendor:
        for number in range(1, 6):
            door.good = {f"token-{number}"}
            assert await get(vendor) == b"data"
            assert door.logins == number
        door.good = set()
        for _ in range(3):
            with pytest.raises(Denied, match="who are you"):
                await get(vendor)
        assert door.logins == 6


async def test_a_token_is_renewed_before_it_expires() -> None:
    clock = FakeClock()
    door = Door({"token-1", "token-2"})
    async with peer(door.respond) as server, open_vendor(server.url, TextLogin(clock, 100), clock=clock) as vendor:
        await get(vendor)
        await clock.advance(60)
        await get(vendor)
        assert door.logins == 1
        await clock.advance(15)
        await get(vendor)
    assert door.logins == 2
    assert server.asked[-1].headers["authorization"] == "Bearer token-2"


async def test_a_token_that_has_expired_when_it_comes_is_shared_all_the_same() -> None:
    clock = FakeClock()
    door = Door({"token-1"})
    async with (
        peer(door.respond) as server,
        open_vendor(server.url, TextLogin(clock, -5), clock=clock, concurrency=9) as vendor,
    ):
        assert await many(9, vendor) == [b"data"] * 9
    assert door.logins == 1


async def test_a_failed_login_fails_all_who_waited_and_is_not_repeated_for_each() -> None:
    clock = FakeClock()
    door = Door(set(), refuses_logins=True)
    async with (
        peer(door.respond) as server,
        open_vendor(server.url, TextLogin(clock), clock=clock, concurrency=9) as vendor,
    ):
        found = await many(20, vendor)
        assert door.logins == 1
        door.refuses_logins, door.good = False, {"token-2"}
        assert await get(vendor) == b"data"
    assert all(type(error) is VendorFault for error in found)
    assert len({id(error) for error in found}) == 20  # each its own: a traceback belongs to one task
    assert str(found[0]) == "mor-main login: 500 from 127.0.0.1/api/login: broken"


async def _once_it_has_begun(door: Door, scope: anyio.CancelScope) -> None:
    while not door.logins:  # noqa: ASYNC110 the other side has no event for it
        await anyio.sleep(0.005)
    scope.cancel()


async def test_a_cancelled_login_leaves_the_next_one_to_those_who_wait() -> None:
    clock = FakeClock()
    door = Door({"token-2"}, wait=anyio.Event())
    async with (
        peer(door.respond) as server,
        open_vendor(server.url, TextLogin(clock), clock=clock, concurrency=9) as vendor,
        anyio.create_task_group() as tasks,
    ):
        with anyio.CancelScope() as scope:
            tasks.start_soon(_once_it_has_begun, door, scope)
            await get(vendor)
        assert door.wait is not None
        door.wait.set()
        tasks.start_soon(get, vendor)
    assert door.logins == 2


async def test_a_refused_login_says_where_and_no_secret() -> None:
    clock = FakeClock()

    async def respond(_: Asked, stream: ByteStream) -> None:
        await stream.send(answer(body=b"no"))

    taken: Respond = respond
    async with peer(taken) as server, open_vendor(server.url, TextLogin(clock), clock=clock) as vendor:
        with pytest.raises(Denied, match="mor-main login: no token") as caught:
            await get(vendor)
    assert "hidden77" not in str(caught.value)


async def test_a_login_that_got_lost_is_not_sent_again() -> None:
    """The vendor may have counted it: it goes on a connection of its own, not on one that the vendor may be closing."""
    door = Door({"token-1"})

    async def respond(asked: Asked, stream: ByteStream) -> bool | None:
        if door.logins and asked.target.endswith("/login"):
            door.logins += 1
            return False
        await door.respond(asked, stream)
        return None

    clock = FakeClock()
    async with peer(respond) as server, open_vendor(server.url, TextLogin(clock), clock=clock) as vendor:
        assert await get(vendor) == b"data"
        door.good.clear()
        with pytest.raises(Unreachable, match="closed the connection without an answer"):
            await get(vendor)
    assert door.logins == 2
