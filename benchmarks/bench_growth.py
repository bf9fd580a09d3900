"""How each cost grows with its size: fitted exponents, and the drawing in docs/images/growth.svg.

    .venv/bin/python benchmarks/bench_growth.py [--most 100] [--draw]

Sizes are 1, 10 and 100 times the least; `--most 1000` goes on, which needs minutes and gigabytes. CPU of this process, the best of
several rounds. Fails where a cost that has to be flat grows: an exponent above its bound.
"""

import argparse
import random
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from bench_store import DAYS, PAGE, event, fill, keys
from bench_webhook_line import deliver, receiving

from poller import uv
from poller.metrics import Metrics
from poller.model import PageCommit, Position, SeenKey, Window
from poller.segment import pack
from poller.shard import Shard
from poller.simulate.bulk import Bulk
from poller.simulate.mor_feed import local
from poller.simulate.mor_xml import calls_head
from poller.sources import mor
from poller.stores.sqlite import Config, open_store

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))
from growth_plot import Curve, Points, drawing

DRAWING = Path(__file__).parents[1] / "docs/images/growth.svg"
ROUNDS = 12
FLAT, TREE, LINEAR = 0.15, 0.25, 1.1
"""Bounds. What is flat moves a little. A thousand keys by chance lie on ever more leaves of one day's tree, until each has its own."""


async def best(work: Callable[[], Awaitable[object]], rounds: int = ROUNDS) -> float:
    """Microseconds of CPU of the fastest."""
    costs = []
    for _ in range(rounds):
        began = time.process_time_ns()
        await work()
        costs.append(time.process_time_ns() - began)
    return min(costs) / 1_000


async def ids(folder: Path, sizes: list[int]) -> list[Curve]:
    """Look-ups, commits and the start, by what is remembered."""
    known, unknown, new, start = Points(), Points(), Points(), Points()
    for size in sizes:
        rnd, path = random.Random(1), folder / f"ids-{size}.db"
        store = await open_store(Config(path=path))
        held = await store.hold(0)
        pages = iter((await fill(store, held, rnd, size))[-2:] * 30)  # of the newest day, as passes ask
        fresh = iter([keys(rnd, 20_000 + DAYS - 1, PAGE) for _ in range(2 * ROUNDS)])
        await store.close()

        async def opened(path: Path = path) -> None:
            again = await open_store(Config(path=path))
            await Shard(again, 0).believe()
            await again.close()

        start.append((size, await best(opened) / 1_000))
        store = await open_store(Config(path=path))
        held = await store.hold(0)

        async def commit(store: Any = store, fresh: Iterator[list[SeenKey]] = fresh) -> None:
            nonlocal held
            page = next(fresh)
            one = pack([event(key) for key in page], held.last, time.time())
            held = await store.commit_page(held, PageCommit(segment=one, seen=[(key, one.first) for key in page]))

        def look_up(pages: Iterator[list[SeenKey]], store: Any = store) -> Callable[[], Awaitable[object]]:
            return lambda: store.look_up(None, next(pages))

        known.append((size, await best(look_up(pages), 60) / PAGE))
        unknown.append((size, await best(look_up(fresh)) / PAGE))
        new.append((size, await best(commit) / PAGE))
        await store.close()
    what = "ids remembered"
    return [
        Curve("look-up, known", what, "µs a record", known, TREE),
        Curve("look-up, unknown", what, "µs a record", unknown, TREE),
        Curve("commit of new ones", what, "µs a record", new, TREE),
        Curve("start of the store", what, "ms", start, FLAT),
    ]


