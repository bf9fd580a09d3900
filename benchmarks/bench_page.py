"""The status page's first page for many phone systems, and the way of one call in a large store.

    .venv/bin/python benchmarks/bench_page.py [--sources 1000] [--ids 2000000]

Fails where a page takes 300 ms of CPU or more. Everything that a request costs is counted, the client in the same process included.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from pathlib import Path

import anyio
import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from delivery_events import SOURCE, call_event, seen_key
from page_made import TOKEN, Figures, served
from polling_app import app_of

from poller import segment
from poller.clock import SystemClock
from poller.config import Settings
from poller.metrics import Metrics
from poller.model import CheckpointKey, PageCommit, SeenKey
from poller.operate import Work
from poller.shard import Shard
from poller.stores.memory import Config as Memory
from poller.stores.sqlite import Config, open_store

LIMIT = 0.3
"""Seconds of CPU."""
DAYS = 30
ROWS = 20_000
"""Ids in one commit."""
EVENTS = 40_000
"""Of the log."""


async def measured(what: str, once: Callable[[], Awaitable[object]]) -> float:
    """The median of nine, in seconds of CPU; said with the seconds on the clock."""
    cpu, wall = [], []
    for _ in range(9):
        began = time.process_time(), time.perf_counter()
        await once()
        cpu.append(time.process_time() - began[0])
        wall.append(time.perf_counter() - began[1])
    print(f"{what}: {sorted(cpu)[4] * 1_000:.0f} ms of CPU, {sorted(wall)[4] * 1_000:.0f} ms on the clock")
    return sorted(cpu)[4]


async def pages(sources: int) -> float:
    """All is well, and all is down."""
    worst = 0.0
    for figures in (Figures(sources), Figures(sources, down=True)):
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with served(figures) as url, httpx.AsyncClient(headers=headers, trust_env=False) as browser:
            what = f"{sources} phone systems, {'all' if figures.down else 'one in a hundred'} behind"
            worst = max(worst, await measured(what, lambda url=url, browser=browser: browser.get(url)))
    return worst


async def journeys(folder: Path, sources: int, ids: int) -> None:
    """By key in so many ids, and in the newest events."""
    store = await open_store(Config(kind="sqlite", path=folder / "bench.db"))
    try:
        shard = Shard(store, 0)
        await shard.believe()
        for first in range(0, ids, ROWS):
            keys = [
                SeenKey(19_990 + first // ROWS % DAYS, blake2b(b"%d" % n, digest_size=16).digest(), bytes(8))
                for n in range(first, first + ROWS)
            ]
            shard.held = await store.commit_page(shard.held, PageCommit(seen=[(key, 0) for key in keys]))
        for first in range(1, EVENTS, 1_000):
            events = [call_event(f"call-{seq}", seq, size=512) for seq in range(first, first + 1_000)]
            seen = [(seen_key(f"call-{seq}"), seq) for seq in range(first, first + 1_000)]
            known = {CheckpointKey(f"source-{n}", "fonouc.cdrs"): b"{}" for n in range(sources - 1)}
            page = PageCommit(
                segment=segment.pack(events, shard.held.last, float(first)),
                seen=seen,
                checkpoints=known | {CheckpointKey(SOURCE, "fonouc.cdrs"): b"{}"},
            )
            shard.held = await store.commit_page(shard.held, page)
        app = app_of(Settings(store=Memory()), store, SystemClock(), Metrics(), random.Random(1), [shard])
        work = Work(app, running=True)
        assert len((await work.journey("call-7")).legs) == 1
        await measured(f"the way of a call, {ids} ids, {sources} sources", lambda: work.journey("call-7"))
        await measured("of one that nobody knows", lambda: work.journey("nobody"))
    finally:
        await store.close()


def main() -> None:
    """Prints; exits 1 above the limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sources", type=int, default=1_000)
    parser.add_argument("--ids", type=int, default=2_000_000)
    asked = parser.parse_args()
    worst = anyio.run(pages, asked.sources)
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(journeys, Path(folder), asked.sources, asked.ids)
    raise SystemExit(worst >= LIMIT)


if __name__ == "__main__":
    main()
