"""What holds for the whole of a sink that takes events one by one, whatever shard they come from: its health, how many attempts
and bytes are under way, and its rate. The shards of a sink share one.
"""

import math
from collections.abc import Hashable

import anyio

from poller.clock import Clock
from poller.each import Answered
from poller.health import Condition, Health, State, disabled, enabled, from_json, meta_name, to_json
from poller.one_by_one import switch as switches
from poller.one_by_one.bell import Bell
from poller.one_by_one.outlet import Outlet
from poller.one_by_one.seldom import Seldom
from poller.one_by_one.switch import Switch
from poller.options import show_duration
from poller.protocols import Store

BURST = 0.1
"""Seconds of its rate that a sink may get at once, to make up for a late wake-up."""
_STEP = 1.0
"""Seconds; a clock that is slewed moves less between two looks."""
_NOTHING = 1e-6
"""Seconds that are too short to be slept."""


class Rate:
    """A bucket of tokens: one per attempt."""

    def __init__(self, rate: float | None, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._most = max(1.0, (rate or 0.0) * BURST)
        self._tokens, self._at = self._most, clock.mono()

    def pause(self) -> float:
        """Seconds until there is a token."""
        if self._rate is None:
            return 0.0
        now = self._clock.mono()
        self._tokens, self._at = min(self._most, self._tokens + (now - self._at) * self._rate), now
        seconds = (1.0 - self._tokens) / self._rate
        return seconds if seconds > _NOTHING else 0.0

    def take(self) -> None:
        """One attempt begins."""
        self._tokens -= 1.0


class Gate:
    """Decides whether an attempt may begin, and is told how it ended. Everything but `load`, `save` and the commands is one step."""

    def __init__(self, outlet: Outlet) -> None:
        sink = outlet.sink
        self.name = sink.name
        self.turns = outlet.turns
        self.pace = sink.pace
        self.health = Health(sink.pace)
        self.recovered = 0
        """How often the sink has come back after it was down."""
        self.running = 0
        self.heard: tuple[float, str] | None = None
        """When the last attempt of this process ended, and what came of it."""
        self.failures = 0
        """Attempts that failed one after the other up to now, in this process."""
        self.bell = Bell()
        """Rung when an attempt has ended, and when something else may let one begin."""
        self.hurried = 0
        """How many wait until all that is answered is written."""
        self.set_back = 0.0
        """Seconds by which the wall clock was set back while this process ran."""
        self._delivered = 0.0
        """When the sink took something from this process last."""
        self._bytes = 0
        self._rate = Rate(sink.pace.rate, outlet.clock)
        self._store = outlet.store
        self._clock = outlet.clock
        self._ahead = self._clock.now() - self._clock.mono()
        self._rnd = outlet.rnd
        self._metrics = outlet.metrics
        self._log = outlet.log
        for state in ("slowed", "down", "disabled"):
            _ = self._metrics.sink_changes[self.name, state]
        self._saved: Condition | None = None
        self._saving = anyio.Lock()
        self._switch: Switch | None = None
        """As the store has it, so far as is known here."""
        self._seldom: dict[State, Seldom] = {"slowed": Seldom(outlet.clock), "down": Seldom(outlet.clock)}
        self._unsaid = False
        """The log does not say yet how it stands: it said the same a moment ago."""
        self._away: float | None = None
        """Since when it has not been up, where that was said."""

    @property
    def loaded(self) -> bool:
        """Whether it is known how the sink stood."""
        return self._saved is not None

    # --- what is kept ----------------------------------------------------------------------------------------------------

    async def load(self, *, anew: bool = False) -> None:
        """Before the first attempt. What this process knows already is newer than what another store says. Raises StoreFault.

        `anew`: the store may have been exchanged.
        """
        if self._saved is not None:
            await self.follow()
            if anew:
                self._saved = Condition()
                await self._save()
            return
        switch = await switches.read(self._store, self.name)
        text = await self._store.get_meta(meta_name(self.name))
        if self.loaded:  # meanwhile, for another shard
            return
        try:
            self._saved = from_json(text)
        except ValueError as error:
            self._log.warning(
                "what is kept of the sink's health cannot be read", error=str(error), detail="taken as up"
            )
            self._saved = Condition()
        self._switch = switch or Switch(off=self._saved.state == "disabled")
        self._saved = self._switch.found_with(self._saved)
        self.health.condition = self._saved
        if self._saved.state != "up":
            self._away = self._saved.since
            self._log.warning(f"the sink is {self._saved.state}", reason=self._saved.why, detail="from an earlier run")
        self._show()

    async def save(self) -> None:
        """Writes what has changed since it was read. Raises StoreFault."""
        if self.loaded:
            await self._save()

    async def _save(self) -> None:
        async with self._saving:  # of two writes on two connections, the earlier one could come later
            if self.health.condition is self._saved:
                return
            await self.follow()
            condition = self.health.condition
            if self._switch is not None and self._switch.off != (condition.state == "disabled"):
                self._switch = await switches.flip(self._store, self.name, condition, condition.since)
            await self._store.put_meta(meta_name(self.name), to_json(condition))
            self._saved = condition

    async def follow(self) -> None:
        """Does what was switched elsewhere. A store that was restored is told what it has forgotten. Raises StoreFault."""
        known = self._switch
        if known is None:
            return  # it is read before the first attempt
        found = await switches.read(self._store, self.name)
        if known is not self._switch or found == known:
            return
        if found is None or found.number < known.number:
            await switches.remind(self._store, self.name, known)
            return
        self._switch = found
        self._turn(found.applied(self.health.condition))

    async def compare(self, *, idle: bool) -> None:
        """What another replica measures. `idle`: nothing waits here, so nothing would ever show here that it is back. Raises StoreFault."""
        async with self._saving:
            it = self.health.condition
            try:
                stored = from_json(await self._store.get_meta(meta_name(self.name)))
            except ValueError:
                return
            if not self.loaded or it is not self.health.condition or "disabled" in {it.state, stored.state}:
                return
            if idle and it.state != "up" and stored.state == "up":
                self._saved = Condition(since=self._clock.now())
                self._turn(self._saved)
            elif it.state == "up" and stored.state != "up" and self._delivered > stored.since:
                await self._store.put_meta(meta_name(self.name), to_json(it))

    # --- attempts ----------------------------------------------------------------------------------------------------------

    def look_at_clock(self) -> None:
        """Notices that the wall clock was set back: nobody waits longer for that."""
        before, self._ahead = self._ahead, self._clock.now() - self._clock.mono()
        if before - self._ahead > _STEP:
            self.set_back += before - self._ahead
            self.health.set_back(before - self._ahead)

    def pause(self, size: int) -> float:
        """Seconds until an attempt with so many bytes may begin; infinity: when another one has ended."""
        if self.running >= self.pace.concurrency or (self._bytes and self._bytes + size > self.pace.in_flight):
            return math.inf
        return self._rate.pause()

    def begin(self, now: float, size: int) -> bool:
        """An attempt begins; whether it is a probe."""
        self._rate.take()
        self.running += 1
        self._bytes += size
        return self.health.begin(now)

    def end(self, size: int, *, probe: bool) -> None:
        """It has ended, whatever came of it. `probe`: it was one, and was given up."""
        self.health.given_up(probe=probe)
        self.running -= 1
        self._bytes -= size
        self.bell.ring()

    def answered(
        self, answer: Answered, which: Hashable, *, before: int, began: float, probe: bool, waiting: int
    ) -> None:
        """What came of it. `which`: the event, whatever shard it is of; `before`: how often it had been tried.

        `waiting`: about how many events wait, for the log.
        """
        was, now = self.health.condition, self._clock.now()
        self.heard = now, answer.error or "delivered"
        self._delivered = now if answer.outcome == "delivered" else self._delivered
        self.failures = 0 if answer.outcome == "delivered" else self.failures + 1
        self.health.answered(answer, which, before=before, began=began, probe=probe, now=now, rnd=self._rnd)
        if was.state == "down" and self.health.condition.state == "up":
            self.recovered += 1
        if was.state != self.health.condition.state:
            self._changed(was, now, waiting)
        elif self._unsaid:
            self._say(was, now, waiting, times=0)

    def held_back(self, seconds: float) -> None:
        """For so long the sink waited for one of its turns."""
        self._metrics.delivery_held_back[self.name].inc(seconds)

    # --- commands ----------------------------------------------------------------------------------------------------------

    async def disable(self, why: str) -> Condition:
        """Nothing is tried from now on, also after a restart and by other replicas. Raises StoreFault where that could not be kept."""
        return await self._command(disabled(self.health.condition, why, self._clock.now()))

    async def enable(self) -> Condition:
        """Probed with one event at once, then fed. Raises StoreFault."""
        return await self._command(enabled(self.health.condition, self._clock.now()))

    async def _command(self, condition: Condition) -> Condition:
        changed = condition is not self.health.condition
        self._turn(condition)
        if changed:  # also of one that is down here alone: the others are to look, too
            self._switch = await switches.flip(self._store, self.name, condition, self._clock.now())
        await self._save()
        return condition

    def _turn(self, condition: Condition) -> None:
        before, self.health.condition = self.health.condition, condition
        if before.state != condition.state:
            self._changed(before, condition.since, None)
        self.bell.ring()

    # --- what people see ---------------------------------------------------------------------------------------------------

    def _changed(self, before: Condition, now: float, waiting: int | None) -> None:
        self._say(before, now, waiting, times=1)
        self._show()
        if self.health.condition.state != "up":
            self._metrics.sink_changes[self.name, self.health.condition.state].inc()

    def _show(self) -> None:
        self._metrics.sink_enabled[self.name].set(float(self.health.condition.state != "disabled"))
        self._metrics.sink_up[self.name].set(float(self.health.condition.state == "up"))

    def _say(self, before: Condition, now: float, waiting: int | None, *, times: int) -> None:
        """One line when it goes, one when it is back; of one that comes and goes, once a minute. `times`: that it went."""
        it, self._unsaid = self.health.condition, False
        if it.state == "up":
            if self._away is not None:
                self._log.info("the sink is up again", after=show_duration(round(now - self._away)), waiting=waiting)
            self._away = None
            return
        seldom = self._seldom.get(it.state)
        if seldom is not None:
            times = seldom.due(times)
            self._unsaid = not times
        if self._unsaid:
            return
        self._away = self._away if self._away is not None and before.state != "up" else it.since
        often = {"times": times} if times > 1 else {}
        self._log.warning(
            f"the sink is {it.state}", reason=it.why, waiting=waiting, **often, detail=_WHAT_NOW[it.state]
        )


_WHAT_NOW: dict[State, str] = {
    "slowed": "it asked for fewer calls; nothing is lost",
    "down": "one event at a time looks whether it is back; the others wait, nothing is lost",
    "disabled": "its events are kept up to max_pending, then the oldest become dead letters; "
    "once it is mended: poller webhook enable",
}


async def condition_of(store: Store, sink: str) -> Condition:
    """How a sink was doing when it was last written, for looking without a daemon; one that cannot be read counts as up."""
    switch = await switches.read(store, sink)
    try:
        condition = from_json(await store.get_meta(meta_name(sink)))
    except ValueError:
        condition = Condition()
    return condition if switch is None else switch.found_with(condition)


async def switch(store: Store, sink: str, *, why: str | None, now: float) -> Condition:
    """Enables a sink, or disables it for the reason `why`, where no daemon runs. Returns how it stands afterwards."""
    before = await condition_of(store, sink)
    condition = enabled(before, now) if why is None else disabled(before, why, now)
    if condition is not before:
        await switches.flip(store, sink, condition, now)
    await store.put_meta(meta_name(sink), to_json(condition))
    return condition
