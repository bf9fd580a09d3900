"""Pure: how a sink that takes events one by one is doing as a whole, and so which of its events may be tried.

up        everything is tried
slowed    it is asked too much (429, 502, 504): nothing before `until`, then one attempt at a time until one is answered
          otherwise
down      so many different events failed in a row, or were refused for good, that it is the sink and not the events (how many:
          `patience.py`): fresh ones wait. One probe at a time looks whether it is back; retries whose own time has come are
          tried too, so they follow their schedule. Nothing is dead for being refused now
disabled  it wants no more calls, or somebody disabled it: nothing is tried until it is enabled
"""

import random
from collections.abc import Hashable
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from poller.each import Answered, Pace
from poller.patience import Patience
from poller.retrying import bounded, doubled, jittered

State: TypeAlias = Literal["up", "slowed", "down", "disabled"]
Permit: TypeAlias = Literal["all", "due", "probe", "nothing"]
"""What may be tried: everything; retries whose time has come; these, and one more event as a probe; nothing."""

FIRST = 5.0
"""Seconds of the first wait; the next ones double."""
SLOWEST = 300.0
"""Seconds between two attempts at a sink that is slowed and does not say how long."""
ABORTED = "aborted"
"""The reason of a refusal that says by itself that it is about this one event only."""
_NAMED = 1.0
"""Seconds; who asks to wait for less has not said when to come again."""
_SAID = 500


class Condition(Struct, frozen=True, omit_defaults=True):
    """How a sink is doing, as the store keeps it under `meta_name`. Instants are epoch seconds."""

    state: State = "up"
    since: float = 0.0
    """When the state began; 0: it has never been in another one."""
    why: str = ""
    """What the sink said, or who disabled it; empty when it is up."""
    until: float = 0.0
    """Nothing is tried before."""
    probe_at: float = 0.0
    """Down: when the next probe is due."""
    waits: int = 0
    """How often the wait has doubled."""


def meta_name(sink: str) -> str:
    """Where the store keeps a sink's condition."""
    return f"sink.{sink}.health"


def to_json(condition: Condition) -> str:
    """For the store."""
    return msgspec.json.encode(condition).decode()


def from_json(text: str | None) -> Condition:
    """What the store has; None: nothing yet. Raises ValueError where it cannot be read."""
    return Condition() if text is None else msgspec.json.decode(text, type=Condition)


def disabled(condition: Condition, why: str, now: float) -> Condition:
    """Nothing is tried any more. One that is disabled already keeps its reason."""
    return condition if condition.state == "disabled" else Condition("disabled", now, why[:_SAID])


def enabled(condition: Condition, now: float) -> Condition:
    """A sink that is not up is probed with one event, at once, whatever it asked for: somebody has looked at it."""
    if condition.state == "disabled":
        return Condition("down", now, "enabled again, not tried yet", probe_at=now)
    if condition.state in {"down", "slowed"}:
        return Condition("down", condition.since, condition.why, probe_at=now)
    return condition


