"""`make crash`: schedules by the thousand, each in a fork of its own; replays one and makes it shorter. The last line is the figures."""

import argparse
import faulthandler
import os
import select
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence

CLOCK = time.perf_counter

import crash_bench  # noqa: E402 the clock is another one afterwards
import crash_disk  # noqa: E402
import e2e_edges  # noqa: E402
import msgspec  # noqa: E402
from crash_elsewhere import excused, stale  # noqa: E402
from crash_plan import Plan, draw, shrink  # noqa: E402
from crash_plants import PLANTS  # noqa: E402

ENOUGH = 500
"""Schedules that must meet every boundary among them."""
HUNG = 120
"""Seconds of the machine after which a schedule hangs."""
ALL = [edge.name for edge in e2e_edges.edges(crash_bench.MODULES)] + [
    f"{name} {side}" for name in dict.fromkeys(crash_disk.statements().values()) for side in ("before", "after")
]

NAMES = [name for name in ALL if excused(name) is None]
"""Those that every run has to meet."""


class _Running:
    """One schedule in a fork: what it leaves behind ends with it."""

    def __init__(self, seed: int, plan: Plan, *, traced: bool = False) -> None:
        self.seed = seed
        self.said = b""
        self.pipe, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            _child(writing, seed, plan, traced=traced)
        os.close(writing)

    def more(self) -> bool:
        """Reads on; False at the end."""
        data = os.read(self.pipe, 1 << 20)
        self.said += data
        if not data:
            os.close(self.pipe)
            os.waitpid(self.pid, 0)
        return bool(data)

    def result(self) -> crash_bench.Result:
        """What the fork said."""
        if not self.said:
            return crash_bench.Result(self.seed, ["the bench itself failed, or hung"])
        return msgspec.json.decode(self.said, type=crash_bench.Result)


def _child(writing: int, seed: int, plan: Plan, *, traced: bool) -> None:
    code = 1
    try:
        faulthandler.dump_traceback_later(HUNG, exit=True)
        try:
            result = crash_bench.run(seed, plan, traced=traced)
        except Exception:  # noqa: BLE001 said where the others are
            result = crash_bench.Result(seed, [f"the bench failed: {traceback.format_exc()[-600:]}"])
        with os.fdopen(writing, "wb") as out:
            out.write(msgspec.json.encode(result))
        code = 0
    except BaseException:  # noqa: BLE001 it must not go on as its parent would
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def one(seed: int, plan: Plan, *, traced: bool = False) -> crash_bench.Result:
    """One schedule."""
    running = _Running(seed, plan, traced=traced)
    while running.more():
        pass
    return running.result()


def many(seeds: Sequence[int], workers: int) -> Iterator[crash_bench.Result]:
    """Several at a time, in no order."""
    left, running = iter(seeds), dict[int, _Running]()
    while True:
        while len(running) < workers and (seed := next(left, None)) is not None:
            started = _Running(seed, draw(seed, NAMES))
            running[started.pipe] = started
        if not running:
            return
        for pipe in select.select(list(running), [], [])[0]:
            if not running[pipe].more():
                yield running.pop(pipe).result()


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="make crash")
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--from", type=int, default=1, dest="first")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--plant", default=None, choices=list(PLANTS))
    parser.add_argument("--until-failure", action="store_true")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    if lacking := stale(ALL):
        parser.error(f"excused, but not in the code: {lacking}")
    crash_bench.prepare(asked.plant)
    if asked.seed is not None:
        return replay(asked.seed)
    seeds = range(asked.first, asked.first + asked.seeds)
    total = Total()
    for result in many(seeds, asked.workers):
        total.add(result)
        if total.failed and asked.until_failure:
            return 1
    return total.report()


class Total:
    """Of a whole run."""

    def __init__(self) -> None:
        self.failed: list[int] = []
        self._began = CLOCK()
        self._schedules = 0
        self._numbers: Counter[str] = Counter()
        self._met: Counter[str] = Counter()
        self._crashed: Counter[str] = Counter()

    def add(self, result: crash_bench.Result) -> None:
        """One schedule; what is wrong with it is said at once."""
        self._schedules += 1
        for name in ("crashes", "faults", "events", "lost", "twice"):
            self._numbers[name] += getattr(result, name)
        self._met.update(result.met)
        self._crashed.update(result.crashed)
        if not result.crashes:
            result.wrong.append("nothing crashed")
        if result.wrong:
            self.failed.append(result.seed)
            print(f"seed {result.seed}: {result.wrong[0][:300]}", flush=True)

    def report(self) -> int:
        """The figures; the exit code."""
        never = [name for name in NAMES if not self._met[name]]
        judged = self._schedules >= ENOUGH
        for name in never if judged else ():
            print(f"never met: {name}")
        if self.failed:
            print(f"{len(self.failed)} failed; with its trace, and made shorter: make crash SEED={self.failed[0]}")
        numbers = self._numbers
        print(
            f"{self._schedules} schedules, {numbers['crashes']} crashes at {len(self._crashed)} boundaries, {numbers['faults']} faults, "
            f"{numbers['events']} events, {len(NAMES) - len(never)} of {len(NAMES)} boundaries hit, {CLOCK() - self._began:.0f} s: "
            f"{numbers['lost']} lost, {numbers['twice']} twice"
        )
        return 1 if self.failed or (never and judged) else 0


def replay(seed: int) -> int:
    """One schedule with its trace; one that fails is made shorter."""
    plan = draw(seed, NAMES)
    result = one(seed, plan, traced=True)
    print("\n".join(result.trace))
    print("\n".join(result.wrong) or "well")
    if result.wrong:
        kind = result.wrong[0][:20]
        short = shrink(plan, lambda less: any(text.startswith(kind) for text in one(seed, less).wrong))
        print("the shortest schedule that fails:", *short, sep="\n  ")
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
