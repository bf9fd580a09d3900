"""What a delivery one by one tries next, and what becomes of it: by the health of the sink, what is due, and what the log holds."""

import math
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from itertools import islice

import anyio
import anyio.lowlevel
from msgspec import structs

from poller.backlog import letter_of
from poller.each import Answered, Attempt
from poller.errors import Lost, Outdated, PollerError
from poller.health import ABORTED
from poller.kept import Place, Retry
from poller.model import Event
from poller.one_by_one.ahead import Fresh
from poller.one_by_one.backlog import EachBacklog
from poller.one_by_one.bell import Bell
from poller.one_by_one.gate import Gate
from poller.one_by_one.line import Line
from poller.one_by_one.outlet import Outlet
from poller.one_by_one.part import Part
from poller.one_by_one.seldom import Seldom
from poller.one_by_one.waiting import MOST
from poller.outgoing import for_sink, recorded_time
from poller.recent import Note, Notes
from poller.retrying import again, longest
from poller.until import pause

IDLE = 60.0
"""Seconds after which everything is looked at anew although nobody told of anything; the wall clock may have moved, too."""
LOOK = 1.0
"""Seconds between two looks at a shard that may not be ours any more."""
_SHORTEST = 0.001
"""Seconds: less is not slept, and an epoch does not show much less."""
_READ = 1 << 20
_LOADED = 32
"""Retries whose bytes are read at a time."""


