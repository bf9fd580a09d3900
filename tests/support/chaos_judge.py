"""What was lost, what came twice, and when all was there again: by the vendors' own truth, by a read_committed reader, by the receiver."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

import anyio
from e2e_daemon import ALL, Topics
from e2e_each import Inbox

from poller.simulate.judge import Verdict, judge
from poller.simulate.run import Simulators

BOUND = 420.0
"""Seconds after the end of a fault within which everything must be there: nothing here is waited for longer than five minutes."""
_LOOK = 0.5
_LATE = 0.25
_ASKED_AGAIN = 5.0
"""Seconds after which whoever got no answer has asked again."""


@dataclass
class Recovery:
    """After how many seconds all was there; `lost` and `twice`: of what was looked for in vain, and of what must never be."""

    kafka: float = inf
    webhook: float = inf
    lost: int = 0
    twice: int = 0
    examples: list[str] = field(default_factory=list)
    came_last: list[str] = field(default_factory=list)
    """What was still looked for when the last but one look was taken."""

    @property
    def well(self) -> bool:
        return not self.lost and not self.twice and self.webhook < inf


class Judge:
    """Compares whenever it is asked."""

    def __init__(self, sims: Simulators, topics: Topics, inbox: Inbox) -> None:
        self._sims = sims
        self.topics = topics
        self._inbox = inbox
        self.blind: list[tuple[float, float]] = []
        """Spans of the world's time from the begin of a fault until everything had recovered."""
        self._stalls: list[tuple[float, float]] = []

    async def verdict(self, due: float) -> Verdict:
        """Truth and events compared now: what a reader who keeps its ladder has found by `due`, in the world's time, must be there."""
        events = await self.topics.read()
        return judge(self.truth(), events, endpoints=ALL, due=due)

    def truth(self) -> list[dict[str, Any]]:
        """All things. What a vendor showed only while something was broken, and nobody can know any more, may be missing."""
        things, spans = self._sims.things(), (*self.blind, *self._stalls)
        for thing in things:
            for life in (*thing["states"], *thing["mentions"]):
                if life["gone_at"] is not None and not life["may_miss"]:
                    life["may_miss"] = any(_gone_meanwhile(life, *span) for span in spans)
        return things

    async def notice_stalls(self) -> None:
        """Where the machine is so busy that the phone systems, which live in this loop, stand still, nobody can see them either."""
        while True:
            since, began = self._sims.world.now(), time.monotonic()
            await anyio.sleep(_LOOK)
            if time.monotonic() - began > _LOOK + _LATE:
                self._stalls.append((since, self._sims.world.now() + _ASKED_AGAIN))

    def passed_by(self, due: float) -> int:
        """How many states nobody saw: all of those that the truth wants and that are not among what was read last."""
        return lost(judge(self._sims.things(), self.topics.events, endpoints=ALL, due=due))

    def published(self) -> set[str]:
        """Ids of what consumers have read so far."""
        return {event["id"] for event in self.topics.events}

    async def recovered(self, since: float, watch: Callable[[], None]) -> Recovery:
        """Waits until everything is published that was to be found by now, and the receiver has all that is published.

        `since`: the world's time when the first of these faults began. `watch`: called again and again; raises where something is wrong for good.
        """
        began, now = time.monotonic(), self._sims.world.now()
        found, self.blind = Recovery(), [*self.blind, (since, now)]
        due, wanted = now + self._sims.config.world.slack, set[str]()
        while time.monotonic() - began < BOUND:
            watch()
            looked = time.monotonic()
            self.blind[-1] = (since, self._sims.world.now())
            if found.kafka == inf:
                verdict = await self.verdict(due)
                found.lost, found.twice, found.examples = lost(verdict), twice(verdict), verdict.examples
                found.came_last = verdict.examples or found.came_last
                if found.twice or not found.lost:
                    found.kafka, wanted = time.monotonic() - began, self.published()
            if found.twice or (found.kafka < inf and wanted <= self._inbox.bodies.keys()):
                found.webhook = time.monotonic() - began
                break
            await anyio.sleep(max(_LOOK, 3 * (time.monotonic() - looked)))  # the longer the world, the more to compare
        if found.kafka < inf:
            found.lost += len(wanted - self._inbox.bodies.keys())
        return found

    def at_the_webhook(self) -> list[str]:
        """What is wrong there, once everything has come to rest."""
        wanted, bodies = self.published(), self._inbox.bodies
        wrong = [f"not at the webhook: {one}" for one in sorted(wanted - bodies.keys())]
        wrong += [f"only at the webhook: {one}" for one in sorted(bodies.keys() - wanted)]
        return wrong + [f"several events of one id: {one}" for one, several in bodies.items() if len(several) > 1]


def _gone_meanwhile(life: dict[str, Any], begin: float, end: float) -> bool:
    """Whether a state was gone before a reader who could see nothing from `begin` to `end` had surely looked again."""
    usual = life["found_by"] - life["visible_at"]
    return bool(begin < life["found_by"] and end > life["visible_at"] and life["gone_at"] < end + usual)


def lost(verdict: Verdict) -> int:
    """Things and states of things that should be there."""
    return verdict.missing + verdict.updates_missing


def twice(verdict: Verdict) -> int:
    """What is there more often than it may be, or never was."""
    return verdict.twice + verdict.updates_repeated + verdict.unknown
