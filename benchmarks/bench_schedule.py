"""1,000 endpoints polled every 60 s on one core, scraped meanwhile: how late polls start.

    .venv/bin/python benchmarks/bench_schedule.py [--endpoints 1000] [--lists 2] [--seconds 150] [--settle 75] [--replicas 3]
        [--apart] [--count]

Fails unless 99 % of the polls start within 1 s of their time, start-up included. Prints CPU and resident memory of the daemon
too. CPU is that of `--seconds` after `--settle`: by then every list was asked once, and each replica has its share. With
`--replicas` so many daemons share a PostgreSQL store, on all cores; `--replicas 1` is what to compare them with. `--apart` gives
all daemons the first core, and the server and the vendors the last one. `--count` says what a poll took, beside its CPU.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from multiprocessing import Array, Event, Process, Queue
from multiprocessing.sharedctypes import SynchronizedArray
from multiprocessing.synchronize import Event as EventType
from pathlib import Path
from typing import Any, LiteralString

import psycopg

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/support"))
from postgres_server import Server

ANSWER = b'{"data":[],"page_size":0}'


def vendor(ports: "Queue[int]", met: "SynchronizedArray[int]", stop: EventType) -> None:
    """Answers every request with an empty list; `met` counts connections and requests."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met[0] += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                met[1] += 1
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


