"""What is done to a process, and when: a schedule is a list of entries, drawn from a seed, that can be replayed and made shorter."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

STEP = "step"
"""Any boundary: before and after each await, thread, statement and exchange."""
SEAMS = {
    "sql": ("ioerr", "full", "busy", "after"),
    "kafka": ("lost", "deaf", "refused", "late"),
    "produce": ("lost", "deaf", "refused", "refused", "late"),
    "http": ("refused", "reset", "hang", "broken", "stalls", "500", "401", "garbage", "again", "late"),
    "hook": ("refused", "500", "deaf", "429", "hang", "late", "twice", "400"),
}
"""What can go wrong where. `deaf`: it was done, and nobody hears of it. `after`: an error although it was done."""
TRIES = 400
"""To make a schedule shorter, at most."""


class Entry(NamedTuple):
    """In one life, at the nth time of something."""

    life: int
    where: str
    """`step`, a seam, `between`, or the name of a boundary."""
    nth: int
    what: str
    """One of the seam's, or at a step `delay`, `stop` (SIGTERM), `hurry` (a second one)."""
    much: float = 0.0

    def __str__(self) -> str:
        return f"life {self.life}: {self.where} #{self.nth}: {self.what}" + (f" {self.much:g}" if self.much else "")


Plan = list[Entry]


TENDER = (
    "kafka: EndTxn before",
    "kafka: EndTxn after",
    "poller.deliver.Delivery._send: lane.send before",
    "poller.deliver.Delivery._send: self._store.delivered before",
    "poller.deliver.Delivery._send: self._store.delivered after",
    "poller.sinks.kafka.producer.Producer.send: self._inner.send_batch before",
    "poller.sinks.kafka.producer.Producer.send: future after",
    "poller.poll.read_page: track.setup.vendor.fetch before",
    "poller.poll.read_slice: read_pages before",
    "poller.keep.Keeper._commit: shard.store.commit_page before",
    "poller.keep.Keeper._commit: shard.store.commit_page after",
    "poller.settle.Settler.settle: self._rule before",
    "poller.one_by_one.part.Part._commit: self._store.attempted before",
)
"""Where a crash tells most: between what others see and what is noted of it."""
REACH = {"sql": (40, 500), "kafka": (8, 70), "produce": (1, 15), "http": (1, 25), "hook": (1, 40)}
"""Between which numbers most faults fall: not all at the start."""


def draw(seed: int, names: Sequence[str]) -> Plan:
    """A schedule for a seed. Each life but the last is killed: at a boundary of a chosen name, or at whichever comes then."""
    rnd = random.Random(f"plan {seed}")
    plan: Plan = []
    for life in range(rnd.choice((1, 2, 2, 3))):
        kind = rnd.random()
        if kind < 0.4:
            # One seed after the other goes through all of them, so that none is left to luck.
            place = names[(seed * 3 + life) % len(names)]
            plan.append(Entry(life, place, rnd.choice((1, 1, 2)), "crash"))
        elif kind < 0.7:
            plan.append(Entry(life, rnd.choice(TENDER), rnd.randint(1, 6), "crash"))
        else:
            plan.append(Entry(life, STEP, rnd.randint(1, 250) if kind < 0.75 else rnd.randint(200, 2_500), "crash"))
        plan += _faults(rnd, life) + _around(rnd, life)
    return plan


def _around(rnd: random.Random, life: int) -> Plan:
    """What goes wrong outside of the process."""
    found: Plan = []
    if rnd.random() < 0.08:
        found.append(Entry(life, "between", 1, rnd.choice(("empty", "restore", "restore"))))
    if rnd.random() < 0.3:
        found.append(Entry(life, "neighbour", 1, "open", round(rnd.uniform(3, 60), 1)))
    if rnd.random() < 0.12:
        found.append(Entry(life, "vendor", 1, "away", round(rnd.uniform(20, 110), 1)))
    return found


def _faults(rnd: random.Random, life: int) -> Plan:
    found: Plan = []
    for _ in range(rnd.choice((0, 0, 1, 2, 4, 8))):
        seam = rnd.choice(list(SEAMS))
        number = rnd.randint(*REACH[seam]) if rnd.random() < 0.9 else rnd.randint(1, REACH[seam][0])
        found.append(Entry(life, seam, number, rnd.choice(SEAMS[seam]), round(rnd.uniform(0.1, 4.0), 2)))
    for _ in range(rnd.choice((0, 0, 2, 5, 10))):
        found.append(Entry(life, STEP, rnd.randint(1, 2_500), "delay", round(rnd.choice((0, 0.01, 0.3, 3.0)), 2)))
    if rnd.random() < 0.12:
        found.append(Entry(life, STEP, rnd.randint(1, 2_500), "stop"))
        if rnd.random() < 0.4:
            found.append(Entry(life, STEP, rnd.randint(1, 3_000), "hurry"))
    return found


def shrink(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """The shortest schedule that still fails, by leaving out parts as long as any can be left out."""
    left = TRIES
    size = max(1, len(plan) // 2)
    while True:
        smaller = False
        for begin in range(0, len(plan), size):
            less = plan[:begin] + plan[begin + size :]
            if not left:
                return plan
            left -= 1
            if len(less) < len(plan) and fails(less):
                plan, smaller = less, True
                break
        if not smaller:
            if size == 1:
                return plan
            size = max(1, size // 2)
