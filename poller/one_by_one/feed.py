"""What a delivery one by one tries next, and what becomes of it: by the health of the sink, what is due, and what the log holds."""

import math
from collections.abc import Sequence
from datetime import datetime
from itertools import islice

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup
from msgspec import structs

from poller.backlog import letter_of
from poller.each import Answered, Attempt, EachSink
from poller.errors import Outdated, PollerError
from poller.health import ABORTED
from poller.kept import Place, Retry
from poller.model import Event
from poller.one_by_one.ahead import Fresh
from poller.one_by_one.backlog import EachBacklog
from poller.one_by_one.bell import Bell, pause
from poller.one_by_one.gate import Gate
from poller.one_by_one.line import Line
from poller.one_by_one.trouble import Trouble
from poller.one_by_one.waiting import MOST
from poller.outgoing import for_sink, recorded_time
from poller.retrying import again, longest
from poller.route import Route

IDLE = 60.0
"""Seconds after which everything is looked at anew although nobody told of anything; the wall clock may have moved, too."""
_SHORTEST = 0.001
"""Seconds: less is not slept, and an epoch does not show much less."""
_READ = 1 << 20
_LOADED = 32
"""Retries whose bytes are read at a time."""
_QUIET = 60.0
"""Seconds after a line about a dead letter in which further ones are only counted."""


