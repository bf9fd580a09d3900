"""End to end on the real broker: FonoUC records → SQLite (synchronous=FULL) → Kafka, exactly once. CPU per event, truth checked.

    .venv/bin/python benchmarks/bench_end_to_end.py [--records 200000] [--profile FILE] [--postgres]

`--postgres`: with a PostgreSQL server of its own instead, one shard as SQLite has; the server's own work is not counted.

Two runs of the program on one store: everything new, then everything known, in shifted pages and another order. Prints events
per CPU-second (user + system of the poller's process and all its children, start-up taken off: the median of three runs that find
nothing to read), and what was lost or doubled.
"""

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import topic
import used
from daemon import command, configuration, environment, identity
from feed import SPAN, Vendor

from poller.simulate.broker import Broker

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/support"))
from postgres_server import Server


def run(config: Path, profile: str | None = None) -> used.Used:
    """One `run --once`."""
    done = used.run(command(config, profile=profile), environment())
    if done.code:
        raise SystemExit(f"the program ended with {done.code}")
    return done


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
        try:
            with Vendor(options.records, begin) as vendor:
                (folder / "bench").mkdir()
                config = configuration(folder / "bench", vendor.port, broker.bootstrap, begin)
                idle = statistics.median(
                    start_up(folder / f"empty{n}", vendor.port, broker.bootstrap) for n in range(3)
                )
                new = run(config, options.profile)
                vendor.again.set()
                known = run(config, f"{options.profile}.known" if options.profile else None)
            found = topic.found(broker.bootstrap, "bench.calls", identity)
        finally:
            broker.stop()
        twice = found.total() - len(found)
        print(f"start-up                  {idle:8.2f} CPU s (taken off below)")
        for label, run_ in (("new events", new), ("known records", known)):
            net = run_.cpu - idle
            print(
                f"{label:24} {options.records / net:10,.0f} per CPU-second  {net / options.records * 1e6:6.1f} µs each  "
                f"{run_.wall:6.1f} s wall"
            )
        print(f"resident at most {max(new.resident, known.resident) / 1e6:.0f} MB")
        print(f"published {len(found):,} of {options.records:,}; missing {options.records - len(found)}, twice {twice}")
        if len(found) != options.records or twice:
            raise SystemExit(1)


def start_up(folder: Path, port: int, bootstrap: str) -> float:
    """CPU seconds of a whole run of the program, on a store of its own, that finds nothing."""
    folder.mkdir()
    return run(configuration(folder, port, bootstrap, int(time.time()))).cpu


if __name__ == "__main__":
    main()
