"""Turns: what all sinks that take events one by one share, so that polling and the other sinks find room beside them.

Whoever has work waits for his turn among all of them, first come, first served, so a sink that catches up gets no more than another
one. Between two turns everybody else in the process has his own: one attempt begins in one lap of the event loop, and one
of them at a time reads the store, or writes to a shard of it. So Kafka and polling wait for one webhook at most, not for all of
them; and where nobody else has anything to do, nothing is held back.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel

Spent = Callable[[float], None]
"""Told how many seconds somebody was held back."""


class Turns:
    """Of one process. Times are the `mono` of its clock."""

    def __init__(self, mono: Callable[[], float]) -> None:
        self._mono = mono
        self._lap = anyio.Lock(fast_acquire=True)
        self._reading = anyio.Lock(fast_acquire=True)
        self._writing: defaultdict[int, anyio.Lock] = defaultdict(lambda: anyio.Lock(fast_acquire=True))

    async def begin(self, spent: Spent) -> None:
        """Returns when it is the caller's turn to do one thing: look at what is next, begin one attempt."""
        began = self._mono()
        async with self._lap:
            await anyio.lowlevel.checkpoint()
        spent(self._mono() - began)

    @asynccontextmanager
    async def reading(self, spent: Spent) -> AsyncIterator[None]:
        """For as long as it is the caller's turn to read the store."""
        async with self._turn(self._reading, spent):
            yield

    @asynccontextmanager
    async def writing(self, shard: int, spent: Spent) -> AsyncIterator[None]:
        """For as long as it is the caller's turn to write to a shard. Taken before the shard's lock, so that polling does not wait in line."""
        async with self._turn(self._writing[shard], spent):
            yield

    @asynccontextmanager
    async def _turn(self, lock: anyio.Lock, spent: Spent) -> AsyncIterator[None]:
        began = self._mono()
        async with lock:
            spent(self._mono() - began)
            yield
