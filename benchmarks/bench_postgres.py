"""What the hot calls cost with PostgreSQL: `python benchmarks/bench_postgres.py [IDS…]` (default 100000 2000000).

CPU is that of our process, a key; the wall clock counts a whole page of 1,000, server and disk included. Medians; the best
stands in brackets. The server is one of our own, or that of
`POLLER_BENCH_DSN`, whose schema `bench` is dropped.
"""

import asyncio
import os
import random
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
from bench_store import DAYS, PAGE, ROUNDS, event, keys
from psycopg.sql import SQL

from poller.model import PageCommit, SeenKey
from poller.segment import pack
from poller.stores.postgres import Config, open_store

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/support"))
from postgres_server import Server, missing

Call = Callable[[list[SeenKey]], Awaitable[object]]


async def measure(label: str, pages: list[list[SeenKey]], call: Call) -> None:
    """Runs `call` for each page and prints what it cost."""
    cpu, wall = [], []
    for page in pages:
        began, at = time.process_time(), time.perf_counter()
        await call(page)
        cpu.append((time.process_time() - began) / len(page) * 1e6)
        wall.append((time.perf_counter() - at) * 1e3)
    print(
        f"  {label:34} CPU {statistics.median(cpu):5.2f} µs/key [{min(cpu):.2f}]"
        f"   wall {statistics.median(wall):6.2f} ms/page [{min(wall):.2f}]",
        flush=True,
    )


FILL = """
WITH fresh AS (
    INSERT INTO bench.seen
    SELECT %(day)s, uuid_send(gen_random_uuid()), substr(uuid_send(gen_random_uuid()), 1, 8), 1 FROM generate_series(1, %(ids)s)
    RETURNING day
)
INSERT INTO bench.seen_count (shard, day, rows) SELECT 0, day, count(*) FROM fresh GROUP BY day
"""


async def fill(dsn: str, rnd: random.Random, ids: int) -> list[list[SeenKey]]:
    """Ids that the server makes by itself, in no order; some pages of known ones."""
    pages = []
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        for day in range(20_000, 20_000 + DAYS):
            await connection.execute(FILL, {"day": day, "ids": ids // DAYS})
            share = min(100.0, 100 * 4 * PAGE * DAYS / ids)
            sample = SQL("SELECT id, state FROM bench.seen WHERE day = {} AND (day & 63) = {} AND random() < {}")
            some = await connection.execute(sample.format(day, day & 63, share / 100), binary=True)
            known = [SeenKey(day, *row) for row in await some.fetchall()]
            pages += [rnd.sample(known, min(PAGE, len(known))) for _ in range(ROUNDS // DAYS)]
        await connection.execute("VACUUM (ANALYZE) bench.seen")
    return pages


async def bytes_of(dsn: str) -> int:
    """What seen ids take, with their keys."""
    sizes = (
        "SELECT sum(pg_total_relation_size(inhrelid))::bigint FROM pg_inherits WHERE inhparent = 'bench.seen'::regclass"
    )
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        ((size,),) = await (await connection.execute(sizes)).fetchall()
    return int(size)


async def bench(dsn: str, ids: int) -> None:
    """One size."""
    rnd = random.Random(1)
    given = {"dsn": dsn, "schema": "bench"}
    store = await open_store(Config.model_validate(given, context={"literals": True}))
    try:
        held = await store.hold(0)
        began = time.perf_counter()
        known = await fill(dsn, rnd, ids)
        print(f"{ids} ids, made in {time.perf_counter() - began:.0f} s", flush=True)
        await measure("known, any of 30 days", known, lambda page: store.look_up(None, page))
        await measure("known, three records", [page[:3] for page in known], lambda page: store.look_up(None, page))
        fresh = [keys(rnd, 20_000 + DAYS - 1, PAGE) for _ in range(ROUNDS)]
        await measure("unknown", fresh, lambda page: store.look_up(None, page))

        async def commit(page: list[SeenKey]) -> None:
            nonlocal held
            segment = pack([event(key) for key in page], held.last, time.time())
            seen = [(key, segment.first + place) for place, key in enumerate(page)]
            held = await store.commit_page(held, PageCommit(segment=segment, seen=seen))

        await measure("insert new with a segment (packed)", fresh, commit)
        print(f"  {await bytes_of(dsn) / ids:.0f} bytes on the disk for each id")
        for label, before in (("the oldest day", 20_001), (f"{DAYS // 2 - 1} days more", 20_000 + DAYS // 2)):
            began = time.perf_counter()
            gone = await store.expire(log_before=0, seen_before_day=before, limit=1 << 40)
            print(f"  {label}: {gone} ids expired in {time.perf_counter() - began:.2f} s", flush=True)
    finally:
        await store.close()


def main() -> None:
    """Each size in a schema of its own."""
    given, server = os.environ.get("POLLER_BENCH_DSN"), None
    if given is None and missing():
        print(f"not measured: {missing()}")
        return
    if given is None:
        server = Server(durable=True)
        server.start()
    try:
        for size in [int(text) for text in sys.argv[1:]] or [100_000, 2_000_000]:
            dsn = given or (server.dsn() if server else "")
            asyncio.run(bench(dsn, size))
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("DROP SCHEMA bench CASCADE")
    finally:
        if server is not None:
            server.remove()
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
