"""Counts every boundary of the running process and does there what the schedule says."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import anyio
from crash_plan import STEP, Entry, Plan
from crash_time import NOW, Loop


class Gone(BaseException):
    """The process is dead: nothing of it may do anything."""


class Fate:
    """One schedule's. The program is in `loop` while a life lasts."""

    def __init__(self, plan: Plan, rnd: random.Random, *, traced: bool = False) -> None:
        self.rnd = rnd
        self.met: Counter[str] = Counter()
        self.crashed: Counter[str] = Counter()
        self.done: list[Entry] = []
        self.trace: list[str] = []
        self.loop: Loop | None = None
        self.life = -1
        self._plan = plan
        self._traced = traced
        self._due: dict[tuple[str, int], list[Entry]] = {}
        self._counts: Counter[str] = Counter()
        self.on_death: list[Any] = []
        """Called in the moment of death, before anything else can happen."""

    def begin(self, life: int, loop: Loop) -> None:
        """A life begins."""
        self.life, self.loop = life, loop
        self._counts.clear()
        self._due.clear()
        for entry in self._plan:
            if entry.life == life:
                self._due.setdefault((entry.where, entry.nth), []).append(entry)

    @property
    def lives(self) -> int:
        """Those that something is done to."""
        return 1 + max((entry.life for entry in self._plan), default=-1)

    def chosen(self, where: str) -> list[Entry]:
        """What happens in this life outside of the process."""
        return [entry for entry in self._plan if entry.life == self.life and entry.where == where]

    # --- boundaries ------------------------------------------------------------------------------------------------------

    def meet(self, name: str) -> Awaitable[None] | None:
        """A boundary in a coroutine; what it returns is awaited there."""
        for entry in self._at(name):
            if entry.what == "crash":
                self.kill(name)
                return self.dead()
            if entry.what == "delay":
                return self.wait(entry.much)
            self._signal(entry)
        return None

    def pass_by(self, name: str) -> None:
        """A boundary in the middle of a thread's work. Raises Gone at the end of the life."""
        for entry in self._at(name):
            if entry.what == "crash":
                self.kill(name)
                raise Gone
            self._signal(entry)

    def fault(self, seam: str, name: str) -> Entry | None:
        """What goes wrong at this exchange with the outside, if anything."""
        if self.loop is None:
            raise Gone
        self._counts[seam] += 1
        found = self._due.get((seam, self._counts[seam]), ())
        for entry in found:
            self.note(f"{name}: {entry}")
            self.done.append(entry)
            return entry
        return None

    async def wait(self, seconds: float) -> None:
        """Whoever waits here is late. Nothing can be done about it: an end of a block that is cancelled halfway is none of ours."""
        with anyio.CancelScope(shield=True):
            await anyio.sleep(seconds)

    def _at(self, name: str) -> list[Entry]:
        if self.loop is None:
            raise Gone
        self.met[name] += 1
        counts = self._counts
        counts[STEP] += 1
        counts[name] += 1
        if self._traced:
            self.trace.append(f"{NOW.mono:10.3f} {self.life} {counts[STEP]:6} {name}")
        found = [*self._due.get((STEP, counts[STEP]), ()), *self._due.get((name, counts[name]), ())]
        for entry in found:
            self.note(f"{name}: {entry}")
            self.done.append(entry)
        return found

    def _signal(self, entry: Entry) -> None:
        if entry.what in {"stop", "hurry"} and self.loop is not None:
            self.loop.signal(signal.SIGTERM)

    # --- the end of a life -----------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """As if the power had been cut."""
        assert self.loop is not None
        self.crashed[name] += 1
        self.note(f"killed at {name}")
        self.bury()

    def bury(self) -> None:
        """Nothing of this process happens any more."""
        if self.loop is not None:
            self.loop.end()
            self.loop = None
            for each in self.on_death:
                each()

    def note(self, text: str) -> None:
        """A line of the trace."""
        if self._traced:
            self.trace.append(f"{NOW.mono:10.3f} {self.life} -- {text}")

    async def dead(self) -> None:
        """For who is dead."""
        await asyncio.get_running_loop().create_future()
