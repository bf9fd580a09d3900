"""What webhooks cost the rest of the process: commits and Kafka (the real broker) alone, beside 30 webhooks that catch up, and
beside 30 that never answer while most of what waits for them has to be dropped.

    .venv/bin/python benchmarks/bench_webhook_beside.py [--seconds 15] [--backlog 3000]

A page of five calls is committed four times a second, as polls do it: SQLite with synchronous=FULL. Prints how long the commits
take, how long it takes from a commit until its events are in Kafka, what the webhooks delivered, and the CPU that the process took.
"""

import argparse
import io
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import anyio
from bench_webhook_line import fill, receiving

from poller import app, config, uv
from poller.app_parts import App
from poller.deliver import Delivery
from poller.log import set_up
from poller.redact import Redactor
from poller.signing import hmac_text
from poller.simulate.broker import Broker

SINKS = 30
EVERY, CALLS = 0.25, 5
SCENES = {
    "Kafka alone": (0, "good", {}),
    "30 that catch up": (SINKS, "good", {}),
    "30 that hang": (SINKS, "hang", {"max_pending": "64KiB", "max_dead_letters": "64KiB"}),
}


def settings(folder: Path, port: int, bootstrap: str, sinks: int, path: str, limits: dict[str, str]) -> config.Settings:
    """A daemon's configuration with Kafka and so many webhooks."""
    hook = {
        "kind": "webhook",
        "url": f"http://127.0.0.1:{port}/{path}",
        "secrets": [hmac_text(os.urandom(32))],
        "allow": ["127.0.0.0/8"],
        "allow_http": True,
        "start_from": "earliest",
        **limits,
    }
    kafka = {
        "kind": "kafka",
        "bootstrap_servers": [bootstrap],
        "topics": {"call": f"{folder.name}.calls", "recording": f"{folder.name}.recordings"},
        "progress_topic": f"{folder.name}.progress",
        "transactional_id_prefix": folder.name,
        "create_topics": True,
    }
    text = {
        "store": {"kind": "sqlite", "path": str(folder / "poller.db")},
        "admin": {"socket": str(folder / "poller.sock")},
        "sinks": {"kafka": kafka} | {f"{path}{n}": hook for n in range(sinks)},
    }
    written = folder / "poller.yaml"
    written.write_text(json.dumps(text))
    return config.load(written, {}, literals=True)


async def measure(running: App, seconds: float) -> tuple[list[float], list[float]]:
    """Commits and waits; how long each commit took, and each way to Kafka."""
    kafka = next(one for one in running.deliveries if isinstance(one, Delivery))
    shard, commits, ways = running.shards[0], list[float](), list[float]()

    async def arrives(last: int, began: float) -> None:
        while kafka.position is None or kafka.position.seq < last:  # noqa: ASYNC110 nobody tells of it
            await anyio.sleep(0.005)
        ways.append(time.monotonic() - began)

    with anyio.move_on_after(120):
        async with anyio.create_task_group() as waits:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                began = time.monotonic()
                async with shard.lock:
                    await fill(running, CALLS)
                shard.tell()
                committed = time.monotonic()
                commits.append(committed - began)
                waits.start_soon(arrives, shard.held.last.seq, committed)
                await anyio.sleep(max(0.0, began + EVERY - time.monotonic()))
    return commits, ways


def counted(running: App, path: str, sinks: int) -> tuple[float, float]:
    """What webhooks were given, and what was dropped."""
    it, names = running.metrics.deliveries, [f"{path}{n}" for n in range(sinks)]
    return sum(it[name, "delivered", ""].value or 0 for name in names), sum(
        it[name, "dead", "backlog"].value or 0 for name in names
    )


async def scene(folder: Path, port: int, bootstrap: str, options: argparse.Namespace, name: str) -> None:
    """One line of figures."""
    sinks, path, limits = SCENES[name]
    async with app.opened(settings(folder, port, bootstrap, sinks, path, limits)) as running:
        await fill(running, options.backlog)
        async with anyio.create_task_group() as out:
            kafka = next(one for one in running.deliveries if isinstance(one, Delivery))
            await out.start(kafka.run)
            await kafka.caught_up()
            for delivery in running.deliveries:
                if delivery is not kafka:
                    await out.start(delivery.run)
            before = counted(running, path, sinks)
            cpu, wall = time.process_time(), time.monotonic()
            commits, ways = await measure(running, options.seconds)
            cpu, wall = time.process_time() - cpu, time.monotonic() - wall
            taken, dead = (now - was for now, was in zip(counted(running, path, sinks), before, strict=True))
            out.cancel_scope.cancel()
    print(
        f"{name:18} commit p50 {at(commits, 50):5.0f} p99 {at(commits, 99):5.0f} ms   to Kafka p50 {at(ways, 50):5.0f} "
        f"p99 {at(ways, 99):5.0f} ms   {taken / wall:6.0f} delivered/s  {dead / wall:6.0f} dropped/s  {cpu / wall:5.0%} of a core"
    )


def at(seconds: Sequence[float], percent: int) -> float:
    """A percentile in milliseconds."""
    found = sorted(seconds)
    return found[min(len(found) - 1, len(found) * percent // 100)] * 1000 if found else float("nan")


def main() -> None:
    """All scenes, each with a store of its own."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seconds", type=float, default=15)
    arguments.add_argument("--backlog", type=int, default=3_000)
    options = arguments.parse_args()
    set_up(form="json", level="error", redact=Redactor(), stream=io.StringIO())
    with tempfile.TemporaryDirectory() as name, receiving() as (port, _):
        broker = Broker(Path(name) / "broker")
        broker.start()
        try:
            for number, label in enumerate(SCENES):
                folder = Path(name) / f"scene{number}"
                folder.mkdir()
                uv.run(scene, folder, port, broker.bootstrap, options, label)
        finally:
            broker.stop()


if __name__ == "__main__":
    main()