class Feed:
    """Feeds one sink from all its shards, each in turn."""

    def __init__(self, outlet: Outlet, gate: Gate, backlog: EachBacklog, moved: Bell) -> None:
        """`moved`: rung when something was done, and when there is nothing to do."""
        self._store = outlet.store
        self._sink = outlet.sink
        self._clock = outlet.clock
        self._rnd = outlet.rnd
        self._metrics = outlet.metrics
        self._gate = gate
        self._backlog = backlog
        self._moved = moved
        self._parts: deque[Part] = deque()
        """Whose turn it is: the first one's."""
        self._blocked: Part | None = None
        """Its next event waits at the gate: nobody passes it there, or a large one would wait for ever."""
        self._seldom = Seldom(outlet.clock)
        self.recent = Notes()

    def add(self, part: Part) -> None:
        """One shard more."""
        self._parts.append(part)

    def remove(self, part: Part) -> None:
        """One shard less."""
        self._parts.remove(part)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._gate.turns.begin(self._gate.held_back)
            changed = self._gate.bell.event
            until = await self._round()
            if until is not None and not changed.is_set():
                self._moved.ring()
                await pause(self._clock, changed, min(max(until - self._clock.now(), _SHORTEST), IDLE))

    async def _round(self) -> float | None:
        """One step for the first shard that has something to do, and None; else the instant before which none has."""
        self._blocked, until = None, math.inf
        for part in list(self._parts):
            if part.line is None:
                continue
            at = await self._step(part, part.line)
            if at is None:
                if part in self._parts:
                    self._parts.remove(part)
                    self._parts.append(part)
                return None
            until = min(until, at)
        self._keep_turn(self._blocked)
        return until

    def _keep_turn(self, part: Part | None) -> None:
        if part is not None and part in self._parts:
            self._parts.remove(part)
            self._parts.appendleft(part)

    async def _step(self, part: Part, line: Line) -> float | None:
        """Something is tried, or got ready for that, and None. Else the instant before which there is nothing to do."""
        if line.void or line.generation != part.shard.generation:
            line.over.set()
            return math.inf
        if not part.shard.ours:  # whoever notices that ends the part; or the lease is renewed, late
            return self._clock.now() + LOOK
        if part.reading.left:
            return self._clock.now() + part.reading.left
        last, others = part.shard.held.last.seq, self._blocked
        try:
            until = await self._next(part, line)
            part.reading.over()
        except Outdated:
            line.over.set()
            return None
        except PollerError as error:
            part.reading.failed(error)
            return self._clock.now() + part.reading.left
        if until is not None:
            line.looked, line.rests = -1 if others is not None or (until == math.inf and self._blocked) else last, until
        return until

    async def _next(self, part: Part, line: Line) -> float | None:
        if line.notes.full or line.stuck:
            return math.inf
        self._follow_clock(line)
        if line.early and self._gate.health.condition.state == "down":
            line.put_off(self._clock.now())
        if line.recovered != self._gate.recovered:
            line.recovered = self._gate.recovered
            line.release(self._clock.now())
        if part.excess > 0:
            # A probe comes first, or nobody would see that the sink is back.
            if self._blocked is not None or not self._probes() or await self._choose(part, line) is not None:
                await self._drop(part, line)
            return None
        return math.inf if self._blocked is not None else await self._choose(part, line)

    def _probes(self) -> bool:
        """Whether a probe is due and may begin."""
        return self._gate.health.permit(self._clock.now()) == "probe" and not self._gate.pause(0)

    def _follow_clock(self, line: Line) -> None:
        self._gate.look_at_clock()
        line.follow_clock(self._gate.set_back)

    def _admit(self, part: Part, line: Line, size: int) -> float | None:
        """None: an attempt of so many bytes may begin. Else the instant before which it may not.

        Raises Outdated where the line ended since the step began, with the tasks in which attempts run.
        """
        if part.line is not line:
            raise Outdated("the shard left meanwhile")
        seconds = self._gate.pause(size)
        if not seconds:
            return None
        self._blocked = part
        return self._clock.now() + seconds

    async def _choose(self, part: Part, line: Line) -> float | None:
        """What the sink's health permits: retries that are due, else the log; as a probe also one that is not due yet."""
        now, health = self._clock.now(), self._gate.health
        permit, place = health.permit(now), line.waiting.soonest(now + longest(self._sink.pace))
        if permit == "nothing":
            return health.opens(now)
        due = math.inf if place is None or place.due is None else place.due
        another = permit == "probe" and health.another
        if place is not None and not another and (due <= now or permit == "probe"):
            return await self._again(part, line, place)
        if permit != "due":
            if line.ahead.fresh:
                return self._first(part, line, line.ahead.fresh[0])
            if await self._refill(part, line):
                return None
            if place is not None and another:
                return await self._again(part, line, place)
        return min(health.opens(now), due)

    def _first(self, part: Part, line: Line, fresh: Fresh) -> float | None:
        """The oldest event of the log, for the first time; one that has to wait for its turn is kept."""
        event = fresh.event
        until = self._admit(part, line, len(event.body))
        if until is not None:
            return until
        line.ahead.fresh.popleft()
        retry = Retry(sink=self._sink.name, shard=part.shard.number, seq=fresh.seq, event=event)
        if line.waiting.has_turn(event.key, fresh.seq):
            self._try(part, line, retry, fresh.at)
        else:
            line.kept(retry)
        return None

    async def _again(self, part: Part, line: Line, place: Place) -> float | None:
        """One that was tried before."""
        until = self._admit(part, line, place.size)
        if until is not None:
            return until
        retry = line.loaded.pop(place.seq, None)
        if retry is None:
            await self._load(part, line, line.waiting.next(_LOADED))
        else:
            line.waiting.take(place.seq)
            self._try(part, line, structs.replace(retry, due=line.early.pop(place.seq, place.due)), None)
        return None

    async def _load(self, part: Part, line: Line, places: Sequence[Place]) -> None:
        """Their bytes; of as many as may be under way."""
        size, wanted = 0, list[int]()
        for place in places:
            size += place.size
            if not wanted or size <= self._sink.pace.in_flight:
                wanted.append(place.seq)
        async with self._gate.turns.reading(self._gate.held_back):
            found = await self._store.retries(self._sink.name, part.shard.number, wanted)
        line.loaded = {retry.seq: retry for retry in found}
        if len(found) < len(wanted):
            raise Outdated("what was kept to be tried again is gone: the store was restored")

    async def _refill(self, part: Part, line: Line) -> bool:
        """Looks at some more of the log; False where there is no more for now."""
        ahead = line.ahead
        if not ahead.again and (ahead.full or len(line) >= MOST):
            return False
        if ahead.whole:
            last = part.shard.held.last.seq
            async with self._gate.turns.reading(self._gate.held_back):
                segments = await self._store.segments_after(part.shard.number, ahead.read_to, _READ)
            if part.line is not line or line.generation != part.shard.generation:
                raise Outdated("what was read may belong to another history, or the shard left meanwhile")
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
            part.excess -= sum(len(event.body) for event in meant)
            self._metrics.deliveries[self._sink.name, "filtered", ""].inc(len(meant))
        return True

    def wants(self, event: Event) -> bool:
        """Whether the event is for this sink at all."""
        return for_sink(event, self._sink.name) and self._sink.wants(event)

    # --- attempts ----------------------------------------------------------------------------------------------------------

    def _try(self, part: Part, line: Line, retry: Retry, committed: float | None) -> None:
        now = self._clock.now()
        line.running += 1
        probe = self._gate.begin(now, len(retry.event.body))
        line.attempts.start_soon(self._attempt, part, line, retry, now, probe, committed, name="attempt")

    async def _attempt(
        self, part: Part, line: Line, retry: Retry, began: float, probe: bool, committed: float | None
    ) -> None:
        """Cancelled at any time: what is not answered is tried again in the next life, or by whoever has the shard then."""
        attempt = Attempt(number=retry.attempts + 1, at=began, first=retry.first or began)
        mono, answer = self._clock.mono(), None
        try:
            part.shard.check()
            answer = await self._sink.attempt(retry.event, attempt)
        except Lost:  # noticed here first: a process that was stopped wakes anywhere
            line.over.set()
        except Exception as defect:  # of one sink: it must not end the others
            part.route.log.exception("defect", event_id=retry.event.id)
            answer = _defective(defect)
        finally:
            line.running -= 1
            self._gate.end(len(retry.event.body), probe=probe and answer is None)
            line.looked = -1
        if answer is None:
            return
        seconds = self._clock.mono() - mono
        self._metrics.delivery_seconds.labels(self._sink.name).observe(seconds)
        self._remember(retry, attempt, answer, seconds)
        self._follow_clock(line)
        self._settle(part, line, retry, attempt, answer)
        waiting = sum(one.pending for one in self._parts)
        which, before = (retry.shard, retry.seq), retry.attempts
        self._gate.answered(answer, which, before=before, began=began, probe=probe, waiting=waiting)
        if answer.outcome == "delivered":
            self._seen_to_delivered(retry.event, committed)
            self._forget_failures()
        self._moved.ring()

    def _remember(self, retry: Retry, attempt: Attempt, answer: Answered, seconds: float) -> None:
        """For whoever looks."""
        self.recent.add(
            Note(
                shard=retry.shard, first=retry.seq, last=retry.seq, begin=attempt.at, end=attempt.at + seconds,
                outcome=answer.outcome, number=attempt.number, reason=answer.reason, error=answer.error,
            )
        )  # fmt: skip

    def _forget_failures(self) -> None:
        """The sink works: what failed before says nothing about it any more."""
        if self._gate.health.condition.state == "up":
            for part in self._parts:
                if part.line is not None and part.line.recovered == self._gate.recovered:
                    part.line.failed.clear()

    def _settle(self, part: Part, line: Line, retry: Retry, attempt: Attempt, answer: Answered) -> None:
        """Delivered, kept to be tried again, or dead."""
        now, name = self._clock.now(), self._sink.name
        if answer.outcome == "delivered":
            self._metrics.deliveries[name, "delivered", ""].inc()
            return line.delivered(retry, now)
        down = self._gate.health.condition.state == "down"
        dead = answer.outcome == "dead" and (answer.reason == ABORTED or not down)
        self._metrics.deliveries[name, "dead" if dead else "failed", answer.reason].inc()
        pace = self._sink.pace
        later = None if dead else again(pace, retry, attempt, answer, now=now, rnd=self._rnd)
        if later is not None:
            line.failed.add(retry.seq)
            return line.kept(later)
        reason = answer.reason
        if not dead:
            reason = "exhausted"
            self._metrics.deliveries[name, "dead", reason].inc()
        self._metrics.delivery_dead_letters[name, reason].inc()
        self._say_dead(part, retry.event, reason, answer.error)
        return line.buried(letter_of(part.route, retry.seq, retry.event, reason, answer.error), now)

    def _say_dead(self, part: Part, event: Event, reason: str, error: str) -> None:
        """A receiver that refuses everything must not fill the log."""
        if count := self._seldom.due():
            part.route.log.warning(
                "an event became a dead letter", event_id=event.id, reason=reason, error=error, left_out=count - 1
            )

    def _seen_to_delivered(self, event: Event, committed: float | None) -> None:
        seen = _recorded(event) if committed is None else committed
        if seen is not None and not event.replay:
            self._metrics.end_to_end_seconds.labels(self._sink.name).observe(max(0.0, self._clock.now() - seen))

    # --- too much waits ----------------------------------------------------------------------------------------------------

    async def _drop(self, part: Part, line: Line) -> None:
        """The oldest become dead letters: what is kept by number, then the log."""
        backlog, now = self._backlog, self._clock.now()
        if kept := line.waiting.oldest(_LOADED):
            await self._load(part, line, kept)
            for retry in line.loaded.copy().values():
                if part.excess > 0 and not line.notes.full:
                    line.waiting.take(retry.seq)
                    line.buried(backlog.letter(part, retry.seq, retry.event), now)
            backlog.say()
        elif line.ahead.fresh:  # as many as one commit takes: one in a turn would be fewer than polling adds
            while line.ahead.fresh and part.excess > 0 and not line.notes.full:
                fresh = line.ahead.fresh.popleft()
                line.buried(backlog.letter(part, fresh.seq, fresh.event), now)
            backlog.say()
        elif not await self._refill(part, line):
            backlog.pass_on(part)


def _defective(defect: Exception) -> Answered:
    """As if the other side had failed: it is tried again, and a sink that fails so with every event counts as down."""
    return Answered(outcome="later", reason="defect", error=f"a defect of this program: {type(defect).__name__}")


def _recorded(event: Event) -> float | None:
    """When it was first seen, as its body says."""
    try:
        return datetime.fromisoformat(recorded_time(event.body).decode()).timestamp()
    except ValueError:
        return None
