"""A clock that moves only when a test says so."""

import heapq
import itertools

import anyio
import anyio.lowlevel


class FakeClock:
    """Implements poller.clock.Clock. `mono` begins at 1000 and moves with `advance`; `wall` can be set apart from it."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.wall = now
        self.time = 1_000.0
        self.is_steady = True
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, anyio.Event]] = []
        self._came = anyio.Event()

    def now(self) -> float:
        return self.wall

    def mono(self) -> float:
        return self.time

    def steady(self) -> bool:
        return self.is_steady

    @property
    def sleeping(self) -> int:
        """How many tasks wait in `sleep`."""
        return len(self._sleepers)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        event = anyio.Event()
        entry = (self.time + seconds, next(self._order), event)
        heapq.heappush(self._sleepers, entry)
        self._came.set()
        self._came = anyio.Event()
        try:
            await event.wait()
        finally:
            if entry in self._sleepers:  # cancelled
                self._sleepers.remove(entry)
                heapq.heapify(self._sleepers)

    def jump(self, seconds: float) -> None:
        """Moves the wall clock alone, as a step of the time service does."""
        self.wall += seconds
        self.is_steady = False

    async def advance(self, seconds: float) -> None:
        """Lets time pass: sleepers wake one after the other, each at its own time, and run until they wait again."""
        target = self.time + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _, event = heapq.heappop(self._sleepers)
            self._to(max(due, self.time))
            event.set()
            await settle()
        self._to(target)

    async def advance_to_next(self) -> float:
        """Lets time pass up to the next sleeper, waiting for one to come; returns the seconds that passed."""
        with anyio.fail_after(120):
            while not self._sleepers:
                await self._came.wait()
        seconds = max(0.0, self._sleepers[0][0] - self.time)
        await self.advance(seconds)
        return seconds

    def _to(self, time: float) -> None:
        self.wall += time - self.time
        self.time = time


async def settle() -> None:
    """Runs the other tasks until all of them wait for something."""
    for _ in range(20):  # most are done by then, which spares the coarse wait below
        await anyio.lowlevel.checkpoint()
    await anyio.wait_all_tasks_blocked()


class HurriedClock(FakeClock):
    """Whoever sleeps is awake at once, and the time has passed."""

    async def sleep(self, seconds: float) -> None:
        self._to(self.time + max(0.0, seconds))
        await anyio.lowlevel.checkpoint()