def configuration(folder: Path, ports: list[int], endpoints: int, lists: int, store: dict[str, object]) -> Path:
    """So many endpoints, `lists` of them for each source; ten hosts, each with ten requests at a time."""
    folder.mkdir()
    each = ["cdrs", "recordings"][:lists]
    source = {
        "kind": "fonouc",
        "api_key": {"env": "BENCH_KEY"},
        "account_id": "acme",
        "concurrency": 10,
        "endpoints": {name: {"start": "1h"} for name in each},
    }
    sources = {
        f"s{n}": {**source, "base_url": f"http://127.0.0.1:{ports[n % len(ports)]}"} for n in range(endpoints // lists)
    }
    settings = {
        "store": store,
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


def seconds(pid: int) -> tuple[float, float, float]:
    """CPU of a process so far: its own code's, the kernel's, and that of its children which have ended."""
    found = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:15]
    user, system, *ended = (int(one) / os.sysconf("SC_CLK_TCK") for one in found)
    return user, system, sum(ended)


class Database:
    """The server that replicas share, and what it was asked."""

    def __init__(self, *, count: bool) -> None:
        self.server = Server(durable=True)
        if count:
            with (self.server.data / "postgresql.conf").open("a") as settings:
                settings.write("shared_preload_libraries = pg_stat_statements\n")
        self.server.start()
        if count:
            self._rows("CREATE EXTENSION pg_stat_statements")

    def _rows(self, statement: LiteralString) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def took(self) -> Counter[str]:
        """Of which a poll's share is shown."""
        leader = int((self.server.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
        cpu = sum(seconds(leader)) + sum(sum(seconds(int(child))[:2]) for child in children)
        ((statements,),) = self._rows("SELECT sum(calls)::bigint FROM pg_stat_statements")
        ((transactions, sessions),) = self._rows(
            "SELECT sum(xact_commit)::bigint, sum(sessions)::bigint FROM pg_stat_database"
        )
        return Counter({"ms of the database's CPU": cpu * 1e3, "statements": statements, "transactions": transactions,
                        "connections to the database": sessions})  # fmt: skip


class Daemon:
    """One replica and what was seen of it."""

    def __init__(self, config: Path, *, core: int | None) -> None:
        self.log = config.with_name("log")
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        with self.log.open("w") as sink:
            self.process = subprocess.Popen(
                [*pinned, sys.executable, "-m", "poller", "run", "-c", str(config)],
                env={**os.environ, "BENCH_KEY": "key"}, stderr=sink,
            )  # fmt: skip
        self.port = 0
        self.began = (0.0, 0)
        """CPU seconds and polls when the measured span began."""
        self.text = ""
        self.slowest = 0.0

    def scrape(self) -> None:
        """As Prometheus would."""
        self.port = self.port or metrics_port(self.log, time.monotonic() + 300)
        began = time.monotonic()
        self.text = urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30).read().decode()
        self.slowest = max(self.slowest, time.monotonic() - began)

    def begin(self) -> None:
        """The span that is measured."""
        self.scrape()
        self.began = self.cpu(), lateness(self.text)[2]

    def cpu(self) -> float:
        """Seconds up to now."""
        return sum(seconds(self.process.pid)[:2])

    def took(self) -> Counter[str]:
        """Of which a poll's share is shown."""
        user, system, _ = seconds(self.process.pid)
        found = Counter({"ms of the program's own code": user * 1e3, "ms of the kernel for it": system * 1e3})
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            for why in ("nonvoluntary", "voluntary"):
                switches = re.search(rf"^{why}_ctxt_switches:\s+(\d+)", (thread / "status").read_text(), re.MULTILINE)
                found[f"{why} context switches"] += int(switches[1])  # type: ignore[index]
        return found

    def resident(self) -> int:
        """MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024  # type: ignore[index]

    def end(self) -> None:
        """Cleanly."""
        self.process.terminate()
        self.process.wait(60)


def main() -> None:
    """One run."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--endpoints", type=int, default=1_000)
    arguments.add_argument("--lists", type=int, default=2, choices=(1, 2))
    arguments.add_argument("--seconds", type=float, default=150)
    arguments.add_argument("--settle", type=float, default=75)
    arguments.add_argument("--replicas", type=int, default=0)
    arguments.add_argument("--apart", action="store_true")
    arguments.add_argument("--count", action="store_true")
    options = arguments.parse_args()
    core = min(os.sched_getaffinity(0)) if options.apart or not options.replicas else None
    if options.apart:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    met = Array("q", 2)
    with tempfile.TemporaryDirectory() as name, vendors(met) as ports, contextlib.ExitStack() as stack:
        folder = Path(name)
        store: dict[str, object] = {"kind": "sqlite", "path": str(folder / "poller.db")}
        if options.replicas:
            database = Database(count=options.count)
            stack.callback(database.server.remove)
            (folder / "dsn").write_text(database.server.dsn())
            store = {"kind": "postgres", "dsn": {"file": str(folder / "dsn")}}
        daemons = []
        for number in range(options.replicas or 1):
            config = configuration(folder / f"replica{number}", ports, options.endpoints, options.lists, store)
            daemons.append(Daemon(config, core=core))
            stack.callback(daemons[-1].end)

        def took() -> Counter[str]:
            found = Counter({"connections to vendors": met[0], "requests": met[1]})
            for one in [*daemons, *([database] if options.replicas else [])]:
                found += one.took()
            return found

        watch(daemons, options.settle)
        for daemon in daemons:
            daemon.begin()
        before = took() if options.count else Counter()
        watch(daemons, options.seconds)
        more = took() - before if options.count else Counter()
        report(daemons, options.seconds, more)


@contextlib.contextmanager
def vendors(met: "SynchronizedArray[int]") -> Iterator[list[int]]:
    """Their ports."""
    stop, places = Event(), Queue()
    feeder = Process(target=vendor, args=(places, met, stop), daemon=True)
    feeder.start()
    try:
        yield [places.get() for _ in range(10)]
    finally:
        stop.set()


def watch(daemons: list[Daemon], seconds: float) -> None:
    """Scrapes each every 10 s, from when it is up."""
    for daemon in daemons:
        daemon.scrape()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(10, left))
        for daemon in daemons:
            daemon.scrape()


def report(daemons: list[Daemon], seconds: float, took: Counter[str]) -> None:
    """Exits with 1 where polls are late."""
    found = [lateness(daemon.text) for daemon in daemons]
    within, tenth, polls = (sum(column) for column in zip(*found, strict=True))
    shares = " + ".join(f"{one[2]:,}" for one in found)
    print(f"polls {shares}: {within / polls:.2%} within 1 s, {tenth / polls:.2%} within 0.1 s of their time")
    cpu = sum(daemon.cpu() - daemon.began[0] for daemon in daemons)
    measured = polls - sum(daemon.began[1] for daemon in daemons)
    resident = " + ".join(f"{daemon.resident()}" for daemon in daemons)
    slowest = max(daemon.slowest for daemon in daemons)
    print(
        f"slowest scrape {slowest:.2f} s; {cpu:.1f} CPU s in {seconds:.0f} s once all have their share, "
        f"{cpu / measured * 1e3:.2f} ms a poll; {resident} MB resident"
    )
    for what, count in took.items():
        print(f"{count / measured:8.3f} {what}")
    if within / polls < 0.99:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
