"""A receiver of webhooks on raw sockets: it keeps every byte it got, and answers as badly as a test wants."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio


@dataclass
class Got:
    """One request as it came. `connection`: which one, from 1."""

    head: bytes
    body: bytes
    connection: int

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def headers(self) -> dict[str, str]:
        pairs = (line.partition(b":") for line in self.head.split(b"\r\n")[1:] if line)
        return {name.decode().lower(): value.strip().decode("latin-1") for name, _, value in pairs}


Answer = Callable[[Got, asyncio.StreamWriter], Awaitable[bool | None]]
"""Writes what it likes; False: the connection is closed."""


@dataclass
class Receiver:
    """The running receiver."""

    host: str
    port: int
    tls: bool
    answers: list[Answer]
    """By turns; the last one goes on for ever."""
    got: list[Got] = field(default_factory=list)
    connections: int = 0
    names: list[str | None] = field(default_factory=list)
    """The server names that clients asked for (TLS)."""
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "/hook", host: str | None = None) -> str:
        return f"{'https' if self.tls else 'http'}://{host or self.host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
                while await self._one(reader, writer, number):
                    pass
        finally:
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        got = Got(head[:-4], b"", number)
        got.body = await reader.readexactly(int(got.headers["content-length"]))
        self.got.append(got)
        answer = self.answers[min(len(self.got), len(self.answers)) - 1]
        self.came.set()
        said = await answer(got, writer)
        await writer.drain()
        return said is not False


@asynccontextmanager
async def receiver(
    *answers: Answer, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[Receiver]:
    """Runs until the block ends; 204 unless told otherwise."""
    running = Receiver(host, 0, tls is not None, list(answers) or [says(204)])
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        with suppress(asyncio.CancelledError):
            await running.serve(reader, writer)

    if tls is not None:
        tls.sni_callback = lambda _, name, __: running.names.append(name)
    server = await asyncio.start_server(serve, host, port, ssl=tls)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(set(tasks))


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer. Header names are written with `_` for `-`."""
    lines = [f"HTTP/1.1 {status} Said", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}"]).encode() + b"\r\n\r\n" + body


def says(status: int, body: bytes = b"", **headers: str) -> Answer:
    """One answer, always."""
    return sends(answer(status, body, **headers))


def sends(data: bytes, *, close: bool = False) -> Answer:
    """These bytes."""

    async def write(_: Got, writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        return not close

    return write


def echoes(status: int = 500) -> Answer:
    """An error that repeats all that came, as frameworks do in debug mode."""

    async def write(got: Got, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(status, got.head + b"\n\n" + got.body[:100]))

    return write


async def hangs(_: Got, __: asyncio.StreamWriter) -> None:
    """Never answers."""
    await anyio.sleep_forever()


async def closes(_: Got, __: asyncio.StreamWriter) -> bool:
    """Closes without a word."""
    return False


async def resets(_: Got, writer: asyncio.StreamWriter) -> bool:
    """Closes so that the other side is told of a reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def streams(head: bytes, piece: bytes, pause: float = 0.0) -> Answer:
    """A beginning, and then the same piece for ever."""

    async def write(_: Got, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await anyio.sleep(pause)

    return write
