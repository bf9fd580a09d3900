"""A line that would come again and again: said once a minute, the rest counted."""

from poller.clock import Clock

_QUIET = 60.0
"""Seconds from one line to the next."""


class Seldom:
    """Of one kind of line."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said = clock.mono() - _QUIET
        self._count = 0

    def due(self, count: int = 1) -> int:
        """So many things have happened. How many the line is about, if it is to be said now, those of earlier calls included; else 0."""
        self._count += count
        if self._clock.mono() - self._said < _QUIET:
            return 0
        self._said = self._clock.mono()
        count, self._count = self._count, 0
        return count