class Health:
    """The state machine: told of every attempt, asked before the next one. `now` is the wall clock's."""

    def __init__(self, pace: Pace, condition: Condition | None = None) -> None:
        self.condition = condition or Condition()
        self._pace = pace
        self._patience = Patience()
        self._asked = 0.0
        """The latest instant that anybody was asked to wait for, since it last worked."""
        self._probing = False
        self.another = False
        """The last probe was refused for good, as that event may deserve: the next one should be an event that was not tried yet."""

    # --- what may be tried -----------------------------------------------------------------------------------------------

    def permit(self, now: float) -> Permit:
        """What may be tried now."""
        self._anchor(now)
        it = self.condition
        if it.state == "up":
            return "all"
        if it.state == "disabled" or now < it.until:
            return "nothing"
        if it.state == "slowed":
            return "nothing" if self._probing else "probe"
        return "probe" if now >= it.probe_at and not self._probing else "due"

    def opens(self, now: float) -> float:
        """When the permit grows by time alone; infinity where it does not."""
        it = self.condition
        times = {"slowed": (it.until,), "down": (it.until, max(it.until, it.probe_at))}.get(it.state, ())
        return min((at for at in times if at > now), default=float("inf"))

    def begin(self, now: float) -> bool:
        """An attempt begins; whether it is the probe. Only where the permit allows it."""
        probe = self.permit(now) == "probe"
        self._probing |= probe
        return probe

    def given_up(self, *, probe: bool) -> None:
        """An attempt ended without an answer: it was cancelled."""
        self._probing &= not probe

    def set_back(self, seconds: float) -> None:
        """Our clock was: what is to be waited stays as long as it was."""
        it = self.condition
        self._asked -= seconds
        self._patience.set_back(seconds)
        if it.state in {"slowed", "down"}:
            self._change(since=it.since - seconds, until=it.until - seconds, probe_at=it.probe_at - seconds)

    # --- what came of it -------------------------------------------------------------------------------------------------

    def answered(
        self,
        answer: Answered,
        which: Hashable,
        *,
        before: int,
        began: float,
        probe: bool,
        now: float,
        rnd: random.Random,
    ) -> None:
        """One attempt of an event has ended. `which`: it; events of several shards may have one number.

        `before`: how often it had been tried; `began`: the `now` of its `begin`.
        """
        self._probing &= not probe
        self.another = self._condemns(answer) if probe else self.another
        state, fresh = self.condition.state, probe and began >= self.condition.since
        if state == "disabled":
            return
        if answer.disable:
            self.condition = disabled(self.condition, answer.error, now)
            return
        if answer.outcome == "delivered":
            self._patience.taken(before, now)
            self._worked(now, fresh=fresh)
            return
        if answer.reason not in {ABORTED, "rate_limited"}:  # the latter: too much is asked of what is there
            self._patience.failed(which, before, now, lost=answer.outcome == "dead")
        if self._condemns(answer):
            self._condemned(answer, now, rnd, fresh=fresh, probe=probe)
        else:
            self._failed(answer, now, rnd, fresh=fresh, probe=probe)

    def _worked(self, now: float, *, fresh: bool) -> None:
        self.another = False
        if self.condition.state == "up":
            self._asked = 0.0
        elif self.condition.state == "down" and now < self.condition.until:
            self._change(probe_at=self.condition.until)  # it works, and asked to be left alone until then
        elif self.condition.state == "down" or (self.condition.state == "slowed" and fresh):
            self._up(now)

    @staticmethod
    def _condemns(answer: Answered) -> bool:
        return answer.outcome == "dead" and not answer.at_large

    def _condemned(self, answer: Answered, now: float, rnd: random.Random, *, fresh: bool, probe: bool) -> None:
        """It answers, though with nothing but a word about this one event; it may say the same of every event."""
        if self.condition.state == "down":
            if probe:
                self._change(probe_at=now + jittered(FIRST, self._pace.jitter, rnd))
        elif self._patience.over(now):
            self._down(answer, now, now + jittered(FIRST, self._pace.jitter, rnd))
            self.another = True
        elif self.condition.state == "slowed" and fresh:
            self._up(now)

    def _failed(self, answer: Answered, now: float, rnd: random.Random, *, fresh: bool, probe: bool) -> None:
        asked = now + bounded(self._pace, answer.retry_after) if answer.retry_after is not None else 0.0
        self._asked = max(self._asked, asked)
        it = self.condition
        if it.state == "down":
            waits = it.waits + probe
            probe_at = now + self._wait(waits, self._pace.probe, rnd) if probe else it.probe_at
            self._change(until=max(it.until, asked), probe_at=probe_at, waits=waits)
        elif self._patience.over(now):
            self._down(answer, now, now + self._wait(0, self._pace.probe, rnd))
        elif it.state == "slowed" and fresh:
            until = asked if asked >= now + _NAMED else now + self._wait(it.waits + 1, SLOWEST, rnd)
            until = max(it.until, until)
            self._change(until=until, waits=it.waits + 1)
        elif it.state == "slowed":  # it was under way already when the first one was told to slow down
            self._change(until=max(it.until, asked))
        elif answer.slow_down:
            until = asked or now + self._wait(0, SLOWEST, rnd)
            self.condition = Condition("slowed", now, answer.error[:_SAID], until=until)

    def _down(self, answer: Answered, now: float, probe_at: float) -> None:
        until = max(self.condition.until, self._asked)
        self.condition = Condition("down", now, answer.error[:_SAID], until=until, probe_at=probe_at)

    def _up(self, now: float) -> None:
        self.condition = Condition("up", now)
        self._asked = 0.0

    def _change(self, **changed: float) -> None:
        self.condition = msgspec.structs.replace(self.condition, **changed)

    def _wait(self, times: int, limit: float, rnd: random.Random) -> float:
        return doubled(times, first=min(FIRST, limit), limit=limit, jitter=self._pace.jitter, rnd=rnd)

    def _anchor(self, now: float) -> None:
        """What another clock wrote before a restart: nothing began later than now, and nothing is waited for longer than ever."""
        it = self.condition
        if it.state not in {"slowed", "down"}:
            return
        if now < it.since:
            self.set_back(it.since - now)
        it, slack = self.condition, 1.0 + self._pace.jitter
        until = min(it.until, now + max(self._pace.longest_retry_after, SLOWEST * slack))
        probe_at = min(it.probe_at, max(until, now + max(self._pace.probe, FIRST) * slack))
        if (until, probe_at) != (it.until, it.probe_at):
            self._change(until=until, probe_at=probe_at)
