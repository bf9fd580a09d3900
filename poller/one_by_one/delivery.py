"""The way out for a sink that takes events one by one: each is tried on its own until it is taken, for one shard.

One feeder chooses what is tried next, attempts run beside each other as the sink's gate allows, and one committer writes what came
of them. Memory holds what is under way; everything else is in the store, and a crash anywhere means the same id again.
"""

import anyio
from anyio.abc import TaskStatus

from poller.each import EachSink
from poller.errors import Outdated, PollerError, SinkFault
from poller.event import instant
from poller.health import Condition
from poller.kept import Attempted
from poller.model import Position
from poller.one_by_one.ahead import Ahead
from poller.one_by_one.backlog import EachBacklog
from poller.one_by_one.bell import Bell, pause
from poller.one_by_one.feed import IDLE, Feed
from poller.one_by_one.gate import Gate
from poller.one_by_one.line import Line
from poller.one_by_one.place import fix_place
from poller.one_by_one.trouble import Trouble
from poller.one_by_one.waiting import Waiting
from poller.retrying import doubled, longest
from poller.route import Route

GATHER = 0.2
"""Seconds for which outcomes gather: each commit costs polling as much as it costs us."""
LAZY = 5.0
"""The same where nothing was tried: a restart would only look at these events again."""
CLOSING = 3.0
"""Seconds in which what is answered is committed at the end."""
_FIRST, _SHORT = 0.25, 60.0
"""Seconds: a stretch that is shorter than the latter, after another such one, is followed by a wait that doubles up to it."""
_LOOK = 1.0
"""Seconds between two looks at the backlog, at least."""


