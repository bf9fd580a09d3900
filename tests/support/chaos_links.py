"""A link that may be slow or lossy, or at whose other end nothing is: a TCP proxy between one replica and what it needs."""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tcp_proxy import Proxy

_PIECE = 1024
_LINGER = struct.pack("ii", 1, 0)
"""Closing resets the connection, as the system does for a process that was killed."""


class Link(Proxy):
    """As it comes it is fast and whole."""

    def __init__(self, target: int, port: int = 0) -> None:
        super().__init__(target)
        self.port = port
        self.delay = 0.0
        """Seconds, of each piece that passes."""
        self.rate = 0.0
        """Bytes per second, each way of each connection; 0: as many as there are."""
        self.losses = 0.0
        """The part of all pieces that come late, as what has to be sent again does; one in eight of these ends the connection."""
        self.rnd = random.Random(1)
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Takes connections, at the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """As if what is behind it had been killed: connections are reset, new ones refused."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.reset()
        self.release()
        async with asyncio.timeout(60):
            while self._writers:
                self.reset()
                await asyncio.sleep(0.01)

    def reset(self) -> None:
        """Ends all connections, without what they had to send."""
        for writer in tuple(self._writers):
            _abort(writer)

    async def _pass_on(self, data: bytes, to: asyncio.StreamWriter) -> None:
        if self.losses and self.rnd.random() < self.losses:
            if self.rnd.random() < 1 / 8:
                _abort(to)
                raise ConnectionResetError
            await asyncio.sleep(self.rnd.uniform(0.2, 1.0))
        if self.delay:
            await asyncio.sleep(self.delay)
        size = _PIECE if self.rate else len(data)
        for begin in range(0, len(data), size):
            piece = data[begin : begin + size]
            await super()._pass_on(piece, to)
            if self.rate:  # which may have ended meanwhile
                await asyncio.sleep(len(piece) / self.rate)


def _abort(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    writer.transport.abort()


@asynccontextmanager
async def link(target: int, port: int = 0) -> AsyncIterator[Link]:
    """Before the server at port `target`, open. `port`: its own; any that is free where it is 0."""
    one = Link(target, port)
    await one.open()
    try:
        yield one
    finally:
        await one.shut()
