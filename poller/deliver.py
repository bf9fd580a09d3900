"""The way out: from the log to one sink, for one shard. Nothing lies between the steps; every crash is settled at the next start."""

from collections.abc import Sequence

import anyio
from anyio.abc import TaskStatus

from poller.backlog import Backlog
from poller.backoff import delay
from poller.errors import ForeignProgress, Lost, Outdated, PollerError, SinkRefused, StoreFault, bare
from poller.log import Outage
from poller.model import Position, Segment
from poller.protocols import Lane, Sent, Sink
from poller.recent import Notes
from poller.route import Route
from poller.settle import Settler

AT_ONCE = 8 << 20
"""Bytes of events, before compression, that one delivery takes at most, unless a single segment is larger."""
BUSY = 500
"""Events in one delivery after which the next ones are probably near."""
GATHER = 0.2
"""Seconds for which those are left to gather: each transaction costs us and the brokers as much as hundreds of events."""
IDLE = 5.0
"""Seconds after which the log is looked at although nobody told of anything new."""
_FIRST, _LIMIT = 0.5, 30.0


class Delivery:
    """Delivers one shard to one sink until it is cancelled."""

    def __init__(self, route: Route[Sink]) -> None:
        self.shard = route.shard
        self.sink = route.sink
        self.position: Position | None = None
        """Up to where everything is delivered; None until the sink was reached for the first time."""
        self.error: PollerError | None = None
        """Why nothing is delivered now; None while all is well."""
        self.recent = Notes()
        self._store = route.shard.store
        self._clock = route.clock
        self._rnd = route.rnd
        self._metrics = route.metrics
        self._name = f"delivery to {route.sink.name}"
        self._outage = Outage(route.log, route.clock)
        self._settler = Settler(route)
        self._backlog = Backlog(route)
        self._lane: Lane | None = None
        self._generation = -1
        self._moved = anyio.Event()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Started as soon as the sink's place in the log is fixed; polling may begin then.

        Raises ForeignProgress, and SinkRefused where the sink refuses before it has ever worked. All else is tried again.
        """
        await self._fix_place()
        task_status.started()
        try:
            while True:
                generation = self.shard.generation
                try:
                    await self._deliver()
                except Outdated:
                    await self._believe(generation)
                except ForeignProgress:
                    raise
                except SinkRefused as error:
                    if self.position is None:
                        raise SinkRefused(f"sink {self.sink.name}: {error}") from None
                    await self._failed(error)
                except PollerError as error:
                    await self._failed(error)
                finally:
                    await self._close()
        finally:
            self._backlog.close()

    @property
    def settler(self) -> Settler:
        """For who settles and delivers nothing."""
        return self._settler

    @property
    def pending(self) -> int:
        """About how many events wait (numbers may have gaps after a healing)."""
        return self.shard.held.last.seq - (self.position.seq if self.position is not None else 0)

    async def caught_up(self, patience: float = 0.0) -> None:  # noqa: ARG002 what fails here is tried again within seconds
        """Waits until everything that the log holds now is delivered. The caller's scope is what bounds it."""
        last = self.shard.held.last.seq
        while self.position is None or self.position.seq < last:
            await self._moved.wait()

    async def accept_duplicates(self) -> str | None:
        """For a healing whose topics cannot be read: the next attempt goes on without them. None where nothing waits."""
        if not self._settler.accept_duplicates():
            return None
        return (
            f"sink {self.sink.name}, shard {self.shard.number}: goes on from the store's own position at its next attempt, "
            f"within {_LIMIT:.0f} seconds; what was published after it may be published again"
        )

    # --- one stretch between two faults --------------------------------------------------------------------------------

    async def _deliver(self) -> None:
        """Settles, then delivers until something is no longer as it was."""
        generation = self.shard.generation
        self._lane, self.position = await self._settler.settle()
        self._generation = generation
        self._tell()
        while self._generation == self.shard.generation:
            changed = self.shard.changed
            segments = await self._store.segments_after(self.shard.number, self.position.seq, AT_ONCE)
            if self._generation != self.shard.generation:
                return  # what was read may belong to another history
            if segments:
                await self._send(self._lane, self.position, segments)
            self.error = None
            self._outage.ended()
            self.shard.store_works(self._name)
            await self._backlog.account(self.position, failing=False)
            if not segments:
                with anyio.move_on_after(IDLE):
                    await changed.wait()
            elif _more_is_near(segments):
                await self._clock.sleep(GATHER)

    async def _send(self, lane: Lane, before: Position, segments: Sequence[Segment]) -> None:
        """One delivery: sent, then noted. What the sink can never take is kept as dead letters before it is passed."""
        began = self._clock.mono()
        self.shard.check()
        sent = await lane.send(segments)
        position = before if sent.dead else sent.position
        async with self.shard.lock:
            if self._generation != self.shard.generation:
                return  # this belongs to another history; the progress tells what became of it
            await self._store.delivered(self.shard.held, self.sink.name, position, sent.dead)
        self.position = position
        self._count(sent, segments, self._clock.mono() - began)
        self._tell()

    def _count(self, sent: Sent, segments: Sequence[Segment], seconds: float) -> None:
        name, metrics = self.sink.name, self._metrics
        for dead in sent.dead:
            metrics.delivery_dead_letters[name, dead.reason].inc()
            metrics.deliveries[name, "dead", dead.reason].inc()
        if sent.dead:
            return
        self.recent.passed(self.shard.number, segments[0].first, segments[-1].last, self._clock.now())
        metrics.deliveries[name, "delivered", ""].inc(sum(one.last - one.first + 1 for one in segments))
        metrics.delivery_seconds.labels(name).observe(seconds)
        now, end_to_end = self._clock.now(), metrics.end_to_end_seconds.labels(name)
        for one in segments:  # the events of a segment were seen together
            end_to_end.observe(max(0.0, now - one.at))

    def _tell(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()

    # --- faults --------------------------------------------------------------------------------------------------------

    async def _fix_place(self) -> None:
        while True:
            generation = self.shard.generation
            try:
                if not self.shard.held.epoch:
                    await self._believe(generation)
                return await self._settler.begin()
            except Outdated:
                await self._believe(generation)
            except PollerError as error:
                await self._failed(error)

    async def _believe(self, doubted: int) -> None:
        """The store is not as we believed: another history, or another writer."""
        try:
            await self.shard.believe_anew(doubted, self._metrics.store_rollbacks.inc)
        except Lost:  # whoever lost it is about to end this
            await self._clock.sleep(_FIRST)
        except PollerError as error:
            await self._failed(error)

    async def _failed(self, error: PollerError) -> None:
        """Says it once, shows what waits, and waits itself."""
        await self._close()
        self.error = bare(error)
        self._outage.failed(error, quietly=self.shard.store_failed(self._name, error))
        self._metrics.producer_rebuilds[self.sink.name].inc()
        self._metrics.deliveries[self.sink.name, "failed", error.reason].inc()
        seconds = delay(self._outage.attempts, first=_FIRST, limit=_LIMIT, rnd=self._rnd)
        await self._clock.sleep(max(seconds, getattr(error, "retry_after", None) or 0.0))
        try:
            await self._backlog.account(self.position if self.sink.keeps_progress else None, failing=True)
            if not isinstance(error, StoreFault):
                self.shard.store_works(self._name)
        except PollerError as also:
            self._outage.failed(also, quietly=self.shard.store_failed(self._name, also))

    async def _close(self) -> None:
        lane, self._lane = self._lane, None
        if lane is not None:
            with anyio.CancelScope(shield=True):
                await lane.close()


def _more_is_near(segments: Sequence[Segment]) -> bool:
    """Events come fast, and what has come does not fill deliveries by itself."""
    return segments[-1].last - segments[0].first >= BUSY and sum(one.recorded_bytes for one in segments) < AT_ONCE // 2
