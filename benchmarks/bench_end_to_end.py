"""End to end on the real broker: FonoUC records → SQLite (synchronous=FULL) → Kafka, exactly once. CPU per event, truth checked.

    .venv/bin/python benchmarks/bench_end_to_end.py [--records 200000] [--profile FILE] [--postgres]

`--postgres`: with a PostgreSQL server of its own instead, one shard as SQLite has; the server's own work is not counted.

Two runs of the program on one store: everything new, then everything known, in shifted pages and another order. Prints events
per CPU-second (user + system of the poller's process and all its children, start-up taken off: the median of three runs that find
nothing to read), and what was lost or doubled.
"""

import argparse
import asyncio
import contextlib
import functools
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import Event, Process, Queue
from pathlib import Path

from poller.simulate.broker import Broker

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/support"))
from postgres_server import Server

PAGE = 1_000
SPAN = 36_000
"""Seconds over which the records are spread."""
RUNNER = """
import os, sys, anyio, pathlib
from poller import app, config, uv
settings = config.load(pathlib.Path(sys.argv[1]), os.environ)
sys.exit(uv.run(app.run, settings, once=True))
"""


def record(n: int, records: int, begin: int) -> bytes:
    """FonoUC's shape, about 530 bytes, saved at `begin` + its share of SPAN."""
    at = begin + n * SPAN // records
    return (
        b'{"id":"202405-%012x@198.51.100.9","call_id":"%012x@198.51.100.9","datetime":"2024-05-06 17:18:39 +0000 UTC","timestamp":"%d",'
        b'"caller_id_name":"Jane Example","caller_id_number":"1604555%04d","callee_id_name":"Front Desk","callee_id_number":"12%02d",'
        b'"to":"12%02d@acme.example:5060","from":"1604555%04d@198.51.100.9","billing_seconds":"%d","duration_seconds":%d,'
        b'"ringing_seconds":4,"hangup_cause":"NORMAL_CLEARING","media_recording_id":"","recording_filename":"","direction":"Inbound",'
        b'"interaction_id":"%d-%08x"}'
    ) % (
        n,
        n,
        at + 62_167_219_200,
        n % 10_000,
        n % 100,
        n % 100,
        n % 10_000,
        n % 600,
        n % 600 + 4,
        at + 62_167_219_200,
        n,
    )


def feed(records: int, begin: int, ports: "Queue[int]", second: object, stop: object) -> None:
    """The vendor: answers from memory. After `second` is set, pages are shifted and in another order."""
    rows = [record(n, records, begin) for n in range(records)]

    @functools.lru_cache(
        maxsize=4
    )  # a walk asks for one window again and again, and the vendor's own work shall not disturb
    def window(first: int, last: int, again: bool) -> list[bytes]:
        """Newest first; in the second run rotated, so that pages begin elsewhere, and oldest first."""
        low, high = ((at - begin) * records / SPAN for at in (first, last))
        found = rows[max(0, math.ceil(low)) : max(0, math.floor(high) + 1)]
        if again:
            return found[337:] + found[:337]
        found.reverse()
        return found

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1].decode()
                query = dict(part.split("=") for part in path.partition("?")[2].split("&") if "=" in part)
                first = int(query.get("startKey") or 0)
                use = window(int(query["startDate"]), int(query["endDate"]), second.is_set())  # type: ignore[attr-defined]
                page = use[first : first + PAGE]
                more = b'"%d"' % (first + PAGE) if first + PAGE < len(use) else b'""'
                body = b'{"data":[' + b",".join(page) + b'],"page_size":1000,"next_start_key":' + more + b"}"
                date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %s\r\nContent-Length: %d\r\n\r\n"
                writer.write(head % (date, len(body)) + body)
                await writer.drain()
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        ports.put(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(stop.wait)  # type: ignore[attr-defined]

    asyncio.run(serve())


def configuration(folder: Path, port: int, bootstrap: str, begin: int) -> Path:
    """The daemon's configuration as JSON, which is YAML too."""
    path = folder / "poller.yaml"
    sqlite = {"kind": "sqlite", "path": str(folder / "poller.db")}
    postgres = {"kind": "postgres", "dsn": {"env": "BENCH_DSN"}, "shards": 1, "schema": f"bench_{folder.name}"}
    start = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(begin))
    path.write_text(
        json.dumps(
            {
                "store": postgres if "BENCH_DSN" in os.environ else sqlite,
                "server": {"listen": "127.0.0.1:0"},
                "admin": {"socket": str(folder / "poller.sock")},
                "log": {"format": "json", "level": "warning"},
                "sinks": {
                    "kafka": {
                        "kind": "kafka",
                        "bootstrap_servers": [bootstrap],
                        "topics": {"call": "bench.calls", "recording": "bench.recordings"},
                        "progress_topic": "bench.progress",
                        "transactional_id_prefix": folder.name,
                        "create_topics": True,
                    }
                },
                "sources": {
                    "fono": {
                        "kind": "fonouc",
                        "base_url": f"http://127.0.0.1:{port}",
                        "api_key": {"env": "BENCH_KEY"},
                        "account_id": "acme",
                        "endpoints": {"cdrs": {"page_size": PAGE, "start": start, "ladder": [{"back": "12h"}]}},
                    }
                },
            }
        )
    )
    return path


