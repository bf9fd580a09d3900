"""The whole way out to webhooks: log in SQLite (synchronous=FULL) → signed calls → a receiver in another process.

    .venv/bin/python benchmarks/bench_webhook_line.py [--events 10000] [--each 100]

First one webhook: deliveries per CPU-second (user + system) of the sending process, the commits included. Then 70 webhooks that
answer, alone and beside 30 that never do: how fast the 70 are, and how much memory the process holds.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import Process, Queue, Value
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import anyio

from poller import app, config, segment, uv
from poller.app_parts import App
from poller.event import Encoder, instant
from poller.identity import Identity
from poller.model import CallData, Keys, Normal, PageCommit, Party
from poller.signing import hmac_text

GOOD, HANGING = 70, 30
_identity, _encoder = Identity("bench", "call"), Encoder("bench", "call")


def receiver(ports: "Queue[int]", taken: "Synchronized[int]") -> None:
    """Answers 200 with an empty body; never where the path begins with /hang."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                lower = head.lower()
                at = lower.index(b"content-length:") + 15
                await reader.readexactly(int(lower[at : lower.index(b"\r\n", at)]))
                if head.startswith(b"POST /hang"):
                    await asyncio.sleep(3600)
                taken.value += 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


@contextlib.contextmanager
def receiving() -> Iterator[tuple[int, "Synchronized[int]"]]:
    """A receiver's port, and how many calls it has answered."""
    ports: Queue[int] = Queue()
    taken = Value("q", 0)
    process = Process(target=receiver, args=(ports, taken), daemon=True)
    process.start()
    try:
        yield ports.get(), taken
    finally:
        process.kill()
        process.join()


def settings(folder: Path, port: int, good: int, hanging: int) -> config.Settings:
    """A daemon's configuration with webhooks only."""
    paths = [f"good{n}" for n in range(good)] + [f"hang{n}" for n in range(hanging)]
    secret = hmac_text(os.urandom(32))
    sinks = {
        path: {
            "kind": "webhook",
            "url": f"http://127.0.0.1:{port}/{path}",
            "secrets": [secret],
            "allow": ["127.0.0.0/8"],
            "allow_http": True,
            "start_from": "earliest",
        }
        for path in paths
    }
    text = {
        "store": {"kind": "sqlite", "path": str(folder / "poller.db")},
        "admin": {"socket": str(folder / "poller.sock")},
        "log": {"level": "error"},
        "sinks": sinks,
    }
    path = folder / "poller.yaml"
    path.write_text(json.dumps(text))
    return config.load(path, {}, literals=True)


async def fill(running: App, count: int) -> None:
    """So many calls in the log, with raw records of the usual size."""
    (shard,) = running.shards
    raw = json.dumps({f"field_{n}": "x" * 20 for n in range(16)}).encode()
    for begin in range(0, count, 1_000):
        events = []
        for n in range(begin, min(count, begin + 1_000)):
            call = f"{n:012x}@198.51.100.9"
            data = CallData(call_id=call, from_=Party("48221234567"), to=Party("196"), vendor=raw)  # type: ignore[arg-type]
            key = _identity.seen_key(Keys(call, 20_000, ""))
            normal = Normal(data=data, subject=call, time=None, partition_key=call)
            at = time.time()
            events.append(_encoder.event(normal, key, new=True, seq=n + 1, recorded=instant(at)))
        commit = PageCommit(segment=segment.pack(events, shard.held.last, time.time()))
        shard.held = await shard.store.commit_page(shard.held, commit)


async def deliver(
    folder: Path, port: int, taken: "Synchronized[int]", good: int, hanging: int, count: int
) -> tuple[float, float, float, float]:
    """CPU and wall seconds until every webhook that answers has everything; resident MiB before and at the end."""
    async with app.opened(settings(folder, port, good, hanging)) as running:
        await fill(running, count)
        taken.value, cpu, wall, before = 0, time.process_time(), time.monotonic(), resident()
        async with anyio.create_task_group() as out:
            for delivery in running.deliveries:
                await out.start(delivery.run)
            async with anyio.create_task_group() as waits:
                for delivery in running.deliveries:
                    if delivery.sink.name.startswith("good"):
                        waits.start_soon(delivery.caught_up)
            spent = time.process_time() - cpu, time.monotonic() - wall, before, resident()
            out.cancel_scope.cancel()
    if taken.value < good * count:
        raise SystemExit(f"the receiver answered {taken.value} calls of {good * count}")
    return spent


def resident() -> float:
    """MiB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)


def main() -> None:
    """Both measurements."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--events", type=int, default=10_000)
    arguments.add_argument("--each", type=int, default=100)
    options = arguments.parse_args()
    with receiving() as (port, taken):
        with tempfile.TemporaryDirectory() as name:
            cpu, wall, _, _ = uv.run(deliver, Path(name), port, taken, 1, 0, options.events)
        print(
            f"one webhook           {options.events / cpu:8,.0f} deliveries per CPU-second  {cpu / options.events * 1e6:6.0f} µs each  {options.events / wall:8,.0f} per second"
        )
        rates = Counter[str]()
        for label, hanging in (("70 webhooks", 0), ("beside 30 that hang", HANGING)):
            with tempfile.TemporaryDirectory() as name:
                cpu, wall, before, after = uv.run(deliver, Path(name), port, taken, GOOD, hanging, options.each)
            rates[label] = round(GOOD * options.each / wall)
            print(
                f"{label:21} {GOOD * options.each / cpu:8,.0f} deliveries per CPU-second  {rates[label]:8,} per second  {before:.0f} → {after:.0f} MiB"
            )


if __name__ == "__main__":
    main()
