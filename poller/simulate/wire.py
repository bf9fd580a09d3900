"""The raw connection under a request: what no HTTP library lets a server do on purpose."""

import asyncio
import socket
import struct
from http import HTTPStatus
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

_open: dict[tuple[str, int], asyncio.Transport] = {}


class Protocol(H11Protocol):
    """Remembers the transport of each client's address, so that an application can find its own."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came."""
        _open[transport.get_extra_info("peername")[:2]] = transport
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """A client went."""
        _open.pop(self.transport.get_extra_info("peername")[:2], None)
        super().connection_lost(exc)


def _transport(scope: Scope) -> asyncio.Transport:
    client: Any = scope["client"]
    return _open[client[0], client[1]]


async def abort(scope: Scope) -> None:
    """Resets the connection: the client sees ECONNRESET."""
    transport = _transport(scope)
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await _gone(transport, scope)


async def write_and_close(
    scope: Scope, status: int, headers: list[tuple[bytes, bytes]], length: int, body: bytes, *, reset: bool
) -> None:
    """Writes an answer by hand whose Content-Length is `length`, whatever `body` has, and closes the connection."""
    transport = _transport(scope)
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode(),
        *(name + b": " + value for name, value in headers),
    ]
    transport.write(b"\r\n".join([*lines, b"content-length: %d" % length, b"", b""]) + body)
    await asyncio.sleep(0.01)
    if reset:
        await abort(scope)
        return
    transport.close()
    await _gone(transport, scope)


async def _gone(transport: asyncio.Transport, scope: Scope) -> None:
    """Until the server has noticed, so that it does not answer by itself as well; a second at most."""
    client: Any = scope["client"]
    for _ in range(100):
        if _open.get((client[0], client[1])) is not transport:
            return
        await asyncio.sleep(0.01)
