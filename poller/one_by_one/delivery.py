"""The way out for a sink that takes events one by one: each is tried on its own until it is taken.

One feeder chooses what is tried next, from all shards in turn; attempts run beside each other as the sink's gate allows, and each
shard's part writes what came of its events. Memory holds what is under way; everything else is in the store, and a crash anywhere
means the same id again. Shards come and go while the sink goes on.
"""

from collections.abc import Iterable, Mapping

import anyio
from anyio.abc import TaskGroup, TaskStatus

from poller.backlog import rest_after
from poller.errors import PollerError, SinkFault
from poller.event import instant
from poller.health import Condition
from poller.model import Position
from poller.one_by_one.backlog import EachBacklog
from poller.one_by_one.bell import Bell
from poller.one_by_one.feed import IDLE, Feed
from poller.one_by_one.gate import Gate
from poller.one_by_one.outlet import Outlet
from poller.one_by_one.part import CLOSING, Part
from poller.shard import Shard
from poller.until import pause


class EachDelivery:
    """Delivers the shards that this process has to one sink, until it is cancelled."""

    def __init__(self, outlet: Outlet, shards: Iterable[Shard] = ()) -> None:
        self.sink = outlet.sink
        self.gate = Gate(outlet)
        self._outlet = outlet
        self._clock = outlet.clock
        self._moved = Bell()
        self._backlog = EachBacklog(outlet)
        self._feed = Feed(outlet, self.gate, self._backlog, self._moved)
        self.recent = self._feed.recent
        self._parts: dict[int, Part] = {}
        self._tasks: TaskGroup | None = None
        for shard in shards:
            self._make(shard)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Started as soon as the sink's place in each shard's log is fixed; polling may begin then. All faults are tried again."""
        async with anyio.create_task_group() as tasks:
            for part in list(self._parts.values()):
                await tasks.start(part.live, name=f"deliver {self.sink.name} {part.shard.number}")
            self._tasks = tasks
            task_status.started()
            tasks.start_soon(self._accounts, name=f"account the backlog of {self.sink.name}")
            tasks.start_soon(self._feed.run, name=f"feed {self.sink.name}")

    # --- shards --------------------------------------------------------------------------------------------------------------

    async def add(self, shard: Shard) -> None:
        """The process has one shard more. Returns when the sink's place in its log is fixed: then it may be polled."""
        if shard.number in self._parts:
            return
        part = self._make(shard)
        if self._tasks is not None:
            await self._tasks.start(part.live, name=f"deliver {self.sink.name} {shard.number}")

    async def drop(self, number: int, *, lost: bool) -> None:
        """The process has one shard less. Bounded: attempts under way are given up, and from now on nothing new is tried for it.

        `lost`: it belongs to somebody else already, so nothing more is written for it; else what was answered is kept first.
        """
        part = self._parts.pop(number, None)
        if part is not None:
            self._feed.remove(part)
            self._backlog.remove(part)
            with anyio.move_on_after(2 * CLOSING):
                await part.end(lost=lost)
            self._moved.ring()

    def _make(self, shard: Shard) -> Part:
        part = Part(self._outlet, shard, self.gate, self._feed.wants, self._moved, self._save)
        self._parts[shard.number] = part
        self._feed.add(part)
        return part

    # --- what holds for all of them --------------------------------------------------------------------------------------------

    async def _save(self) -> None:
        """A sink that is back is not said to be in the store before what that released is: a crash would forget it. Raises StoreFault."""
        if all(part.line is None or part.line.released == self.gate.recovered for part in self._parts.values()):
            await self.gate.save()

    async def _accounts(self) -> None:
        who = f"backlog of {self.sink.name}"
        while True:
            moved, began = self._moved.event, self._clock.mono()
            for part in list(self._parts.values()):
                try:
                    async with self.gate.turns.reading(self.gate.held_back):
                        await self._backlog.look(part)
                    await self._save()
                    part.shard.store_works(who)
                except PollerError as error:
                    part.shard.store_failed(who, error)
            if self._backlog.judge(self._parts.values()):
                self.gate.bell.ring()
            await self._clock.sleep(rest_after(self._clock.mono() - began))
            await pause(self._clock, moved, IDLE)

    async def follow(self, *, measured: bool) -> None:
        """Does what another replica has switched. `measured`: and compares what it measures. Raises StoreFault."""
        await self.gate.follow()
        if measured:
            await self.gate.compare(idle=self.pending == 0)

    # --- what others ask ---------------------------------------------------------------------------------------------------

    @property
    def positions(self) -> Mapping[int, Position]:
        """By shard, as far as they are known: up to where everything is delivered, kept to be tried again, or dead."""
        return {number: part.position for number, part in self._parts.items() if part.position is not None}

    @property
    def begun(self) -> bool:
        """Whether it is known how the sink stood."""
        return self.gate.loaded

    @property
    def error(self) -> PollerError | None:
        """Why nothing, or hardly anything, is delivered now; None while all is well."""
        it = self.gate.health.condition
        fault = next((part.error for part in self._parts.values() if part.error is not None), None)
        if fault is not None or it.state == "up":
            return fault
        return SinkFault(f"sink {self.sink.name} is {it.state} since {instant(it.since)}: {it.why}")

    @property
    def health(self) -> Condition:
        """How the sink is doing as a whole."""
        return self.gate.health.condition

    async def disable(self, why: str) -> Condition:
        """Nothing is tried until it is enabled, also after a restart. Raises StoreFault."""
        return await self.gate.disable(why)

    async def enable(self) -> Condition:
        """A disabled sink is probed with one event at once. Raises StoreFault."""
        return await self.gate.enable()

    @property
    def pending(self) -> int:
        """About how many events wait (numbers may have gaps after a healing), those included that are kept to be tried again."""
        return sum(part.pending for part in self._parts.values())

    async def caught_up(self, patience: float = 0.0) -> None:
        """Waits until nothing is to be done for so many seconds: retries that are due later wait in the store.

        The caller's scope is what bounds it.
        """
        self.gate.hurried += 1
        try:
            while not all(part.rests(patience) for part in self._parts.values()):
                moved = self._moved.event
                self.hurry()
                await moved.wait()
        finally:
            self.gate.hurried -= 1

    def hurry(self) -> None:
        """What has come of attempts up to now is written at once: somebody waits for the room that it makes."""
        for part in self._parts.values():
            if part.line is not None:
                part.line.notes.hurry()

    async def accept_duplicates(self) -> str | None:
        """Nothing waits for a healing here."""
        return None