def run(config: Path, profile: str | None = None) -> tuple[float, float]:
    """CPU seconds and wall seconds of one `run --once`."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, *(["-m", "cProfile", "-o", profile] if profile else []), "-c", RUNNER, str(config)]
    if profile:
        runner = config.with_name("runner.py")
        runner.write_text(RUNNER)
        command = [sys.executable, "-m", "cProfile", "-o", profile, str(runner), str(config)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    code = subprocess.run(command, env={**env, "BENCH_KEY": "key"}, check=False).returncode
    if code:
        raise SystemExit(f"the program ended with {code}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.monotonic() - began


async def published(bootstrap: str) -> Counter[str]:
    """Subjects as read_committed readers see them."""
    from aiokafka import AIOKafkaConsumer  # noqa: PLC0415 a benchmark's reader, not the program's

    consumer = AIOKafkaConsumer(
        "bench.calls", bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    found: Counter[str] = Counter()
    try:
        while batch := await consumer.getmany(timeout_ms=3_000, max_records=10_000):
            for messages in batch.values():
                found.update(dict(message.headers)["ce_id"].decode() for message in messages)
    finally:
        await consumer.stop()
    return found


def main() -> None:
    """On one store or the other."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--records", type=int, default=200_000)
    arguments.add_argument("--profile")
    arguments.add_argument("--postgres", action="store_true")
    options = arguments.parse_args()
    with postgres_server() if options.postgres else contextlib.nullcontext():
        bench(options)


@contextlib.contextmanager
def postgres_server() -> Iterator[None]:
    """Its address is in the environment meanwhile."""
    server = Server(durable=True)
    try:
        server.start()
        os.environ["BENCH_DSN"] = server.dsn()
        yield
    finally:
        server.remove()


def bench(options: argparse.Namespace) -> None:
    """Both runs, and the check."""
    begin = int(time.time()) - SPAN - 600
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Broker(folder / "broker")
        broker.start()
        second, stop = Event(), Event()
        ports: Queue[int] = Queue()
        vendor = Process(target=feed, args=(options.records, begin, ports, second, stop), daemon=True)
        vendor.start()
        try:
            port = ports.get()
            config = configuration(folder, port, broker.bootstrap, begin)
            idle = statistics.median(start_up(folder / f"empty{n}", port, broker.bootstrap) for n in range(3))
            new, new_wall = run(config, options.profile)
            second.set()
            known, known_wall = run(config, f"{options.profile}.known" if options.profile else None)
            found = asyncio.run(published(broker.bootstrap))
        finally:
            stop.set()
            vendor.join(10)
            broker.stop()
        twice = sum(count - 1 for count in found.values())
        print(f"start-up                  {idle:8.2f} CPU s (taken off below)")
        for label, cpu, wall in (("new events", new, new_wall), ("known records", known, known_wall)):
            net = cpu - idle
            print(
                f"{label:24} {options.records / net:10,.0f} per CPU-second  {net / options.records * 1e6:6.1f} µs each  {wall:6.1f} s wall"
            )
        print(f"published {len(found):,} of {options.records:,}; missing {options.records - len(found)}, twice {twice}")
        if len(found) != options.records or twice:
            raise SystemExit(1)


def start_up(folder: Path, port: int, bootstrap: str) -> float:
    """CPU seconds of a whole run of the program, on a store of its own, that finds nothing."""
    folder.mkdir()
    return run(configuration(folder, port, bootstrap, int(time.time())))[0]


if __name__ == "__main__":
    main()
