"""The clock that everything but network deadlines goes by, so that tests can hold it."""

import time
from typing import Protocol

import anyio


class Clock(Protocol):
    """Wall time for what people and vendors see, monotonic time for waiting."""

    def now(self) -> float:
        """Wall clock: UTC epoch seconds."""
        ...

    def mono(self) -> float:
        """Monotonic seconds of an arbitrary origin; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits; at once when `seconds` is not positive."""
        ...

    def steady(self) -> bool:
        """Whether the wall clock has not moved against the monotonic one lately."""
        ...


class SystemClock:
    """The machine's clock.

    Each look at the wall clock compares it with the monotonic one: a difference that changed by more than `jump` seconds
    since the last look is a move (a step of the time service, a suspended machine), and the clock counts as unsteady for
    `calm` seconds after it. Slewing, at most half a millisecond per second, stays far below that.
    """

    def __init__(self, *, jump: float = 0.5, calm: float = 60.0) -> None:
        self._jump = jump
        self._calm = calm
        self._apart = _look()
        self._moved_at = -calm - 1

    def now(self) -> float:
        """Wall clock: UTC epoch seconds."""
        self._compare(_look())
        return time.time()

    def mono(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Waits in the event loop."""
        await anyio.sleep(max(0.0, seconds))

    def steady(self) -> bool:
        """False for `calm` seconds after a move."""
        self._compare(_look())
        return time.monotonic() - self._moved_at > self._calm

    def _compare(self, apart: tuple[float, float]) -> None:
        low, high = apart
        if low - self._apart[1] > self._jump or self._apart[0] - high > self._jump:
            self._moved_at = time.monotonic()
        self._apart = apart


def _look() -> tuple[float, float]:
    """The least and the most that the wall clock is ahead of the monotonic one: a process may be put aside between two looks."""
    before, wall, after = time.monotonic(), time.time(), time.monotonic()
    return wall - after, wall - before


def lasting() -> float:
    """Seconds of an arbitrary origin that go on while the machine sleeps, where the system counts those (Linux does)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