class EachDelivery:
    """Delivers one shard to one sink until it is cancelled."""

    def __init__(self, route: Route[EachSink], gate: Gate | None = None) -> None:
        """`gate`: the sink's, where several shards share it."""
        self.shard = route.shard
        self.sink = route.sink
        self.gate = gate or Gate(route)
        self.position: Position | None = None
        """Up to where everything is delivered, kept to be tried again, or dead; None until that is known."""
        self._route = route
        self._store = route.shard.store
        self._clock = route.clock
        self._metrics = route.metrics
        self._backlog = EachBacklog(route)
        self._writing = Trouble(route, "writing")
        self._line: Line | None = None
        self._hurried = 0
        self._moved = Bell()
        self._feed = Feed(route, self.gate, self._backlog, self._moved)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Started as soon as the sink's place in the log is fixed; polling may begin then. All faults are tried again."""
        line = await self._begin()
        task_status.started()
        short = 0
        while True:
            began = self._clock.mono()
            try:
                await self._deliver(line)
            finally:
                self._line = None
                await self._close(line)
            short = short + 1 if self._clock.mono() - began < _SHORT else 0
            if short > 1:  # somebody else writes, too: each time a few events are sent again
                await self._clock.sleep(doubled(short, first=_FIRST, limit=_SHORT, jitter=0.5, rnd=self._route.rnd))
            line = await self._begin(void=line.generation)

    # --- one stretch between two faults ----------------------------------------------------------------------------------

    async def _deliver(self, line: Line) -> None:
        """Until the store is no longer as it was."""
        self._line = line
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, name="watch the log")
            tasks.start_soon(self._commits, line, name="commit outcomes")
            tasks.start_soon(self._accounts, line, name="account the backlog")
            await self._feed.run(line, tasks)
            tasks.cancel_scope.cancel()

    async def _accounts(self, line: Line) -> None:
        who = f"backlog of {self.sink.name}"
        while True:
            moved = self._moved.event
            try:
                async with self.gate.turns.reading(self.gate.held_back):
                    await self._backlog.account(line, self.position or Position())
                self.shard.store_works(who)
            except PollerError as error:
                self.shard.store_failed(who, error)
            if self._backlog.excess > 0:
                self.gate.bell.ring()
            await self._clock.sleep(_LOOK)
            await pause(self._clock, moved, IDLE)

    # --- commits -----------------------------------------------------------------------------------------------------------

    async def _commits(self, line: Line) -> None:
        while not line.void:
            notes = line.notes
            await notes.came.wait()
            if not self._hurried:
                await pause(self._clock, notes.worthy, LAZY)
                await pause(self._clock, notes.filled, GATHER)
            while not line.void:
                try:
                    await self._commit(line)
                    self._writing.over()
                    break
                except Outdated:
                    line.void = True
                except PollerError as error:
                    line.stuck = True
                    await self._writing.wait(error)
            line.stuck = False
            self.gate.bell.ring()
            self._moved.ring()

    async def _commit(self, line: Line) -> None:
        """All that came of attempts since the last time, in one transaction. Does no harm when it is done twice."""
        async with self.gate.turns.writing(self.shard.number, self.gate.held_back):
            batch = line.gather()
            # Before the lock: a long list that somebody reads just now holds this up, and would hold up polling.
            await self._confirm(line, batch)
            async with self.shard.lock:
                if line.generation != self.shard.generation:
                    raise Outdated("what was answered belongs to another history")
                await self._store.attempted(self.shard.held, self.sink.name, batch)
            self.position = line.committed(batch)
            line.looked = -1
            await self.gate.save()

    async def _confirm(self, line: Line, batch: Attempted) -> None:
        """A store whose last commits were ours alone and are gone looks to the shard as it did before them."""
        if not line.keeps:
            return
        name, number = self.sink.name, self.shard.number
        found = await self._store.position(name, number), await self._store.done(name, number)
        if found not in {line.written, (batch.position, tuple(batch.done))}:
            raise Outdated("what is kept of the deliveries is not what was written last: the store was restored")

    async def _close(self, line: Line) -> None:
        """What is answered is kept, so that the next life repeats only what was under way."""
        with anyio.move_on_after(CLOSING, shield=True):
            try:
                while not line.void and (line.notes or line.batch is not None):
                    await self._commit(line)
            except Outdated:
                pass
            except PollerError as error:
                self._route.log.warning("what was answered last is not kept: it is sent again", error=str(error))

    # --- the store ---------------------------------------------------------------------------------------------------------

    async def _begin(self, void: int | None = None) -> Line:
        """Everything that memory holds, read anew. `void`: the generation that is not believed any more."""
        while True:
            try:
                await self._believe(void)
                await fix_place(self._route)
                await self.gate.load()
                line = await self._read()
            except Outdated:
                void = self.shard.generation
            except PollerError as error:
                await self._feed.trouble.wait(error)
            else:
                self._feed.trouble.over()
                return line

    async def _believe(self, void: int | None) -> None:
        async with self.shard.lock:
            if not self.shard.held.epoch or void == self.shard.generation:
                await self.shard.believe()

    async def _read(self) -> Line:
        name, number, generation = self.sink.name, self.shard.number, self.shard.generation
        position = await self._store.position(name, number)
        done = await self._store.done(name, number)
        places = await self._store.places(name, number)
        if position is None or generation != self.shard.generation:
            raise Outdated("the store was exchanged while it was read")
        pace = self.sink.pace
        waiting = Waiting(ordered=pace.ordered)
        waiting.load(places, now=self._clock.now(), longest=longest(pace), position=position.seq)
        line = Line(
            generation, self.sink, Ahead(position, done, self._feed.wants, pace.in_flight), waiting, (position, done)
        )
        line.recovered, line.set_back = self.gate.recovered, self.gate.set_back
        if self.gate.health.condition.state in {"down", "disabled"}:
            line.failed = set(waiting.seqs)  # nothing tells which of them failed before it went down
        self.position = position
        self._backlog.excess = 0
        return line

    # --- waiting -----------------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """What happens at the shard is told to whoever waits at the gate."""
        while True:
            changed = self.shard.changed
            self.gate.bell.ring()
            await changed.wait()

    # --- what others ask ---------------------------------------------------------------------------------------------------

    @property
    def error(self) -> PollerError | None:
        """Why nothing, or hardly anything, is delivered now; None while all is well."""
        it = self.gate.health.condition
        fault = self._feed.trouble.error or self._writing.error
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
        line, last = self._line, self.shard.held.last.seq
        if line is None:
            return last - (self.position.seq if self.position is not None else 0)
        return line.pending(last)

    async def caught_up(self, patience: float = 0.0) -> None:
        """Waits until nothing is to be done for so many seconds: retries that are due later wait in the store.

        The caller's scope is what bounds it.
        """
        self._hurried += 1
        try:
            while not self._rests(patience):
                if self._line is not None:
                    self._line.notes.hurry()
                await self._moved.event.wait()
        finally:
            self._hurried -= 1

    def _rests(self, patience: float) -> bool:
        line = self._line
        if line is None or line.running or line.notes or line.batch is not None:
            return False
        return line.looked == self.shard.held.last.seq and line.rests > self._clock.now() + patience

    async def accept_duplicates(self) -> str | None:
        """Nothing waits for a healing here."""
        return None
