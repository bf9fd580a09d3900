"""A seeded world that moves with its clock: a pure function of seed, options and time, whatever is asked and when."""

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from random import Random
from typing import TypeAlias

from poller.simulate.clock import WorldClock
from poller.simulate.things import Batch, File, Row, State

BUCKET = 10
"""Seconds of one step: what happens in a bucket depends on the seed and the bucket alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldOptions:
    """How busy and how late the world is. Seconds and shares (0…1) throughout."""

    seed: int = 1
    calls_per_minute: float = 30.0
    """Of each vendor."""
    history: float = 0.0
    """How much has happened before the start."""
    ladder: tuple[tuple[float, float], ...] = ((300, 60), (1800, 300), (10_800, 1800), (172_800, 21_600))
    """(back, every) of each rung that the reader promises: tells which states must be found, and where 'exactly at reach' is."""
    slack: float = 90.0
    """How much later than its `every` a rung's pass may have read: what tells when a state has surely been found."""
    call_seconds: tuple[int, int] = (2, 240)
    usual_delay: tuple[float, float] = (0.0, 8.0)
    """From the end of a call to its row."""
    late_share: float = 0.1
    late_max: float = 1500.0
    """Rows later than usual, counted from their own time."""
    exact_share: float = 0.03
    """Rows that appear exactly one rung's `back` after their own time."""
    change_share: float = 0.15
    change_delay: tuple[float, float] = (5.0, 900.0)
    rerate_share: float = 0.05
    """Changes of what is no part of the identity (prices, notes)."""
    recording_share: float = 0.6
    recording_delay: tuple[float, float] = (1.0, 60.0)
    file_delay: tuple[float, float] = (0.0, 40.0)
    file_never: float = 0.03
    mor_uniqueid: bool = True
    """Old versions of MOR do not show it."""
    thulium_filter: str = "created_at"
    """What `date_from` of Thulium's recordings means: `created_at` or `date`."""


Feed: TypeAlias = Callable[[Random, int, int, WorldOptions], Batch]
"""(random source, first second of the bucket, how many calls, options) → rows and files."""
Watcher: TypeAlias = Callable[[Row, int], None]
"""Told of each state when it becomes visible: row, index of the state."""


class World:
    """All rows of all vendors, generated bucket by bucket as time passes."""

    def __init__(self, options: WorldOptions, clock: WorldClock, feeds: Mapping[str, Feed]) -> None:
        self.options = options
        self.clock = clock
        self.began = clock.now()
        self.rate = options.calls_per_minute
        self.watchers: list[Watcher] = []
        self.files: dict[str, File] = {}
        self._feeds = feeds
        self._rows: dict[str, list[Row]] = {}
        self._coming: list[tuple[float, int, Row, int]] = []
        self._count = 0
        self._bucket = int(self.began - options.history) // BUCKET

    def now(self) -> float:
        """World time; everything up to it has happened when this returns."""
        now = self.clock.now()
        self.advance(now)
        return now

    def advance(self, now: float) -> None:
        """Lets everything happen up to `now`."""
        while self._bucket * BUCKET <= now:
            for vendor, feed in self._feeds.items():
                self._happen(vendor, feed, self._bucket)
            self._bucket += 1
        while self._coming and self._coming[0][0] <= now:
            _, _, row, index = heapq.heappop(self._coming)
            for watcher in self.watchers:
                watcher(row, index)

    def _happen(self, vendor: str, feed: Feed, bucket: int) -> None:
        rnd = Random(f"{self.options.seed}/{vendor}/{bucket}")
        wanted = self.rate * BUCKET / 60
        calls = int(wanted) + (rnd.random() < wanted % 1)
        batch = feed(rnd, bucket * BUCKET, calls, self.options)
        for row in batch.rows:
            self.add(row)
        self.files.update((file.name, file) for file in batch.files)

    def add(self, row: Row) -> None:
        """Puts one row into the world (tests place their own this way)."""
        insort(self._rows.setdefault(row.endpoint, []), row, key=_own)
        for index, state in enumerate(row.states):
            self._count += 1
            heapq.heappush(self._coming, (state.visible_at, self._count, row, index))

    def found_by(self, endpoint: str, own_time: float, visible: float) -> float | None:
        """When a reader who keeps the ladder has surely found a state; None: it came too late for every rung."""
        reaching = [every for back, every in self.options.ladder if visible - own_time <= back]
        if not reaching:
            return None
        # Thulium can be asked for whole minutes only: one is readable once it has ended, and a pass may wait for the next.
        step = 60 if endpoint.startswith("thulium.") else 0
        readable = (own_time // step + 1) * step if step else own_time
        return max(visible, readable, self.began) + min(reaching) + self.options.slack + step

    def between(self, endpoint: str, begin: float, end: float) -> Iterator[tuple[Row, State]]:
        """Rows that are visible now with own time in [begin, end], oldest first."""
        now = self.now()
        rows = self._rows.get(endpoint, [])
        for row in rows[bisect_left(rows, begin, key=_own) : bisect_right(rows, end, key=_own)]:
            state = row.at(now)
            if state is not None:
                yield row, state

    def all(self, endpoint: str) -> Iterator[tuple[Row, State]]:
        """All rows that are visible now, oldest first."""
        return self.between(endpoint, -inf, inf)


def _own(row: Row) -> float:
    return row.own_time
