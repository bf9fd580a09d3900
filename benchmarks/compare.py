"""The program beside others on the same feed and the same broker, in turns: `make bench PEERS=1`.

    .venv/bin/python benchmarks/compare.py [--records 100000] [--rounds 3] [--only Telegraf]

Every round runs each one, in an order that moves on by one: over an empty feed (start-up), over everything new, and over the same feed
again, now with pages that begin elsewhere and are in another order, and with the 1 of 1,000 records that appeared late. Then each is
killed with SIGKILL half way and started again. What cannot be had on this machine is said in one line.
"""

import argparse
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import topic
from feed import SPAN, Vendor, record_id
from place import Missing, Peer, Place
from used import machine

from poller.simulate.broker import Broker

LATE = 1_000
"""One of so many records appears only when all have been read."""
KNOWN = 10
"""How often a record is read again before it is too old to be asked for: what passes that overlap come to."""
PEERS = {
    "poller": "peers.poller.peer:Poller",
    "plain loop": "peers.plain.peer:Plain",
    "Singer SDK": "peers.singer.peer:Singer",
    "Telegraf": "peers.telegraf.peer:Telegraf",
    "Kafka Connect": "peers.connect.peer:Connect",
}


@dataclass
class Seen:
    """What the rounds showed of one of them. CPU in seconds; `new` and `again` with the start-up."""

    idle: list[float] = field(default_factory=list)
    new: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    first: list[Counter[str]] = field(default_factory=list)
    both: list[Counter[str]] = field(default_factory=list)
    killed: Counter[str] | None = None

    def rates(self, records: int) -> tuple[list[float], list[float], list[float]]:
        """Of each round, per CPU-second, the median start-up taken off: new records, known ones, and new ones each read KNOWN times more."""
        idle = statistics.median(self.idle)
        new = [records / max(0.01, cpu - idle) for cpu in self.new]
        known = [records / max(0.01, cpu - idle) for cpu in self.again]
        return new, known, [1 / (1 / one + KNOWN / more) for one, more in zip(new, known, strict=True)]


class Ground:
    """The broker, the vendor and the folder that all share."""

    def __init__(self, folder: Path, broker: Broker, vendor: Vendor) -> None:
        self.folder, self.broker, self.vendor = folder, broker, vendor
        world = vendor.world
        every = {record_id(n): world.is_late(n) for n in range(world.records)}
        self.late = {name for name, late in every.items() if late}
        self.prompt = every.keys() - self.late

    def place(self, name: str, *, empty: bool = False) -> Place:
        """A new one, with its topic."""
        folder = self.folder / name
        folder.mkdir()
        now, begin = int(time.time()), self.vendor.world.begin
        records = 0 if empty else self.vendor.world.records
        found = Place(folder, self.vendor.port, now if empty else begin, now, records, self.broker.bootstrap)
        topic.create(self.broker.bootstrap, found.topic)
        return found


@contextmanager
def ground(records: int) -> Iterator[Ground]:
    """All of it, for as long as the context is entered."""
    begin = int(time.time()) - SPAN - 600
    with tempfile.TemporaryDirectory(prefix="compare") as name:
        broker = Broker(Path(name) / "broker")
        broker.start()
        try:
            with Vendor(records, begin, LATE) as vendor:
                yield Ground(Path(name), broker, vendor)
        finally:
            broker.stop()


def run(peer: Peer, place: Place, until: Callable[[], bool] | None = None) -> "tuple[float, float, int]":
    """CPU and wall seconds and bytes of one run; an error unless it ended well or was to be killed."""
    used = peer.run(place, until)
    if used.code and until is None:
        raise SystemExit(f"{peer.name} ended with {used.code}; what it said is in {place.folder}")
    return used.cpu, used.wall, used.resident


def one_round(peer: Peer, seen: Seen, on: Ground, number: int) -> None:
    """Nothing, everything new, and all of it again."""
    name = peer.name.replace(" ", "-")
    on.vendor.again.clear()
    seen.idle.append(run(peer, on.place(f"{name}-{number}-empty", empty=True))[0])
    place = on.place(f"{name}-{number}")
    cpu, wall, resident = run(peer, place)
    seen.new.append(cpu)
    seen.wall.append(wall)
    seen.first.append(peer.published(place))
    on.vendor.again.set()
    cpu, _, more = run(peer, place)
    seen.again.append(cpu)
    seen.resident.append(max(resident, more))
    seen.both.append(peer.published(place))


