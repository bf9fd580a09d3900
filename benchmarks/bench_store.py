"""Microseconds of CPU per key of the store's hot calls: `python benchmarks/bench_store.py [IDS…]` (default 100000 2000000).

Ids are spread evenly over 30 days; a page of 1,000 known ids is drawn from one day in random order, as a vendor's page is.
Figures are the median page; the best page stands in brackets, since other work shares the machine.
"""

import asyncio
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from poller.model import Event, Held, PageCommit, SeenKey
from poller.protocols import Store
from poller.segment import pack
from poller.stores.sqlite import Config, open_store

DAYS, PAGE, ROUNDS = 30, 1_000, 60
AT_ONCE = 50_000
"""Ids in one commit while a store is filled: a call has a deadline."""


def keys(rnd: random.Random, day: int, count: int) -> list[SeenKey]:
    """New keys of one day."""
    return [SeenKey(day, rnd.randbytes(16), rnd.randbytes(8)) for _ in range(count)]


def event(key: SeenKey) -> Event:
    """As large as a call with its raw record inside."""
    body = key.id.hex().encode() * 38
    return Event(key.id.hex(), "telephony.call.new", "/poller/bench/calls", "subject", None, "key", key, body)


async def measure(label: str, pages: list[list[SeenKey]], call: Callable[[list[SeenKey]], Awaitable[object]]) -> None:
    """Runs `call` for each page and prints what a key cost."""
    costs = []
    for page in pages:
        began = time.process_time()
        await call(page)
        costs.append((time.process_time() - began) / len(page) * 1e6)
    print(f"  {label:34} {statistics.median(costs):6.2f} µs/key  [{min(costs):.2f}]", flush=True)


async def fill(store: Store, held: Held, rnd: random.Random, ids: int) -> list[list[SeenKey]]:
    """Remembers `ids` ids; some pages of known ones."""
    pages = []
    for day in range(DAYS):
        known = keys(rnd, 20_000 + day, ids // DAYS)
        for begin in range(0, len(known), AT_ONCE):
            await store.commit_page(held, PageCommit(seen=[(key, 1) for key in known[begin : begin + AT_ONCE]]))
        pages += [rnd.sample(known, min(PAGE, len(known))) for _ in range(ROUNDS // DAYS)]
    return pages


async def bench(path: Path, ids: int) -> None:
    """One size."""
    rnd = random.Random(1)
    store = await open_store(Config(path=path))
    try:
        held = await store.hold(0)
        known = await fill(store, held, rnd, ids)
        print(f"{ids} ids, {(await store.facts()).bytes / ids:.0f} bytes each")
        latest = [page for page in known if page[0].day >= 20_000 + DAYS - 3] * 10
        await measure("known, any of 30 days, first time", known, lambda page: store.look_up(None, page))
        await measure("known, the newest 3 days", latest, lambda page: store.look_up(None, page))
        shifted = [[key for page in known for key in page if key.day == day] for day in range(20_000, 20_000 + DAYS)]
        await measure("known, seen lately", shifted, lambda page: store.look_up(None, rnd.sample(page, len(page))))
        fresh = [keys(rnd, 20_000 + DAYS - 1, PAGE) for _ in range(ROUNDS)]
        await measure("unknown", fresh, lambda page: store.look_up(None, page))

        async def remember(page: list[SeenKey]) -> None:
            nonlocal held
            held = await store.commit_page(held, PageCommit(seen=[(key, 1) for key in page]))

        await measure("insert new (commit)", fresh, remember)

        async def commit(page: list[SeenKey]) -> None:
            nonlocal held
            segment = pack([event(key) for key in page], held.last, time.time())
            first = segment.first
            seen = [(key, first + place) for place, key in enumerate(page)]
            held = await store.commit_page(held, PageCommit(segment=segment, seen=seen))

        more = [keys(rnd, 20_000 + DAYS - 1, PAGE) for _ in range(ROUNDS)]
        await measure("insert new with a segment (packed)", more, commit)
    finally:
        await store.close()


def main() -> None:
    """Each size in a file of its own."""
    for size in [int(given) for given in sys.argv[1:]] or [100_000, 2_000_000]:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            asyncio.run(bench(Path(folder) / "poller.db", size))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