async def waiting(folder: Path, sizes: list[int]) -> list[Curve]:
    """The log, by what waits in it: commits of two events, as quiet sources make them."""
    read, done, look = Points(), Points(), Points()
    for size in sizes:
        rnd = random.Random(1)
        store = await open_store(Config(path=folder / f"log-{size}.db"))
        held = await store.hold(0)
        for _ in range(size // 2):
            one = pack([event(key) for key in keys(rnd, 20_000, 2)], held.last, 1.0)
            held = await store.commit_page(held, PageCommit(segment=one))
        some = await store.segments_after(0, 0, 1 << 20)
        places = iter([(one.last, one.chain) for one in some])

        async def reading(store: Any = store) -> None:
            await store.segments_after(0, 0, 1 << 20)

        read.append((size, await best(reading, 60) / sum(one.last - one.first + 1 for one in some)))

        async def delivered(store: Any = store, held: Any = held, places: Any = places) -> None:
            await store.delivered(held, "out", Position(*next(places)))

        done.append((size, await best(delivered)))

        async def looking(store: Any = store) -> None:
            await store.backlog(0, 0, "out")

        look.append((size, await best(looking)))
        await store.close()
    what = "events waiting"
    return [
        Curve("reading the log", what, "µs an event", read, FLAT),
        Curve("noting a delivery", what, "µs", done, FLAT),
        Curve("a look at what waits", what, "µs", look, LINEAR),
    ]


async def scrapes(sizes: list[int]) -> list[Curve]:
    """The metrics, by sources of two lists."""
    cost, text = Points(), Points()
    for size in sizes:
        metrics = Metrics()
        for number in range(size):
            for endpoint in ("fonouc.cdrs", "fonouc.recordings"):
                metrics.declare(f"source-{number}", endpoint)

        async def write(metrics: Metrics = metrics) -> int:
            return sum(map(len, metrics.write()))

        text.append((size, await write() / 1_024))
        cost.append((size, await best(write, 5) / 1_000))
    return [
        Curve("a scrape", "sources", "ms", cost, LINEAR),
        Curve("size of a scrape", "sources", "KiB", text, LINEAR),
    ]


def memory(name: str) -> int:
    """KiB; `VmHWM`: the most since `forget_peak`."""
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


def forget_peak() -> None:
    """From now on `VmHWM` is the most since now."""
    Path("/proc/self/clear_refs").write_text("5")


async def answers(sizes: list[int]) -> list[Curve]:
    """One XML answer of so many calls, as it comes in."""
    given = {"kind": "mor", "base_url": "http://vendor.invalid", "username": "u", "version": "x13", "api_secret": {"env": "K"},
             "timezone": "Europe/Riga", "endpoints": {"user_calls": {}}}  # fmt: skip
    endpoint = mor.build("mor", mor.Config.model_validate(given, context={"env": {"K": "k"}})).endpoints["user_calls"]
    begin = 1_700_000_000
    cost, most = Points(), Points()
    for size in sizes:
        bulk = Bulk(size, begin, begin + 600)
        head = calls_head(total=size, echo=(local(begin), local(begin + 600)), username="u", userid=0, everything=True)
        forget_peak()
        spent, count = 0, 0
        reading = endpoint.reading(endpoint.asks[0], Window(begin, begin + 600), None)
        pending = ""
        for piece in bulk.mor_page(head, range(size)):
            pending += piece
            if len(pending) >= 1 << 16:
                began = time.process_time_ns()
                count += len(reading.feed(pending.encode()))
                spent, pending = spent + time.process_time_ns() - began, ""
        count += len(reading.feed(pending.encode())) + len(reading.close().records)
        assert count == size
        cost.append((size, spent / size / 1_000))
        most.append((size, memory("VmHWM") / 1_024))
    what = "calls in one answer"
    return [
        Curve("reading XML", what, "µs a call", cost, FLAT),
        Curve("memory for an answer", what, "MiB resident at most", most, FLAT),
    ]


async def webhooks(folder: Path, sizes: list[int]) -> list[Curve]:
    """All of the way out, by how many webhooks share it."""
    cost = Points()
    with receiving() as (port, taken):
        for size in sizes:
            place = folder / f"webhooks-{size}"
            place.mkdir()
            each = max(100, 2_000 // size)  # what opening a connection costs is not asked here
            cpu, _, _, _ = await deliver(place, port, taken, size, 0, each)
            cost.append((size, cpu / size / each * 1e6))
    return [Curve("a signed call", "webhooks", "µs of CPU", cost, FLAT)]


async def bench(most: int) -> list[Curve]:
    """Every curve."""
    steps = [step for step in (1, 10, 100, 1_000) if step <= most]

    def sizes(least: int) -> list[int]:
        return [least * step for step in steps if step <= max(100, most if least >= 1_000 else 0)]

    found: list[Curve] = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        for measured in (
            answers(sizes(1_000)), ids(Path(name), sizes(30_000)), waiting(Path(name), sizes(2_000)),
            scrapes(sizes(10)), webhooks(Path(name), sizes(1)),
        ):  # fmt: skip
            some = await measured
            for curve in some:
                print(curve.row(), flush=True)
            found += some
    return found


def main() -> None:
    """Prints; exits 1 where something grows that must not."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--most", type=int, default=100, choices=(10, 100, 1_000))
    arguments.add_argument("--draw", action="store_true")
    options = arguments.parse_args()
    found = uv.run(bench, options.most)
    if options.draw:
        DRAWING.parent.mkdir(exist_ok=True)
        DRAWING.write_text(drawing(found))
    sys.exit(any(curve.fault for curve in found))


if __name__ == "__main__":
    main()