def killed(peer: Peer, on: Ground, records: int) -> Counter[str]:
    """SIGKILL when half of the records are in the topic, then a run to the end."""
    on.vendor.again.clear()
    place = on.place(f"{peer.name.replace(' ', '-')}-killed")
    with topic.Growing(place.bootstrap, place.topic) as growing:
        run(peer, place, lambda: growing.offsets() >= records // 2)
    run(peer, place)
    return peer.published(place)


def told(peer: Peer, seen: Seen, own: Seen, on: Ground) -> str:
    """The lines of one of them. `own`: what was seen of the program."""
    late = [len(found.keys() & on.late) for found in seen.both]
    new, known, both = seen.rates(len(on.prompt))
    mine = own.rates(len(on.prompt))
    lines = [
        f"{peer.name}: {peer.terms}",
        f"  new records per CPU-second   {spread(new)}{beside(mine[0], new)}",
    ]
    if min(late) == len(on.late):
        lines.append(f"  known records                {spread(known)}{beside(mine[1], known)}")
        lines.append(f"  new ones, each read {KNOWN} times more {spread(both)}{beside(mine[2], both)}")
    else:
        lines.append(
            "  known records                not read again: it asks for what is newer than the newest that it has"
        )
    return "\n".join([*lines, *counted(seen, on, late)])


def counted(seen: Seen, on: Ground, late: list[int]) -> list[str]:
    """What it held, and what came out: the worst round."""
    count = len(on.prompt)
    lost = max(len(on.prompt - found.keys()) for found in seen.first)
    twice = max(found.total() - len(found) for found in seen.first)
    grown = [both.total() - first.total() for first, both in zip(seen.first, seen.both, strict=True)]
    again = max(more - found for more, found in zip(grown, late, strict=True))
    idle, wall = statistics.median(seen.idle), statistics.median(seen.wall)
    lines = [
        f"  resident at most             {max(seen.resident) / 1e6:.0f} MB; start-up {idle:.2f} CPU-seconds, taken off; {wall:.1f} s wall",
        f"  first run                    {count - lost:,} of {count:,} delivered, lost {lost:,}, twice {twice:,}",
        f"  second run                   published again {again:,}; of {len(on.late):,} late records found {min(late):,}",
    ]
    if seen.killed is not None:
        gone, more = len(on.prompt - seen.killed.keys()), seen.killed.total() - len(seen.killed)
        lines.append(f"  killed half way, restarted   lost {gone:,}, twice {more:,}")
    return lines


def beside(own: list[float], other: list[float]) -> str:
    """How many times as fast the program was, round by round."""
    if own == other:
        return ""
    return f"; poller {spread([mine / theirs for mine, theirs in zip(own, other, strict=True)], 2)} times that"


def spread(values: list[float], places: int = 0) -> str:
    """The median, and the least and the most of several."""
    middle = f"{statistics.median(values):,.{places}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.{places}f} to {max(values):,.{places}f})"


def there(names: list[str]) -> dict[str, Peer]:
    """Those that this machine can have. What is missing is said."""
    found: dict[str, Peer] = {}
    for name in names:
        module, _, kind = PEERS[name].partition(":")
        try:
            found[name] = getattr(import_module(module), kind)()
        except Missing as missing:
            print(f"{name}: left out, {missing}")
    return found


def main() -> None:
    """All rounds, then the table."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--records", type=int, default=100_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--only", action="append", choices=PEERS, help="beside poller; may be given again")
    options = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended
    print(machine())
    peers = there(["poller", *(name for name in PEERS if name != "poller" and name in (options.only or PEERS))])
    seen = {name: Seen() for name in peers}
    with ground(options.records) as on:
        for number in range(options.rounds):
            order = list(peers)[number % len(peers) :] + list(peers)[: number % len(peers)]
            for name in order:
                one_round(peers[name], seen[name], on, number)
                print(f"round {number + 1}: {name}", file=sys.stderr)
        for name, peer in peers.items():
            if peer.into_kafka:
                seen[name].killed = killed(peer, on, options.records)
        for name, peer in peers.items():
            print(told(peer, seen[name], seen["poller"], on))
    wrong = [
        found for found in (*seen["poller"].both, seen["poller"].killed or Counter()) if found.total() != len(found)
    ]
    if wrong or any(on.prompt - found.keys() for found in seen["poller"].first):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
