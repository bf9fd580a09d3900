"""What all replicas share: the database and the broker, each with a small disk of its own where one may be mounted."""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import psycopg
from anyio import to_thread
from chaos_disk import SmallDisk, small_disk
from kafka_doors import Door, broker_with_doors
from postgres_server import Server

from poller.simulate.broker import Broker

Disks: TypeAlias = Mapping[str, SmallDisk]
"""Of "database" and "broker", where it has one of its own."""
SIZE = "256m"
_LITTLE = "min_wal_size = '32MB'\nmax_wal_size = '64MB'"
"""What is written ahead shall not fill such a disk by itself."""
_STARTS = 120.0
"""Seconds."""


@dataclass
class Parts:
    """`doors`: further ports of the broker."""

    broker: Broker
    doors: Sequence[Door]
    server: Server
    disks: Disks

    async def database_up(self) -> None:
        """Starts it where it has ended, by itself or not, as soon as its disk has room; returns when it answers, if it is not asleep."""
        if not self._full("database"):
            await to_thread.run_sync(self._database_up)

    async def broker_up(self) -> None:
        """The same."""
        if not self._full("broker") and (self.broker.pid is None or self.broker.ended is not None):
            await to_thread.run_sync(self._broker_up)

    def _full(self, what: str) -> bool:
        return what in self.disks and self.disks[what].full

    def _database_up(self) -> None:
        server, deadline = self.server, time.monotonic() + _STARTS
        while (state := server.state) != "T":
            assert time.monotonic() < deadline, "the database does not come back"
            if not state:
                with suppress(AssertionError):  # what is left of it may still be ending
                    server.start()
            with suppress(psycopg.OperationalError):
                psycopg.connect(server.dsn(), connect_timeout=2).close()
                return
            time.sleep(0.1)  # between two tries: a server that starts tells nobody

    def _broker_up(self) -> None:
        self.broker.kill()
        self.broker.start()


@contextmanager
def database_on_a_small_disk() -> Iterator[tuple[Server, Disks]]:
    """Runs, with the schema as a template. Leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="poller-disk-", dir="/tmp") as place:
        Path(place).chmod(0o755)  # root's server is another user's
        with small_disk(Path(place, "disk"), SIZE) as disk:
            server = Server(durable=True, data=disk.folder / "data" if disk.real else None)
            try:
                server.settings(_LITTLE)
                server.start()
                server.make_template()
                yield server, {"database": disk} if disk.real else {}
            finally:
                server.remove()


@contextmanager
def broker_on_a_small_disk(folder: Path) -> Iterator[tuple[Broker, Sequence[Door], Disks]]:
    """Runs. Leaves no process behind."""
    folder.mkdir(exist_ok=True)
    with small_disk(folder / "disk", SIZE) as disk:
        broker, doors = broker_with_doors(folder / "broker", disk.folder / "data" if disk.real else None)
        try:
            broker.start()
            yield broker, doors, {"broker": disk} if disk.real else {}
        finally:
            disk.empty()
            broker.stop()
