"""A small HTTP server on raw sockets: it can say anything, wrong things included."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener

from poller.clock import SystemClock
from poller.http import Vendor
from poller.metrics import Metrics
from poller.model import Request
from poller.options import SourceOptions
from poller.protocols import Login


@dataclass
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Peer:
    """The running server: where, what it was asked, how many asked at once at most."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    """How many of them are."""
    _changed: anyio.Event = field(default_factory=anyio.Event)
    at_once: int = 0
    most_at_once: int = 0

    def opened(self, by: int) -> None:
        """One more connection is open, or one less."""
        self.open += by
        self.connections += max(0, by)
        self._changed.set()
        self._changed = anyio.Event()

    async def until_open(self, count: int) -> None:
        """Waits until so many are."""
        with anyio.fail_after(30):
            while self.open != count:
                await self._changed.wait()


Respond = Callable[[Asked, ByteStream], Awaitable[bool | None]]
"""Writes an answer; False closes the connection."""


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer. Header names are written with `_` for `-`."""
    lines = [f"HTTP/1.1 {status} Said"] + [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if "content_length" not in headers and "transfer_encoding" not in headers:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def saying(*parts: bytes) -> Respond:
    """Always the same answer."""

    async def respond(_: Asked, stream: ByteStream) -> None:
        for part in parts:
            await stream.send(part)

    return respond


@asynccontextmanager
async def peer(respond: Respond, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """Runs the server until the block ends."""
    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    listener = TLSListener(plain, tls, standard_compatible=False) if tls else plain
    port = plain.extra(SocketAttribute.local_port)
    running = Peer(f"{'https' if tls else 'http'}://127.0.0.1:{port}")

    async def serve(stream: ByteStream) -> None:
        running.opened(1)
        async with stream:
            with suppress(
                anyio.EndOfStream, anyio.BrokenResourceError, anyio.IncompleteRead, anyio.ClosedResourceError
            ):
                await _talk(running, respond, stream)
        running.opened(-1)

    async with plain, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield running
        tasks.cancel_scope.cancel()


async def _talk(running: Peer, respond: Respond, stream: ByteStream) -> None:
    reading = BufferedByteReceiveStream(stream)
    while True:
        head = (await reading.receive_until(b"\r\n\r\n", 1 << 16)).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        body = (
            await reading.receive_exactly(int(headers["content-length"]))
            if int(headers.get("content-length", 0))
            else b""
        )
        asked = Asked(method, target, headers, body)
        running.asked.append(asked)
        running.at_once += 1
        running.most_at_once = max(running.most_at_once, running.at_once)
        try:
            if await respond(asked, stream) is False:
                return
        finally:
            running.at_once -= 1


def open_vendor(url: str, login: Login | None = None, **more: Any) -> Vendor:
    """A source's way to the server. `clock`, `metrics`, `hosts`, `name`, `seldom` go to the Vendor, everything else is an option."""
    clock = more.pop("clock", SystemClock())
    metrics = more.pop("metrics", None) or Metrics()
    hosts, name = more.pop("hosts", None), more.pop("name", "mor-main")
    seldom = more.pop("seldom", False)
    options = more.pop("options", None) or SourceOptions(base_url=f"{url}/api", **more)
    return Vendor(name, options, login, clock=clock, metrics=metrics, hosts=hosts, seldom=seldom)


async def get(vendor: Vendor, path: str = "/x", *, timeout: float = 120, max_body: int = 1 << 20, **more: Any) -> bytes:  # noqa: ASYNC109 passed on
    """One request, its whole body."""
    request = more.pop("request", None) or Request(method="GET", path=path)
    async with vendor.fetch(request, timeout=timeout, max_body=max_body, endpoint="mor.user_calls", **more) as got:
        return await got.read()
