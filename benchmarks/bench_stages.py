"""CPU microseconds per record by stage, from the raw record to the Kafka batch, in one process: `bench_stages.py [PAGES]`.

FonoUC's records, 4,000 at a time, through the real endpoint, keeper and SQLite store, then through what the Kafka sink does to each
event. The median commit counts, and the best one, which other work on the machine disturbs least.
"""

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from feed import record

from poller import segment, uv
from poller.clock import SystemClock
from poller.keep import Keeper, Walk
from poller.metrics import Metrics
from poller.model import Segment, Window
from poller.poll import GATHERED
from poller.shard import Shard
from poller.sinks.kafka.batch import RecordBatch
from poller.sinks.kafka.partition import hashes_of
from poller.sinks.kafka.records import Constants, encoded
from poller.sources.fonouc import Config, build
from poller.stores.sqlite import Config as StoreConfig
from poller.stores.sqlite import open_store

PAGE = GATHERED
"""What the program commits at once where pages come quickly."""
times: dict[str, list[float]] = defaultdict(list)


def timed(thing: Any, name: str, label: str, *, waits: bool = False) -> None:
    """Notes the CPU time of each call of a method; `waits`: it is a coroutine."""
    call: Callable[..., Any] = getattr(thing, name)

    async def waiting(*arguments: Any, **named: Any) -> Any:
        began = time.process_time()
        found = await call(*arguments, **named)
        times[label].append(time.process_time() - began)
        return found

    def direct(*arguments: Any, **named: Any) -> Any:
        began = time.process_time()
        found = call(*arguments, **named)
        times[label].append(time.process_time() - began)
        return found

    setattr(thing, name, waiting if waits else direct)


def as_batches(one: Segment, constants: Constants) -> None:
    """What the Kafka sink does with a segment, without a broker."""
    batches: dict[int, RecordBatch] = {}
    events = segment.unpack(one)
    keys = [event.key.encode() for event in events]
    for seq, (event, key, hashed) in enumerate(zip(events, keys, hashes_of(keys), strict=True), one.first):
        place = hashed % 6
        if place not in batches:
            batches[place] = RecordBatch(1 << 20, "zstd", transactional=True, at=0)
        _, fixed = constants.of(event.type, event.source)
        batches[place].append(encoded(fixed, seq, event, key))
    for batch in batches.values():
        batch._build()  # noqa: SLF001 as the library does


def show(title: str) -> None:
    """The stages so far, and forgets them."""
    print(title)
    for label, seconds in times.items():
        ordered = sorted(seconds)
        print(f"  {label:40}{ordered[len(ordered) // 2] / PAGE * 1e6:8.1f} µs   best {ordered[0] / PAGE * 1e6:6.1f} µs")
    times.clear()


async def bench(pages: int) -> None:
    """Everything new, everything known, then out."""
    context = {"env": {"KEY": "k"}}
    options = {
        "kind": "fonouc",
        "base_url": "http://vendor.invalid",
        "api_key": {"env": "KEY"},
        "account_id": "a",
        "endpoints": {"cdrs": {}},
    }
    config = Config.model_validate(options, context=context)
    endpoint = build("fono", config).endpoints["cdrs"]
    if config.endpoints.cdrs is None:
        raise SystemExit("the configuration above has cdrs")
    with tempfile.TemporaryDirectory() as folder:
        store = await open_store(StoreConfig(kind="sqlite", path=Path(folder) / "poller.db"))
        shard = Shard(store, 0)
        await shard.believe()
        keeper = Keeper("fono", endpoint, config.endpoints.cdrs, shard, metrics=Metrics(), clock=SystemClock(), mentions=True, name="fono")  # fmt: skip
        for thing, name, label, waits in (
            (keeper, "_keys", "keys and hashes", False),
            (store, "look_up", "look-up", True),
            (keeper, "_unseen", "look-up, normalise, encode", True),
            (segment, "pack", "pack", False),
            (store, "commit_page", "commit", True),
            (keeper, "keep", "all of the way in, without HTTP", True),
        ):
            timed(thing, name, label, waits=waits)
        rows = [[record(n, pages * PAGE, 1_700_000_000) for n in range(p * PAGE, (p + 1) * PAGE)] for p in range(pages)]
        for title in (f"new, {pages:,} commits of {PAGE:,}", "known"):
            for page in rows:
                walk = Walk(ask="", generation=shard.generation, asked=Window(0, 1 << 40), tolerance=0, horizon=0, read_until=None, complete_until=None, reach=1)  # fmt: skip
                await keeper.keep(page, walk)
            show(title)
        constants = Constants(lambda _: "calls")
        for one in await store.segments_after(0, 0, 1 << 40):
            began = time.process_time()
            as_batches(one, constants)
            times["unpack, headers, partition, batch, zstd"].append(time.process_time() - began)
        show("the way out, without the broker")
        await store.close()


if __name__ == "__main__":
    uv.run(bench, int(sys.argv[1]) if len(sys.argv) > 1 else 80)
