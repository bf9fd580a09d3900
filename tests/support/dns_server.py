"""A name server of the tests' own, whose answers change from one question to the next, and a resolver that asks it."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

A, AAAA = 1, 28


@dataclass
class Names(asyncio.DatagramProtocol):
    """`answers`: for each look-up of a name in turn its addresses; the last ones stay."""

    answers: list[list[str]]
    asked: list[tuple[str, int]] = field(default_factory=list)
    port: int = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        name, kind, end = question(data)
        turn = sum(one == (name, kind) for one in self.asked)
        self.asked.append((name, kind))
        family = socket.AF_INET if kind == A else socket.AF_INET6
        found = [one for one in self.answers[min(turn, len(self.answers) - 1)] if (":" in one) is (kind == AAAA)]
        records = b"".join(record(kind, socket.inet_pton(family, one)) for one in found)
        head = struct.pack(">HHHHHH", struct.unpack(">H", data[:2])[0], 0x8180, 1, len(found), 0, 0)
        self.transport.sendto(head + data[12:end] + records, addr)

    @property
    def look_ups(self) -> int:
        """How many times the whole name was looked up."""
        return sum(kind == A for _, kind in self.asked)

    async def resolve(self, host: str, port: int) -> Sequence[str]:  # noqa: ARG002 what a resolver is given
        """Asks for both kinds of addresses over the network; IPv6 first, as systems do."""
        return [address for kind in (AAAA, A) for address in await ask(self.port, host, kind)]


def question(data: bytes) -> tuple[str, int, int]:
    """The name, the kind, and where the question ends."""
    labels, at = [], 12
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels), struct.unpack(">H", data[at + 1 : at + 3])[0], at + 5


def record(kind: int, address: bytes) -> bytes:
    """One answer that must not be kept."""
    return struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(address)) + address


async def ask(port: int, host: str, kind: int) -> list[str]:
    """One question, over UDP."""
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    class Heard(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ARG002 the base class's
            if not heard.done():
                heard.set_result(data)

    name = b"".join(bytes([len(label)]) + label.encode() for label in host.split(".")) + b"\0"
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Heard, remote_addr=("127.0.0.1", port))
    try:
        transport.sendto(struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + name + struct.pack(">HH", kind, 1))
        data = await asyncio.wait_for(heard, 30)
    finally:
        transport.close()
    at, found = question(data)[2], []
    for _ in range(struct.unpack(">H", data[6:8])[0]):
        size = struct.unpack(">H", data[at + 10 : at + 12])[0]
        family = socket.AF_INET if size == 4 else socket.AF_INET6
        found.append(socket.inet_ntop(family, data[at + 12 : at + 12 + size]))
        at += 12 + size
    return found


@asynccontextmanager
async def names(*answers: list[str]) -> AsyncIterator[Names]:
    """Runs until the block ends."""
    server = Names(list(answers))
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: server, local_addr=("127.0.0.1", 0)
    )
    server.port = transport.get_extra_info("sockname")[1]
    try:
        yield server
    finally:
        transport.close()
