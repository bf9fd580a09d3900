"""The first half of `make soak`: does anything grow in two simulated weeks? With `--short` in some days that take seconds, as the tests
run them. A table, and the last line says whether all is flat; the exit code is 1 where it is not. The other half is `soak_hour.py`.
"""

import argparse
import os
import sys
import time
from math import inf
from pathlib import Path

CLOCK = time.perf_counter

import soak_bench  # noqa: E402 the clock is another one afterwards
import soak_figures  # noqa: E402
from crash_time import replace  # noqa: E402
from soak_bench import Length, Ran  # noqa: E402
from soak_figures import Bound, Finding  # noqa: E402
from soak_outside import DAY  # noqa: E402
from soak_plants import PLANTS  # noqa: E402

from poller import deliver, housekeeping, server  # noqa: E402
from poller.one_by_one import delivery, feed  # noqa: E402

BOUNDS = (
    ("resident", "KiB", 128, None, 120 * 1024),
    ("blocks", "", 300, 400, inf),
    ("open files", "", 0.1, 1, 40),
    ("connections", "", 0.3, 1, 20),
    ("tasks", "", 0.3, 1, 60),
    ("series", "", 0.5, 3, inf),
    ("store file", "KiB", 64, None, inf),
    ("store used", "KiB", 64, 24, inf),
    ("kept events", "KiB", 48, 16, inf),
    ("seen ids", "", 100, 60, inf),
    ("write-ahead log", "KiB", 64, None, 40 * 1024),
    ("checkpoints", "KiB", 0.2, 0.5, 100),
)
"""Figure and unit; by how much it may grow with each simulated day of two weeks, and of a short run, in which a day has some 60 polls
(None: it says nothing there); the most that it may be."""
SHORT = Length(
    days=9, interval=14_400, ladder=((21_600, 14_400),), retention=DAY, seen_ttl=54 * 3600, busiest=0.04, look=3 * 3600,
    scrape=10_800, faults=0.005, away=1800,
)  # fmt: skip
LOOKS = ((housekeeping, "EVERY"), (server, "_BEAT"), (deliver, "IDLE"), (feed, "IDLE"), (delivery, "IDLE"))
"""How often the program looks whether there is anything to do. Every few seconds that would be most of the work of a run."""
SELDOM, VERY_SELDOM = 60.0, 1800.0


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("--days", type=float, default=14.0)
    parser.add_argument("--short", action="store_true")
    parser.add_argument(
        "--plant", action="append", default=[], choices=list(PLANTS), help="put known leaks in: they must be found"
    )
    parser.add_argument(
        "--out", type=Path, default=None, help="the samples, one JSON object on each line, as they come"
    )
    asked = parser.parse_args()
    soak_bench.prepare()
    for name in asked.plant:
        PLANTS[name][0]()
    for owner, name in LOOKS:
        replace(owner, name, VERY_SELDOM if asked.short else SELDOM)
    began = CLOCK()
    length = SHORT if asked.short else Length(days=asked.days)
    ran = soak_bench.run(length, asked.out)
    print("\n".join(ran.wrong), end="\n" if ran.wrong else "")
    # From when on ids expire as fast as they come: the longest rung, `seen_ttl`, the day that is not over and the one before it.
    settled = -(-(length.ladder[-1][0] + length.seen_ttl + 2 * DAY) // DAY) * DAY
    findings = soak_figures.judge(ran.samples, bounds(short=asked.short), settled=settled, per=DAY, turn=DAY)
    return report(findings, ran, length, CLOCK() - began)


def bounds(*, short: bool) -> list[Bound]:
    """Those of two weeks, or of a short run."""
    slopes = [(name, unit, brief if short else long, most) for name, unit, long, brief, most in BOUNDS]
    return [Bound(name, unit, slope, most) for name, unit, slope, most in slopes if slope is not None]


def report(findings: list[Finding], ran: Ran, length: Length, seconds: float) -> int:
    """Prints; returns the exit code."""
    print("\n".join(soak_figures.table(findings, "simulated day")))
    growing = [one.bound.figure for one in findings if not one.ok]
    judged = ran.judged
    assert judged is not None
    print(
        f"{length.days:g} simulated days in {seconds:.0f} s: {judged.requests:,} requests, {judged.faults} vendor faults, "
        f"{judged.events:,} events, {judged.calls:,} calls of the webhook; "
        f"{'nothing lost, nothing twice' if not ran.wrong else f'{len(ran.wrong)} wrong'}; "
        f"{'all is flat' if not growing else 'grows: ' + ', '.join(growing)}"
    )
    return 1 if growing or ran.wrong else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # what a planted leak left open would be said on the way out