class Feed:
    """Feeds one sink from one shard."""

    def __init__(self, route: Route[EachSink], gate: Gate, backlog: EachBacklog, moved: Bell) -> None:
        """`moved`: rung when something was done, and when there is nothing to do."""
        self.trouble = Trouble(route, "reading")
        self._route = route
        self._shard = route.shard
        self._store = route.shard.store
        self._sink = route.sink
        self._clock = route.clock
        self._metrics = route.metrics
        self._gate = gate
        self._backlog = backlog
        self._moved = moved
        self._said = -_QUIET
        self._unsaid = 0

    async def run(self, line: Line, tasks: TaskGroup) -> None:
        """Until the line is void."""
        while not line.void and line.generation == self._shard.generation:
            await self._gate.turns.begin(self._gate.held_back)
            changed, last = self._gate.bell.event, self._shard.held.last.seq
            try:
                until = await self._next(line, tasks)
                self.trouble.over()
            except Outdated:
                line.void = True
                return
            except PollerError as error:
                await self.trouble.wait(error)
                continue
            if until is not None and not changed.is_set():
                line.looked, line.rests = last, until
                self._moved.ring()
                await pause(self._clock, changed, min(max(until - self._clock.now(), _SHORTEST), IDLE))

    async def _next(self, line: Line, tasks: TaskGroup) -> float | None:
        """One step: something is tried, or got ready for that, and None. Else the instant before which there is nothing to do."""
        if line.notes.full or line.stuck:
            return math.inf
        self._follow_clock(line)
        if self._backlog.excess > 0:
            return await self._drop(line)
        if line.early and self._gate.health.condition.state == "down":
            line.put_off(self._clock.now())
        if line.recovered != self._gate.recovered:
            line.recovered = self._gate.recovered
            line.release(self._clock.now())
        return await self._choose(line, tasks)

    def _follow_clock(self, line: Line) -> None:
        self._gate.look_at_clock()
        line.follow_clock(self._gate.set_back)

    async def _choose(self, line: Line, tasks: TaskGroup) -> float | None:
        """What the sink's health permits: retries that are due, else the log; as a probe also one that is not due yet."""
        now, health = self._clock.now(), self._gate.health
        permit, place = health.permit(now), line.waiting.soonest(now + longest(self._sink.pace))
        if permit == "nothing":
            return health.opens(now)
        due = math.inf if place is None or place.due is None else place.due
        another = permit == "probe" and health.another
        if place is not None and not another and (due <= now or permit == "probe"):
            return await self._again(line, tasks, place)
        if permit != "due":
            if line.ahead.fresh:
                return self._first(line, tasks, line.ahead.fresh[0])
            if await self._refill(line):
                return None
            if place is not None and another:
                return await self._again(line, tasks, place)
        return min(health.opens(now), due)

    def _first(self, line: Line, tasks: TaskGroup, fresh: Fresh) -> float | None:
        """The oldest event of the log, for the first time; one that has to wait for its turn is kept."""
        event = fresh.event
        seconds = self._gate.pause(len(event.body))
        if seconds:
            return self._clock.now() + seconds
        line.ahead.fresh.popleft()
        retry = Retry(sink=self._sink.name, shard=self._shard.number, seq=fresh.seq, event=event)
        if line.waiting.has_turn(event.key, fresh.seq):
            self._try(line, tasks, retry, fresh.at)
        else:
            line.kept(retry)
        return None

    async def _again(self, line: Line, tasks: TaskGroup, place: Place) -> float | None:
        """One that was tried before."""
        seconds = self._gate.pause(place.size)
        if seconds:
            return self._clock.now() + seconds
        retry = line.loaded.pop(place.seq, None)
        if retry is None:
            await self._load(line, line.waiting.next(_LOADED))
        else:
            line.waiting.take(place.seq)
            self._try(line, tasks, structs.replace(retry, due=line.early.pop(place.seq, place.due)), None)
        return None

    async def _load(self, line: Line, places: Sequence[Place]) -> None:
        """Their bytes; of as many as may be under way."""
        size, wanted = 0, list[int]()
        for place in places:
            size += place.size
            if not wanted or size <= self._sink.pace.in_flight:
                wanted.append(place.seq)
        async with self._gate.turns.reading(self._gate.held_back):
            found = await self._store.retries(self._sink.name, self._shard.number, wanted)
        line.loaded = {retry.seq: retry for retry in found}
        if len(found) < len(wanted):
            raise Outdated("what was kept to be tried again is gone: the store was restored")

    async def _refill(self, line: Line) -> bool:
        """Looks at some more of the log; False where there is no more for now."""
        ahead = line.ahead
        if not ahead.again and (ahead.full or len(line) >= MOST):
            return False
        if ahead.whole:
            last = self._shard.held.last.seq
            async with self._gate.turns.reading(self._gate.held_back):
                segments = await self._store.segments_after(self._shard.number, ahead.read_to, _READ)
            if line.generation != self._shard.generation:
                raise Outdated("what was read may belong to another history")
            if not segments:
                line.ended = last
                return False
            ahead.add(segments)
        await anyio.lowlevel.checkpoint()  # a long log that nobody wants is no reason to keep others waiting
        had = len(ahead.fresh)
        known, passed = ahead.look()
        for fresh in islice(ahead.fresh, had, None):
            line.waiting.join(fresh.event.key, fresh.seq)
        for seq in known:
            line.waiting.passed(seq, self._clock.now())
        if passed:
            line.passed()
            meant = [event for event in passed if for_sink(event, self._sink.name)]
            self._backlog.excess -= sum(len(event.body) for event in meant)
            self._metrics.deliveries[self._sink.name, "filtered", ""].inc(len(meant))
        return True

    def wants(self, event: Event) -> bool:
        """Whether the event is for this sink at all."""
        return for_sink(event, self._sink.name) and self._sink.wants(event)

    # --- attempts ----------------------------------------------------------------------------------------------------------

    def _try(self, line: Line, tasks: TaskGroup, retry: Retry, committed: float | None) -> None:
        now = self._clock.now()
        line.running += 1
        probe = self._gate.begin(now, len(retry.event.body))
        tasks.start_soon(self._attempt, line, retry, now, probe, committed, name="attempt")

    async def _attempt(self, line: Line, retry: Retry, began: float, probe: bool, committed: float | None) -> None:
        """Cancelled at any time: what is not answered is tried again in the next life."""
        attempt = Attempt(number=retry.attempts + 1, at=began, first=retry.first or began)
        mono, answer = self._clock.mono(), None
        try:
            answer = await self._sink.attempt(retry.event, attempt)
        except Exception as defect:  # of one sink: it must not end the others
            self._route.log.exception("defect", event_id=retry.event.id)
            answer = _defective(defect)
        finally:
            line.running -= 1
            self._gate.end(len(retry.event.body), probe=probe and answer is None)
            line.looked = -1
        self._metrics.delivery_seconds.labels(self._sink.name).observe(self._clock.mono() - mono)
        self._follow_clock(line)
        self._settle(line, retry, attempt, answer)
        waiting = line.pending(self._shard.held.last.seq)
        self._gate.answered(answer, retry.seq, began=began, probe=probe, waiting=waiting)
        if answer.outcome == "delivered":
            self._seen_to_delivered(retry.event, committed)
            if self._gate.health.condition.state == "up" and line.recovered == self._gate.recovered:
                line.failed.clear()
        self._moved.ring()

    def _settle(self, line: Line, retry: Retry, attempt: Attempt, answer: Answered) -> None:
        """Delivered, kept to be tried again, or dead."""
        now, name = self._clock.now(), self._sink.name
        if answer.outcome == "delivered":
            self._metrics.deliveries[name, "delivered", ""].inc()
            return line.delivered(retry, now)
        down = self._gate.health.condition.state == "down"
        dead = answer.outcome == "dead" and (answer.reason == ABORTED or not down)
        self._metrics.deliveries[name, "dead" if dead else "failed", answer.reason].inc()
        pace = self._sink.pace
        later = None if dead else again(pace, retry, attempt, answer, now=now, rnd=self._route.rnd)
        if later is not None:
            line.failed.add(retry.seq)
            return line.kept(later)
        reason = answer.reason
        if not dead:
            reason = "exhausted"
            self._metrics.deliveries[name, "dead", reason].inc()
        self._metrics.delivery_dead_letters[name, reason].inc()
        self._say_dead(retry.event, reason, answer.error)
        return line.buried(letter_of(self._route, retry.seq, retry.event, reason, answer.error), now)

    def _say_dead(self, event: Event, reason: str, error: str) -> None:
        """One line a minute: a receiver that refuses everything must not fill the log."""
        if self._clock.mono() - self._said < _QUIET:
            self._unsaid += 1
            return
        self._route.log.warning(
            "an event became a dead letter", event_id=event.id, reason=reason, error=error, left_out=self._unsaid
        )
        self._said, self._unsaid = self._clock.mono(), 0

    def _seen_to_delivered(self, event: Event, committed: float | None) -> None:
        seen = _recorded(event) if committed is None else committed
        if seen is not None and not event.replay:
            self._metrics.end_to_end_seconds.labels(self._sink.name).observe(max(0.0, self._clock.now() - seen))

    # --- too much waits ----------------------------------------------------------------------------------------------------

    async def _drop(self, line: Line) -> float | None:
        """The oldest become dead letters: what is kept by number, then the log."""
        backlog, now = self._backlog, self._clock.now()
        if kept := list(islice(line.waiting, _LOADED)):
            await self._load(line, kept)
            for retry in line.loaded.copy().values():
                if backlog.excess > 0:
                    line.waiting.take(retry.seq)
                    line.buried(backlog.letter(retry.seq, retry.event), now)
        elif line.ahead.fresh:
            fresh = line.ahead.fresh.popleft()
            line.buried(backlog.letter(fresh.seq, fresh.event), now)
        elif not await self._refill(line):
            backlog.excess = 0  # the rest is under way
            backlog.say(line.ahead.read_to)
        return None


def _defective(defect: Exception) -> Answered:
    """As if the other side had failed: it is tried again, and a sink that fails so with every event counts as down."""
    return Answered(outcome="later", reason="defect", error=f"a defect of this program: {type(defect).__name__}")


def _recorded(event: Event) -> float | None:
    """When it was first seen, as its body says."""
    try:
        return datetime.fromisoformat(recorded_time(event.body).decode()).timestamp()
    except ValueError:
        return None
