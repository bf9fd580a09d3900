"""Work for a daemon that is to be killed: calls that its next polls surely find, and how far it has come with them."""

import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

from poller.model import Segment
from poller.segment import unpack
from poller.simulate.run import FEEDS, Simulators
from poller.simulate.things import Row
from poller.simulate.world import WorldOptions

CALLS: Mapping[str, str] = {"mor": "mor.user_calls", "fonouc": "fonouc.cdrs"}
"""Of Thulium's calls nobody can say when they are found: it can be asked for whole minutes only."""
STEP = 1.0
"""Seconds that the world goes on with each piece of work. Without them a poll has no new second to ask for, and asks nothing."""
_NEWEST, _OLDEST = 2, 13
"""How long ago such a call was, in seconds: within what the shortest rung reads every time, and not in the future."""
_RECENT = 60


class Work:
    """Places calls."""

    def __init__(self, sims: Simulators) -> None:
        self._world = sims.world
        self._options = _prompt(sims.config.world)
        self._count = 0

    def place(self, vendors: Collection[str] = tuple(CALLS)) -> list[str]:
        """One call that is visible now for each vendor, and the second in which it is found. Their ids."""
        ids = [self._call(vendor) for vendor in vendors]
        self._world.clock.move(STEP)
        return ids

    def _call(self, vendor: str) -> str:
        now = self._world.now()
        while True:
            self._count += 1
            rows = FEEDS[vendor](Random(f"work {self._count}"), int(now) - _OLDEST, 1, self._options).rows
            calls = [row for row in rows if row.endpoint == CALLS[vendor]]
            if calls and all(_fits(row, now) for row in calls):
                break
        for row in calls:
            row.states = [replace(row.states[0], visible_at=now, mentions=())]
            self._world.add(row)
        return calls[0].id


def _fits(row: Row, now: float) -> bool:
    """Not a call without an id, which could be found again only by what it looks like."""
    return not row.counted and now - _OLDEST <= row.own_time <= now - _NEWEST


def _prompt(options: WorldOptions) -> WorldOptions:
    return replace(
        options, call_seconds=(1, 1), usual_delay=(0.0, 0.0), late_share=0.0, exact_share=0.0, recording_share=0.0
    )


def delivered(store: Path) -> int:
    """Up to where the sink has everything, as the store knows it."""
    with closing(sqlite3.connect(store, timeout=10)) as connection:
        return int(connection.execute("SELECT max(seq) FROM position").fetchone()[0] or 0)


class Search:
    """Looks for calls in the log of a store, from when they were placed on."""

    def __init__(self, store: Path, ids: Collection[str]) -> None:
        self._store = store
        self._left = set(ids)
        self._row = -1
        self._seq = 0

    def seq(self) -> int | None:
        """The number up to which the log has to be delivered so that all of them are; None while one is not in it."""
        with closing(sqlite3.connect(self._store, timeout=10)) as connection:
            if self._row < 0:  # they may have been found a moment ago
                self._row = max(0, (connection.execute("SELECT max(rowid) FROM segment").fetchone()[0] or 0) - _RECENT)
            query = "SELECT rowid, first, last, chain, at, data FROM segment WHERE rowid > ? ORDER BY rowid"
            rows = connection.execute(query, (self._row,)).fetchall()
        for row, *segment in rows:
            self._row = row
            self._take(Segment(*segment))
        return None if self._left else self._seq

    def _take(self, segment: Segment) -> None:
        bodies = b"".join(event.body for event in unpack(segment))
        found = {one for one in self._left if one.encode() in bodies}
        if found:
            self._left -= found
            self._seq = max(self._seq, segment.last)
