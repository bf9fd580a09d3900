"""The network between a process that may die at any time and everything else, which does not."""

import asyncio
import math
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import anyio
import httpcore
from crash_fate import Fate
from crash_plan import Entry
from crash_time import replace
from starlette.types import ASGIApp, Message

from poller import connections
from poller.connections import Progress
from poller.exchange import Asked, Broken

Fail = Callable[[str, float], BaseException]
"""What a client raises for a fault: what, how much."""
_GARBAGE = b"<html><body>It works!</body></html>"


class Net:
    """Requests under way outlive who sent them: they arrive at once, later, or never."""

    def __init__(self, fate: Fate, rnd: random.Random) -> None:
        self.fate = fate
        self._rnd = rnd
        self._flying: dict[int, Callable[[], Any]] = {}
        self._number = 0
        self._late: list[Callable[[], Any]] = []
        fate.on_death.append(self.died)

    def send(self, seam: str, name: str, do: Callable[[], Any], fail: Fail, future: "asyncio.Future[Any]") -> None:
        """Sends a request; the future gets what came of it."""
        entry = self.fate.fault(seam, name)
        loop = asyncio.get_running_loop()
        what, much = (entry.what, entry.much) if entry is not None else ("", 0.0)
        if what == "lost":
            return
        if what == "refused":
            loop.call_later(self._moment(), _fail, future, fail(what, much))
            return
        self._number += 1
        number = self._number
        self._flying[number] = do

        def arrive() -> None:
            if self._flying.pop(number, None) is None:
                return
            try:
                result = do()
            except Exception as error:  # noqa: BLE001 the answer of the other side
                loop.call_later(self._moment(), _fail, future, error)
            else:
                if what != "deaf":
                    loop.call_later(self._moment(), _tell, future, result)

        loop.call_later(self._moment() + (much if what == "late" else 0.0), arrive)

    async def exchange(self, seam: str, name: str, do: Callable[[], Any], fail: Fail) -> Any:
        """Sends a request and waits for the answer, perhaps for ever."""
        if (held := self.fate.meet(f"{name} before")) is not None:
            await held
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.send(seam, name, do, fail, future)
        result = await future
        if (held := self.fate.meet(f"{name} after")) is not None:
            await held
        return result

    def died(self) -> None:
        """What is on its way arrives now, in the next life, or never."""
        flying, self._flying = self._flying, {}
        for do in flying.values():
            fate = self._rnd.random()
            if fate < 0.4:
                _quietly(do)
            elif fate < 0.7:
                self._late.append(do)

    def begin(self) -> None:
        """A new process: what an earlier one had sent may still arrive."""
        loop = asyncio.get_running_loop()
        for do in self._late:
            loop.call_later(10 ** self._rnd.uniform(-3, 1), _quietly, do)
        self._late.clear()

    def _moment(self) -> float:
        return self._rnd.uniform(0.0005, 0.004)


def _quietly(do: Callable[[], Any]) -> None:
    with suppress(Exception):  # nobody hears of it
        do()


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _tell(future: "asyncio.Future[Any]", result: Any) -> None:
    if not future.done():
        future.set_result(result)


# --- vendors -----------------------------------------------------------------------------------------------------------


