"""A name server that may go away, and replicas that have no other: each runs with a resolv.conf of its own (as root, on Linux)."""

import asyncio
import os
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dns_server import Names

_BIND = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
_UNSHARE = ("unshare", "-m", "sh", "-c", _BIND)


class NameServer(Names):
    """Every name leads to this machine. `gone`: nobody is answered."""

    def __init__(self, folder: Path) -> None:
        super().__init__([["127.0.0.1"]])
        self.gone = False
        self._file = folder / "resolv.conf"

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.asked.clear()
        if not self.gone:
            super().datagram_received(data, addr)

    def listens(self, address: str) -> None:
        """Told where it is; the system's own resolver waits for it as it waits for others, only shorter."""
        text = f"nameserver {address}\noptions timeout:2 attempts:2\n"
        self._file.write_text(text, encoding="utf-8")

    def command(self, command: Sequence[str]) -> list[str]:
        """The same, run so that it asks this server."""
        return [*_UNSHARE, str(self._file), *command]


def missing(folder: Path) -> str:
    """What keeps a process from having a name server of its own here; empty: nothing."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return "only root can give a process a name server of its own, by `unshare`"
    probe = folder / "no.conf"
    probe.touch()
    done = subprocess.run([*_UNSHARE, str(probe), "true"], capture_output=True, text=True, check=False, timeout=60)
    return done.stderr.strip()


@asynccontextmanager
async def name_server(folder: Path) -> AsyncIterator[NameServer]:
    """Runs until the block ends, at an address of the loopback network that nobody else uses."""
    server, rnd = NameServer(folder), random.Random()
    transport = None
    while transport is None:
        address = f"127.{rnd.randint(1, 254)}.{rnd.randint(1, 254)}.{rnd.randint(1, 254)}"
        try:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: server, (address, 53))
        except OSError as fault:
            if isinstance(fault, PermissionError):
                raise
    server.listens(address)
    try:
        yield server
    finally:
        transport.close()
