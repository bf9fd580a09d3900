"""Pure: how many events a sink may fail with in a row before it counts as down.

A few, for one that takes nothing would use up the schedules of all that it is tried with. Yet there are receivers that fail with an
event at first and take it at the second try, each time: they fail with everything that is new, and are well. So the row may be
longer by what the sink has shown: each event that it takes at its second try buys a few more, each that it fails with again costs
one, and what was bought is forgotten soon. One that is away takes nothing at a second try, and one that comes and goes
fails with the second tries in between; so whatever it did before, it wastes no more first tries than it has made good.
"""

import math
from collections.abc import Hashable

FAILURES = 5
"""So many different events in a row are enough, unless more was bought; of those that would be dead they always are."""
BOUGHT = 2
"""Failures that an event buys. It has to be more than the one that the event was, or a burst would be borne only if one like it was."""
MOST = 1_000
"""In a row, whatever was bought: 200 new events per second, each of which is taken after 5 s."""
FORGOTTEN = 300.0
"""Seconds after the last one that was taken at its second try."""


class Patience:
    """Told of every answer that counts. `before`: how often the event had been tried; `now`: the wall clock's."""

    def __init__(self) -> None:
        self._failed: set[Hashable] = set()
        """What the sink did not take since it last took one; and what of that would be dead."""
        self._lost: set[Hashable] = set()
        self._borne = FAILURES
        self._bought_at = -math.inf

    def over(self, now: float) -> bool:
        """Whether the sink is to count as down."""
        return len(self._lost) >= FAILURES or len(self._failed) >= self.borne(now)

    def borne(self, now: float) -> int:
        """So many different events in a row make it so."""
        return self._borne if 0.0 <= now - self._bought_at < FORGOTTEN else FAILURES

    def taken(self, before: int, now: float) -> None:
        """The row is over."""
        self._failed.clear()
        self._lost.clear()
        if before == 1:
            self._borne, self._bought_at = min(self.borne(now) + BOUGHT, MOST), now

    def failed(self, which: Hashable, before: int, now: float, *, lost: bool) -> None:
        """`which`: the event; `lost`: it would be dead by that."""
        if before == 1:
            self._borne = max(self.borne(now) - 1, FAILURES)
        if len(self._failed) < MOST:
            self._failed.add(which)
        if lost and len(self._lost) < FAILURES:
            self._lost.add(which)

    def set_back(self, seconds: float) -> None:
        """Our clock was."""
        self._bought_at -= seconds