class Vendors:
    """In place of the connections: the simulators, in this process."""

    net: Net
    apps: dict[str, ASGIApp]
    """By host name."""
    open = 0
    """Answers that were not closed."""
    kept = False
    """Whether any waits for the next request."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """As `Connections`."""

    async def ask(self, asked: Asked, progress: Progress, **_: Any) -> "_Heard":
        """Raises what it raises."""
        net, host = self.net, asked.place.host
        name = f"http: {host}"
        if (held := net.fate.meet(f"{name} before")) is not None:
            await held
        entry = net.fate.fault("http", name)
        what = entry.what if entry is not None else ""
        if what == "refused":
            raise OSError("the model refuses")
        progress.asked = True
        if what == "reset":
            raise Broken("the model broke off")
        if what == "hang":
            await asyncio.get_running_loop().create_future()
        await anyio.sleep(net._moment() + (entry.much if entry is not None and what == "late" else 0.0))
        if what == "again":  # a proxy asks twice, and only the second answer arrives
            await _ask(self.apps[host], asked)
        status, headers, body = await _ask(self.apps[host], asked)
        if what.isdecimal():
            status, body = int(what), b"no"
        if what == "garbage":
            body = _GARBAGE
        if (held := net.fate.meet(f"{name} after")) is not None:
            await held
        Vendors.open += 1
        return _Heard(net, name, status, headers, body, what)

    async def close(self) -> None:
        """Nothing is kept."""

    async def close_idle(self) -> None:
        """Nothing is kept."""


class _Heard:
    def __init__(
        self, net: Net, name: str, status: int, headers: list[tuple[bytes, bytes]], body: bytes, what: str
    ) -> None:
        self.status = status
        self.headers = {key.decode().lower(): value.decode() for key, value in headers}
        self._net, self._name, self._body, self._what = net, name, body, what
        self._closed = False

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """In three pieces."""
        size = max(1, math.ceil(len(self._body) / 3))
        for begin in range(0, len(self._body), size):
            if begin and self._what == "broken":
                raise Broken("the model broke off")
            if begin and self._what == "stalls":
                await asyncio.get_running_loop().create_future()
            if (held := self._net.fate.meet(f"{self._name} piece")) is not None:
                await held
            yield self._body[begin : begin + size]

    async def close(self) -> None:
        """Once."""
        if not self._closed:
            self._closed = True
            Vendors.open -= 1


async def _ask(app: ASGIApp, asked: Asked) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """One request to an application."""
    messages: list[Message] = [{"type": "http.request", "body": asked.content or b"", "more_body": False}]
    said: list[Message] = []

    async def receive() -> Message:
        if messages:
            return messages.pop()
        nothing: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        return await nothing

    async def send(message: Message) -> None:
        said.append(message)

    path, _, query = asked.target.partition("?")
    place = asked.place
    headers = [("host", place.shown), *asked.headers]
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": asked.method,
        "scheme": place.scheme, "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode(),
        "root_path": "", "headers": [(name.encode(), value.encode()) for name, value in headers],
        "client": ("192.0.2.1", 1), "server": (place.host, place.port),
    }  # fmt: skip
    await app(scope, receive, send)
    return said[0]["status"], list(said[0].get("headers", [])), b"".join(one.get("body", b"") for one in said[1:])


# --- webhooks ----------------------------------------------------------------------------------------------------------


class Receiver:
    """What a webhook's owner has got: bodies by id, as often as they came."""

    def __init__(self) -> None:
        self.got: defaultdict[str, list[bytes]] = defaultdict(list)
        self.refused: set[str] = set()
        """Ids that it said it would never take."""

    def call(self, head: bytes, body: bytes, status: str) -> None:
        """One call."""
        headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        found = {name.lower(): value for name, value in headers.items()}
        identifier = found[b"webhook-id"].decode()
        if status == "200":
            self.got[identifier].append(body)
        elif status == "400":
            self.refused.add(identifier)


class Lines(httpcore.AsyncNetworkBackend):
    """In place of the webhook's sockets."""

    net: Net
    receiver: Receiver
    open = 0
    """Connections that were not closed."""

    async def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """A connection. Raises what the library raises."""
        entry = self.net.fate.fault("hook", "hook: connect")
        if entry is not None and entry.what == "refused":
            raise httpcore.ConnectError("the model refuses")
        await anyio.sleep(0.001)
        Lines.open += 1
        return _Line(self.net, self.receiver, host, port)


class _Line(httpcore.AsyncNetworkStream):
    def __init__(self, net: Net, receiver: Receiver, host: str, port: int) -> None:
        self._net, self._receiver, self._peer = net, receiver, (host, port)
        self._in = b""
        self._out = b""
        self._entry: Entry | None = None
        self._closed = False

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 the library's own signature
        if (held := self._net.fate.meet("hook: call before")) is not None:
            await held
        self._in += buffer
        head, end, rest = self._in.partition(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0
        )
        if not end or len(rest) < length:
            return
        self._in = b""
        self._entry = entry = self._net.fate.fault("hook", "hook: call")
        what = entry.what if entry is not None else ""
        status = what if what.isdecimal() else "200"
        if what != "refused":
            for _ in range(2 if what == "twice" else 1):
                self._receiver.call(head, rest, status)
        self._out = f"HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n\r\n".encode()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109 the library's own signature
        entry, self._entry = self._entry, None
        if entry is not None and entry.what in {"deaf", "refused"}:
            raise httpcore.ReadError("the model broke off")
        if entry is not None and entry.what == "hang":
            await asyncio.get_running_loop().create_future()
        await anyio.sleep(entry.much if entry is not None and entry.what == "late" else 0.001)
        if (held := self._net.fate.meet("hook: call after")) is not None:
            await held
        found, self._out = self._out[:max_bytes], self._out[max_bytes:]
        return found

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            Lines.open -= 1

    def get_extra_info(self, info: str) -> Any:
        return {"server_addr": self._peer, "is_readable": False}.get(info)


def install() -> None:
    """Before what uses them is imported."""
    replace(connections, "Connections", Vendors)
    replace(httpcore, "AnyIOBackend", Lines)
