"""How much memory a daemon takes: idle, and while it reads an answer of very many calls."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
from e2e_daemon import Daemon

from poller.simulate.mor_settings import MorOptions
from poller.simulate.run import Simulation, build

BULK = Path(__file__).with_name("e2e_bulk.py")


class Memory(NamedTuple):
    """Mebibytes, seconds."""

    idle: float
    peak: float
    seconds: float


def resident(pid: int, what: str = "VmRSS") -> float:
    """Mebibytes that a process has in memory; `VmHWM` is the most that it ever had."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"{pid} has no {what}")


@contextmanager
def bulk_vendor(records: int) -> Iterator[int]:
    """The port of a MOR system with so many calls."""
    with subprocess.Popen([sys.executable, str(BULK), str(records)], stdout=subprocess.PIPE, env=os.environ) as vendor:
        try:
            assert vendor.stdout
            yield int(vendor.stdout.readline())
        finally:
            vendor.kill()


async def measure(folder: Path, records: int, limit: float) -> Memory:
    """Idle first; then one answer of so many calls is read, deduped, stored and published to a file."""
    with bulk_vendor(records) as port:
        sims = build(Simulation(vendors=("mor",), mor=MorOptions()))
        sims.ports["mor"] = port
        sink = {"kind": "ndjson", "path": str(folder / "events.ndjson"), "start_from": "earliest"}
        mor = sims.source("mor") | {"endpoints": {"user_calls": {"interval": "2s", "start": "1h"}}}
        running = Daemon(folder, sims, {"file": sink}, {"mor": mor})
        try:
            running.start()
            await running.until_said("failing")
            idle = resident(running.pid)
            began = time.monotonic()
            async with httpx.AsyncClient() as client:
                await client.post(f"http://127.0.0.1:{port}/_control", json={"down": ""})
            await running.until(lambda: _new(running) >= records, limit, f"{records} new calls")
            peak, seconds = resident(running.pid, "VmHWM"), time.monotonic() - began
            assert await running.stop(30) == 0
            assert _lines(folder / "events.ndjson") == records
        finally:
            running.kill()
    return Memory(idle, peak, seconds)


def _new(running: Daemon) -> int:
    return sum(int(line["new"]) for line in running.said("polled"))


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
