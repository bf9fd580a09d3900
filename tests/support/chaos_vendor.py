"""A phone system that takes requests and then does the worst, byte by byte; in a good mood it has no calls."""

import asyncio
import re
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from typing import Literal, TypeAlias

Mood: TypeAlias = Literal["well", "silent", "header", "drip", "endless text", "endless records", "gzip"]
HANGS: Mapping[Mood, str] = {
    "silent": "says nothing",
    "header": "sends a header and no more",
    "drip": "sends a byte a second",
}
FLOODS: Mapping[Mood, str] = {
    "endless text": "sends one text without an end",
    "endless records": "sends a recording again and again",
    "gzip": "sends blanks that were packed a thousandfold",
}
_EMPTY = b"<page><status><error>No Recordings found</error></status></page>"
_BEGIN = b'<?xml version="1.0" encoding="UTF-8"?>\n<page><status><recordings>'
_RECORDING = (
    b"<recording><id>1</id><date>2026-01-01 00:00:04 +0200</date><duration>00:00:01</duration><source>1</source>"
    b"<destination>2</destination><user_id>1</user_id><size>1024.0</size><comment>%s</comment></recording>"
    % (b"x" * 200)
)
_LENGTH = re.compile(rb"(?i)content-length: *([0-9]+)")
_CHUNK = 1 << 16


class WorstVendor:
    """MOR's list of recordings. `sent`: bytes of bodies since the mood changed."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now`: its clock."""
        self._now = now
        self.mood: Mood = "well"
        self.port = 0
        self.asked = 0
        self.sent = 0

    def turn(self, mood: Mood) -> None:
        """From the next request on."""
        self.mood, self.asked, self.sent = mood, 0, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(_LENGTH.findall(head)[0]))
                self.asked += 1
                if self.mood == "well":
                    writer.write(self._head(b"content-length: %d" % len(_EMPTY)) + _EMPTY)
                    await writer.drain()
                else:
                    await self._worst(self.mood, reader, writer)
                    break
        writer.close()

    async def _worst(self, mood: Mood, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packed = b"\r\ncontent-encoding: gzip" if mood == "gzip" else b""
        if mood != "silent":
            writer.write(self._head(b"transfer-encoding: chunked" + packed))
        if mood in {"silent", "header"}:
            await reader.read()  # until whoever asked goes away
            return
        async for piece in _body(mood):
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.sent += len(piece)
            await writer.drain()
            if self.mood != mood:
                return

    def _head(self, line: bytes) -> bytes:
        date = formatdate(self._now(), usegmt=True).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ndate: %s\r\n%s\r\n\r\n" % (date, line)


async def _body(mood: Mood) -> AsyncIterator[bytes]:
    if mood == "drip":
        for byte in _BEGIN:
            yield bytes([byte])
            await asyncio.sleep(1)
        while True:
            yield b" "
            await asyncio.sleep(1)
    if mood == "gzip":
        packer = zlib.compressobj(9, wbits=31)
        yield packer.compress(_BEGIN) + packer.flush(zlib.Z_FULL_FLUSH)
        packed = packer.compress(b" " * (_CHUNK << 8)) + packer.flush(zlib.Z_FULL_FLUSH)
        while True:
            yield packed
    yield _BEGIN + b"<recording><id>" if mood == "endless text" else _BEGIN
    piece = b"1" * _CHUNK if mood == "endless text" else _RECORDING * (_CHUNK // len(_RECORDING))
    while True:
        yield piece


@asynccontextmanager
async def worst_vendor(now: Callable[[], float]) -> AsyncIterator[WorstVendor]:
    """Listens at a free port of this machine."""
    vendor = WorstVendor(now)
    server = await asyncio.start_server(vendor.serve, "127.0.0.1", 0)
    vendor.port = server.sockets[0].getsockname()[1]
    try:
        yield vendor
    finally:
        vendor.turn("well")
        server.close()
