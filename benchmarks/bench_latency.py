"""How long it takes from a record's being visible at the vendor until a read_committed consumer has its event.

    .venv/bin/python benchmarks/bench_latency.py [--seconds 60] [--rate 20] [--interval 1s]

The daemon (SQLite with synchronous=FULL) polls a list to which records are added at random moments, `--rate` a second, and publishes
to the real broker in transactions. One process notes all three moments: visible, first in an answer, with the consumer. Prints p50,
p99 and the longest of each part, and which share is the wait for the next poll.
"""

import argparse
import asyncio
import contextlib
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import topic
from aiokafka import AIOKafkaConsumer, TopicPartition
from daemon import call, command, configuration, environment
from feed import record_at, record_id
from used import machine

from poller.simulate.broker import Broker

AGE = 30
"""A record is dated when its call began, and visible when it has ended."""


@dataclass
class Seen:
    """When what happened, in seconds of one clock. Records are numbered."""

    visible: list[float] = field(default_factory=list)
    answered: dict[int, float] = field(default_factory=dict)
    committed: dict[str, float] = field(default_factory=dict)
    rows: list[tuple[int, bytes]] = field(default_factory=list)

    def add(self) -> None:
        """One more record, at once."""
        n, at = len(self.rows), int(time.time()) - AGE
        self.rows.append((at, record_at(n, at)))
        self.visible.append(time.monotonic())

    def answer(self, first: int, last: int) -> bytes:
        """All of a time span on one page, newest first."""
        found = [n for n in reversed(range(len(self.rows))) if first <= self.rows[n][0] <= last]
        now = time.monotonic()
        for n in found:
            self.answered.setdefault(n, now)
        return b'{"data":[' + b",".join(self.rows[n][1] for n in found) + b'],"page_size":1000,"next_start_key":""}'


async def serve(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The vendor on one connection."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split(b" ", 2)[1].decode()
            query = dict(part.split("=") for part in path.partition("?")[2].split("&"))
            body = seen.answer(int(query["startDate"]), int(query["endDate"]))
            date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()
            said = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %s\r\nContent-Length: %d\r\n\r\n"
            writer.write(said % (date, len(body)) + body)
            await writer.drain()
    writer.close()


async def read(seen: Seen, bootstrap: str, name: str) -> None:
    """What a consumer has, and since when."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(name, number) for number in range(topic.PARTITIONS)])
        await consumer.seek_to_beginning()
        async for message in consumer:
            seen.committed.setdefault(call(message), time.monotonic())
    finally:
        await consumer.stop()


async def measured(folder: Path, bootstrap: str, options: argparse.Namespace) -> Seen:
    """The daemon while records come, and until the last one is through."""
    seen, chance = Seen(), random.Random(1)
    name = f"{folder.name}.calls"
    server = await asyncio.start_server(lambda *streams: serve(seen, *streams), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    ladder = {"ladder": [{"back": "5m"}], "interval": options.interval}
    config = configuration(folder, port, bootstrap, int(time.time()) - 300, **ladder)
    daemon = await asyncio.create_subprocess_exec(*command(config, for_ever=True), env=environment())
    reading = asyncio.create_task(read(seen, bootstrap, name))
    try:
        seen.add()
        await until(lambda: len(seen.committed) == 1, "start")
        end = time.monotonic() + options.seconds
        while time.monotonic() < end:
            await asyncio.sleep(chance.expovariate(options.rate))
            seen.add()
        await until(lambda: len(seen.committed) == len(seen.rows), "come to an end")
    finally:
        daemon.terminate()
        await daemon.wait()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        server.close()
    return seen


async def until(true: Callable[[], bool], what: str) -> None:
    """Waits for something that takes a few seconds."""
    for _ in range(1_200):
        if true():
            return
        await asyncio.sleep(0.05)
    raise SystemExit(f"the daemon did not {what} within a minute")


def told(seen: Seen) -> None:
    """Without the first record, for which the daemon had to start."""
    parts: dict[str, list[float]] = {"visible to committed": [], "waits for a poll": [], "answer to committed": []}
    for n in range(1, len(seen.rows)):
        asked, has = seen.answered[n], seen.committed[record_id(n)]
        for name, seconds in zip(parts, (has - seen.visible[n], asked - seen.visible[n], has - asked), strict=True):
            parts[name].append(seconds)
    print(f"{len(seen.rows) - 1:,} records")
    for name, values in parts.items():
        p50, p99 = statistics.median(values), sorted(values)[math.ceil(0.99 * len(values)) - 1]
        print(
            f"{name:22} p50 {p50 * 1000:6,.0f} ms   p99 {p99 * 1000:6,.0f} ms   longest {max(values) * 1000:6,.0f} ms"
        )
    whole, waits, _ = (sum(values) for values in parts.values())
    print(f"of all this time {waits / whole:.0%} is the wait for the next poll")


def main() -> None:
    """One run."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--rate", type=float, default=20)
    arguments.add_argument("--interval", default="1s")
    options = arguments.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "latency"
        folder.mkdir()
        broker = Broker(Path(name) / "broker")
        broker.start()
        try:
            topic.create(broker.bootstrap, f"{folder.name}.calls")
            told(asyncio.run(measured(folder, broker.bootstrap, options)))
        finally:
            broker.stop()


if __name__ == "__main__":
    main()
