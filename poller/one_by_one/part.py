"""One shard's part of a delivery one by one: believes the store, and writes what came of the shard's events."""

from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskStatus

from poller.errors import Lost, Outdated, PollerError
from poller.kept import Attempted
from poller.model import Event, Position
from poller.one_by_one.ahead import Ahead
from poller.one_by_one.bell import Bell
from poller.one_by_one.gate import Gate
from poller.one_by_one.line import Line
from poller.one_by_one.outlet import Outlet
from poller.one_by_one.place import fix_place
from poller.one_by_one.trouble import Trouble
from poller.one_by_one.waiting import Waiting
from poller.retrying import doubled, longest
from poller.shard import Shard
from poller.until import pause

GATHER = 0.2
"""Seconds for which outcomes gather: each commit costs polling as much as it costs us."""
LAZY = 5.0
"""The same where nothing was tried: a restart would only look at these events again."""
CLOSING = 3.0
"""Seconds in which what is answered is committed at the end."""
_FIRST, _SHORT = 0.25, 60.0
"""Seconds: a stretch that is shorter than the latter, after another such one, is followed by a wait that doubles up to it."""


class Part:
    """Of one shard."""

    def __init__(
        self, outlet: Outlet, shard: Shard, gate: Gate, wants: Callable[[Event], bool], moved: Bell,
        save: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        """`moved`: rung when something was done. `save`: keeps how the sink stands, where that may be kept now."""
        self.shard = shard
        self.route = outlet.route(shard)
        self.position: Position | None = None
        """Up to where everything is delivered, kept to be tried again, or dead; None until that is known."""
        self.line: Line | None = None
        """What may be tried from now on; None while the store is read."""
        self.excess = 0
        """Bytes that are to become dead letters, the oldest first. Whoever makes them takes them off."""
        self.reading = Trouble(self.route, "reading")
        self._writing = Trouble(self.route, "writing")
        self._sink = outlet.sink
        self._store = outlet.store
        self._clock = outlet.clock
        self._rnd = outlet.rnd
        self._gate = gate
        self._wants = wants
        self._moved = moved
        self._save = save
        self._lost = False
        self._short = 0
        """How many stretches in a row were short."""
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()

    # --- its life --------------------------------------------------------------------------------------------------------

    async def live(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Until it is ended. Started as soon as the sink's place in the log is fixed, or when it is ended before that."""
        started = False
        try:
            with self._scope:
                line = await self._begin()
                started = True
                task_status.started()
                while True:
                    line = await self._stretch(line)
        finally:
            self._ended.set()
            if not started:
                task_status.started()

    async def end(self, *, lost: bool) -> None:
        """The shard is given up. `lost`: nothing more is written."""
        self._lost = lost
        self._scope.cancel()
        await self._ended.wait()

    async def _stretch(self, line: Line) -> Line:
        """Until the store is no longer as it was; returns what is believed then."""
        began = self._clock.mono()
        try:
            await self._deliver(line)
        finally:
            self.line = None
            await self._close(line)
        self._short = self._short + 1 if self._clock.mono() - began < _SHORT else 0
        if self._short > 1:  # somebody else writes, too: each time a few events are sent again
            await self._clock.sleep(doubled(self._short, first=_FIRST, limit=_SHORT, jitter=0.5, rnd=self._rnd))
        return await self._begin(void=line.generation)

    async def _deliver(self, line: Line) -> None:
        async with anyio.create_task_group() as tasks:
            line.attempts = tasks
            self.line = line
            tasks.start_soon(self._watch, name="watch the log")
            tasks.start_soon(self._commits, line, name="commit outcomes")
            await line.over.wait()
            tasks.cancel_scope.cancel()

    async def _watch(self) -> None:
        """What happens at the shard is told to whoever waits at the gate."""
        while True:
            changed = self.shard.changed
            self._gate.bell.ring()
            await changed.wait()

    # --- commits -----------------------------------------------------------------------------------------------------------

    async def _commits(self, line: Line) -> None:
        while not line.void:
            notes = line.notes
            await notes.came.wait()
            if not self._gate.hurried:
                await pause(self._clock, notes.worthy, LAZY)
                await pause(self._clock, notes.filled, GATHER)
            while not line.void:
                try:
                    await self._commit(line)
                    self._writing.over()
                    break
                except Outdated:
                    line.over.set()
                except PollerError as error:
                    line.stuck = True
                    await self._writing.wait(error)
            line.stuck = False
            self._gate.bell.ring()
            self._moved.ring()

    async def _commit(self, line: Line) -> None:
        """All that came of attempts since the last time, in one transaction. Does no harm when it is done twice."""
        async with self._gate.turns.writing(self.shard.number, self._gate.held_back):
            batch = line.gather()
            # Before the lock: a long list that somebody reads just now holds this up, and would hold up polling.
            await self._confirm(line, batch)
            async with self.shard.lock:
                if line.generation != self.shard.generation:
                    raise Outdated("what was answered belongs to another history")
                await self._store.attempted(self.shard.held, self._sink.name, batch)
            self.position = line.committed(batch)
            line.looked = -1
            await self._save()

    async def _confirm(self, line: Line, batch: Attempted) -> None:
        """A store whose last commits were ours alone and are gone looks to the shard as it did before them."""
        if not line.keeps:
            return
        name, number = self._sink.name, self.shard.number
        found = await self._store.position(name, number), await self._store.done(name, number)
        if found not in {line.written, (batch.position, tuple(batch.done))}:
            self.shard.set_back(
                line.generation, self.route.metrics.store_rollbacks.inc
            )  # the shard itself may see nothing
            raise Outdated("what is kept of the deliveries is not what was written last: the store was restored")

    async def _close(self, line: Line) -> None:
        """What is answered is kept, so that the next life repeats only what was under way."""
        with anyio.move_on_after(CLOSING, shield=True):
            try:
                while not self._lost and not line.void and (line.notes or line.batch is not None):
                    await self._commit(line)
            except Outdated:
                pass
            except PollerError as error:
                self.route.log.warning("what was answered last is not kept: it is sent again", error=str(error))

    # --- the store ---------------------------------------------------------------------------------------------------------

    async def _begin(self, void: int | None = None) -> Line:
        """Everything that memory holds, read anew. `void`: the generation that is not believed any more."""
        while True:
            try:
                await self._believe(void)
                await fix_place(self.route)
                await self._gate.load(anew=void is not None)
                line = await self._read()
            except Lost:  # whoever dropped the shard is about to end this
                await self._clock.sleep(_FIRST)
            except Outdated:
                void = self.shard.generation
            except PollerError as error:
                await self.reading.wait(error)
            else:
                self.reading.over()
                return line

    async def _believe(self, void: int | None) -> None:
        if self.shard.held.epoch and void is None:
            return
        doubted = self.shard.generation if void is None else void
        await self.shard.believe_anew(doubted, self.route.metrics.store_rollbacks.inc)

    async def _read(self) -> Line:
        name, number, generation = self._sink.name, self.shard.number, self.shard.generation
        position = await self._store.position(name, number)
        done = await self._store.done(name, number)
        places = await self._store.places(name, number)
        if position is None or generation != self.shard.generation:
            raise Outdated("the store was exchanged while it was read")
        pace = self._sink.pace
        waiting = Waiting(ordered=pace.ordered)
        waiting.load(places, now=self._clock.now(), longest=longest(pace), position=position.seq)
        ahead = Ahead(position, done, self._wants, pace.in_flight)
        line = Line(generation, self._sink, ahead, waiting, (position, done))
        line.recovered = line.released = self._gate.recovered
        line.set_back = self._gate.set_back
        if self._gate.health.condition.state in {"down", "disabled"}:
            line.failed = set(waiting.seqs)  # nothing tells which of them failed before it went down
        self.position = position
        self.excess = 0
        return line

    # --- what others ask ---------------------------------------------------------------------------------------------------

    @property
    def error(self) -> PollerError | None:
        """What is wrong with the store."""
        return self.reading.error or self._writing.error

    @property
    def pending(self) -> int:
        """About how many events wait."""
        last = self.shard.held.last.seq
        if self.line is None:
            return last - (self.position.seq if self.position is not None else 0)
        return self.line.pending(last)

    def rests(self, patience: float) -> bool:
        """Whether nothing is to be done for so many seconds. Without patience nobody waits for a sink that is away: a call may hang."""
        line = self.line
        if line is None or line.notes or line.batch is not None:
            return False
        if not patience and self._gate.health.condition.state in {"down", "disabled"}:
            return True
        if line.running:
            return False
        return line.looked == self.shard.held.last.seq and line.rests > self._clock.now() + patience
