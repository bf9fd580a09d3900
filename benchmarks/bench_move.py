"""What it takes to move a store: `python benchmarks/bench_move.py [IDS…]` (default 300000).

Export of SQLite, import into SQLite and into PostgreSQL with 16 shards, each as a process of its own: seconds, CPU of our
process, and what it held at most. The server is one of our own, or that of `POLLER_BENCH_DSN`, whose schema `bench` is dropped.
"""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psycopg

from poller.stores.sqlite import Config, open_store

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/support"))
from postgres_server import Server, missing
from thulium_office import OFFICE

CONFIG = (
    """\
store: {STORE}
sinks: {out: {kind: ndjson, path: out.jsonl}}
"""
    + OFFICE
)
DAYS = 30


async def fill(path: Path, ids: int) -> None:
    """A store that has seen so many ids over 30 days."""
    await (await open_store(Config(path=path))).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO seen "
            "SELECT 20000 + i * ? / ?, randomblob(16), randomblob(8), 0 FROM n", (ids, DAYS, ids + 1)
        )  # fmt: skip
        connection.execute("UPDATE counter SET value = value + ? WHERE name = 'seen'", (ids,))


def measure(label: str, folder: Path, ids: int, *words: str) -> None:
    """One command."""
    environment = {**os.environ, "PASSWORD": "x", "DSN": os.environ.get("DSN", "")}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "poller.cli", "state", *words, "calls.state", "--json"],
        cwd=folder, env=environment, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    wall = time.perf_counter() - began
    if status or json.loads(said)["seen"] != ids:
        raise SystemExit(f"{label}: failed")
    cpu = usage.ru_utime + usage.ru_stime
    held = usage.ru_maxrss / 1024
    print(
        f"  {label:28} {wall:7.1f} s   CPU {cpu:6.1f} s, {cpu / ids * 1e6:5.2f} µs/id   at most {held:4.0f} MiB",
        flush=True,
    )


def bench(dsn: str | None, ids: int) -> None:
    """One size."""
    print(f"{ids} ids")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        stores = {
            "old": "{kind: sqlite, path: old.db}",
            "new": "{kind: sqlite, path: new.db}",
            "many": "{kind: postgres, dsn: {env: DSN}, schema: bench}",
        }
        for name, store in stores.items():
            (folder / f"{name}.yaml").write_text(CONFIG.replace("{STORE}", store))
        asyncio.run(fill(folder / "old.db", ids))
        measure("export", folder, ids, "export", "-c", "old.yaml")
        size = (folder / "calls.state").stat().st_size
        print(f"  the file takes {size / 1e6:.0f} MB, {size / ids:.0f} bytes an id")
        measure("import into SQLite", folder, ids, "import", "-c", "new.yaml")
        if dsn is not None:
            os.environ["DSN"] = dsn
            measure("import into PostgreSQL", folder, ids, "import", "-c", "many.yaml")
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("DROP SCHEMA bench CASCADE")


def main() -> None:
    """Each size after the other."""
    dsn, server = os.environ.get("POLLER_BENCH_DSN"), None
    if dsn is None and missing():
        print(f"not measured with PostgreSQL: {missing()}")
    elif dsn is None:
        server = Server(durable=True)
        server.start()
        dsn = server.dsn()
    try:
        for size in [int(text) for text in sys.argv[1:]] or [300_000]:
            bench(dsn, size)
    finally:
        if server is not None:
            server.remove()


if __name__ == "__main__":
    main()
