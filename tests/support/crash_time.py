"""A process without a machine: a loop whose time jumps to the next timer, threads that run inline, and no chance that a seed does not fix.

`install` replaces what the interpreter and libraries offer (time, randomness, threads), before any of `poller` is imported. The
program itself is not changed.
"""

import asyncio
import heapq
import itertools
import os
import random
import ssl
import time
from collections.abc import Callable
from typing import Any, Self

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio._backends import _asyncio as backend

SPIN = 300_000
"""Callbacks at one instant after which a loop goes round without end."""
BEGIN = 1_780_000_000.0
"""The wall clock at the start."""


class Stuck(Exception):
    """Nothing will ever happen again, or the same goes on for ever."""


class Now:
    """One time for the whole world, dead and living processes."""

    def __init__(self) -> None:
        self.mono = 1_000.0

    @property
    def wall(self) -> float:
        """Epoch seconds."""
        return BEGIN + self.mono - 1_000.0


NOW = Now()
CHANCE = random.Random(0)
"""What the program's own dice are seeded from."""
_Random = random.Random


class _Seeded(random.Random):
    """Without a seed of its own it takes the schedule's."""

    def __new__(cls, *args: Any) -> Self:  # noqa: ARG004 the seed is for __init__
        return super().__new__(cls)

    def __init__(self, seed: Any = None) -> None:
        super().__init__(CHANCE.getrandbits(64) if seed is None else seed)


class _Task(asyncio.Task):  # type: ignore[type-arg]
    """Sets of tasks are walked in the order in which the tasks were made."""

    _numbers = itertools.count()

    def __init__(self, *args: Any, **keywords: Any) -> None:
        self.number = next(self._numbers)
        super().__init__(*args, **keywords)

    def __hash__(self) -> int:
        return self.number


class _Scope(backend.CancelScope):
    """The same of scopes."""

    __slots__ = ("number",)
    _numbers = itertools.count()

    def __init__(self, **keywords: Any) -> None:
        self.number = next(self._numbers)
        super().__init__(**keywords)

    def __hash__(self) -> int:
        return self.number


class Loop(asyncio.BaseEventLoop):
    """Runs one callback after the other, first come, first served; when none is ready, time is what the next timer waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.signals: dict[int, Callable[[], object]] = {}
        self.kept: list[Any] = []
        """Every task: those of a dead process are never collected, so none of its `finally` blocks runs."""
        self.unexpected: list[str] = []
        self.most = 0
        """Tasks at a time."""
        self._spins = 0
        self.set_task_factory(self._made)
        self.set_exception_handler(lambda _, context: self.unexpected.append(str(context)))

    def _made(self, loop: asyncio.AbstractEventLoop, coro: Any, **keywords: Any) -> _Task:
        task = _Task(coro, loop=loop, **keywords)
        self.kept.append(task)
        return task

    @property
    def living(self) -> int:
        """Tasks that are not done."""
        self.kept = [task for task in self.kept if not task.done()]
        self.most = max(self.most, len(self.kept))
        return len(self.kept)

    def time(self) -> float:
        return NOW.mono

    def end(self) -> None:
        """Not one more callback runs."""
        self._stopping = True

    def _run_once(self) -> None:
        timers, ready = self._scheduled, self._ready  # type: ignore[attr-defined]
        while timers and timers[0]._cancelled:
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
            heapq.heappop(timers)._scheduled = False
        if not ready:
            if not timers:
                raise Stuck("nothing is ready and nothing waits for a time")
            if timers[0]._when > NOW.mono:
                NOW.mono, self._spins = timers[0]._when, 0
        while timers and timers[0]._when <= NOW.mono:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            ready.append(timer)
        self._spins += 1
        if self._spins > SPIN:
            raise Stuck(f"it goes round without end: {ready[0]!r}")
        handle = ready.popleft()
        if not handle._cancelled:
            handle._run()

    def _process_events(self, _: object) -> None:
        """There are no files to watch."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector."""

    def add_signal_handler(self, sig: int, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]  # as the base has it, but for its type variables
        """Kept for `signal`."""
        self.signals[sig] = lambda: callback(*args)

    def remove_signal_handler(self, sig: int) -> bool:
        """Forgotten."""
        return self.signals.pop(sig, None) is not None

    def signal(self, number: int) -> bool:
        """Sends one; False where nobody listens yet."""
        found = self.signals.get(number)
        if found is not None:
            self.call_soon(found)
        return found is not None

    def never(self) -> "asyncio.Future[Any]":
        """For who is dead."""
        return self.create_future()


def replace(owner: object, name: str, by: object) -> None:
    """Something else in the place of what a module or class has under that name."""
    assert hasattr(owner, name), f"{owner} has no {name}"
    setattr(owner, name, by)


Inline = Callable[[Callable[..., Any], tuple[Any, ...]], Any]
"""Runs the work of a thread."""


def install(before: Callable[[Callable[..., Any]], Any], run: Inline) -> None:
    """Replaces time, chance and threads. `before` (a thread's work waits its turn) and `run` (it is done) are awaited."""
    replace(time, "time", lambda: NOW.wall)
    replace(time, "monotonic", lambda: NOW.mono)
    replace(time, "time_ns", lambda: int(NOW.wall * 1e9))
    replace(time, "monotonic_ns", lambda: int(NOW.mono * 1e9))
    replace(time, "clock_gettime", lambda _: NOW.mono)
    replace(random, "Random", _Seeded)
    replace(os, "urandom", CHANCE.randbytes)
    replace(random, "_urandom", CHANCE.randbytes)  # what `secrets` and `uuid` draw from
    replace(backend, "CancelScope", _Scope)
    made = ssl.create_default_context()
    replace(ssl, "create_default_context", lambda *_, **__: made)

    async def run_sync(
        func: Callable[..., Any], *args: Any, abandon_on_cancel: bool = False, limiter: Any = None
    ) -> Any:
        await anyio.lowlevel.checkpoint()
        async with limiter or anyio.to_thread.current_default_thread_limiter():
            with anyio.CancelScope(shield=not abandon_on_cancel):
                await before(func)
                return await run(func, args)

    replace(anyio.to_thread, "run_sync", run_sync)


def seed(number: int) -> random.Random:
    """The same chance again. Returns dice for the surroundings, apart from the program's."""
    CHANCE.seed(number)
    return _Random(number)
