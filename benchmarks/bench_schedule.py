"""1,000 endpoints polled every 60 s on one core, scraped meanwhile: how late polls start.

    .venv/bin/python benchmarks/bench_schedule.py [--endpoints 1000] [--seconds 150]

Fails unless 99 % of the polls start within 1 s of their time. Prints CPU and resident memory of the daemon too.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from multiprocessing import Event, Process, Queue
from multiprocessing.synchronize import Event as EventType
from pathlib import Path

ANSWER = b'{"data":[],"page_size":0}'


def vendor(ports: "Queue[int]", stop: EventType) -> None:
    """Answers every request with an empty list."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %s\r\nContent-Length: %d\r\n\r\n"
                writer.write(head % (date, len(ANSWER)) + ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def serve() -> None:
        servers = [await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024) for _ in range(10)]
        for server in servers:
            ports.put(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(stop.wait)

    asyncio.run(serve())


def configuration(folder: Path, ports: list[int], endpoints: int) -> Path:
    """Two endpoints a source; ten hosts, each with ten requests at a time."""
    source = {
        "kind": "fonouc",
        "api_key": {"env": "BENCH_KEY"},
        "account_id": "acme",
        "concurrency": 10,
        "endpoints": {"cdrs": {"start": "1h"}, "recordings": {"start": "1h"}},
    }
    sources = {
        f"s{n}": {**source, "base_url": f"http://127.0.0.1:{ports[n % len(ports)]}"} for n in range(endpoints // 2)
    }
    settings = {
        "store": {"kind": "sqlite", "path": str(folder / "poller.db")},
        "server": {"listen": "127.0.0.1:0"},
        "admin": {"socket": str(folder / "poller.sock")},
        "log": {"format": "json", "level": "info"},
        "sinks": {"out": {"kind": "ndjson", "path": str(folder / "out.ndjson")}},
        "sources": sources,
    }
    path = folder / "poller.yaml"
    path.write_text(json.dumps(settings))
    return path


def metrics_port(log: Path, deadline: float) -> int:
    """From the daemon's own log line."""
    while time.monotonic() < deadline:
        if found := re.search(r'"metrics_port": (\d+)', log.read_text()):
            return int(found[1])
        time.sleep(0.1)
    raise SystemExit("the daemon did not start:\n" + log.read_text()[-2000:])


def lateness(text: str) -> tuple[int, int, int]:
    """Polls started within a second, within a tenth, and all."""
    found = {
        edge: float(count)
        for edge, count in re.findall(r'poller_schedule_lateness_seconds_bucket\{le="([^"]+)"\} (\S+)', text)
    }
    return int(found["1.0"]), int(found["0.1"]), int(found["+Inf"])


def main() -> None:
    """One run."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--endpoints", type=int, default=1_000)
    arguments.add_argument("--seconds", type=float, default=150)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, stop, places = Path(name), Event(), Queue()
        feeder = Process(target=vendor, args=(places, stop), daemon=True)
        feeder.start()
        config = configuration(folder, [places.get() for _ in range(10)], options.endpoints)
        log = folder / "log"
        with log.open("w") as sink:
            command = [sys.executable, "-m", "poller", "run", "-c", str(config)]
            if os.sched_getaffinity(0):
                command = ["taskset", "-c", str(min(os.sched_getaffinity(0))), *command]
            daemon = subprocess.Popen(command, env={**os.environ, "BENCH_KEY": "key"}, stderr=sink)
        try:
            port = metrics_port(log, time.monotonic() + 60)
            text, slowest, end = "", 0.0, time.monotonic() + options.seconds
            while time.monotonic() < end:
                time.sleep(10)
                began = time.monotonic()
                text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode()
                slowest = max(slowest, time.monotonic() - began)
            status = Path(f"/proc/{daemon.pid}/status").read_text()
            ticks = sum(map(int, Path(f"/proc/{daemon.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
        finally:
            daemon.terminate()
            daemon.wait(60)
            stop.set()
        within, tenth, polls = lateness(text)
        resident = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024  # type: ignore[index]
        print(f"polls {polls:,}: {within / polls:.2%} within 1 s, {tenth / polls:.2%} within 0.1 s of their time")
        print(
            f"slowest scrape {slowest:.2f} s; {ticks / os.sysconf('SC_CLK_TCK'):.0f} CPU s in {options.seconds:.0f} s; {resident} MB resident"
        )
        if within / polls < 0.99:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
