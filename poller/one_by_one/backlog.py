"""What waits for a sink that takes events one by one: in the log, and kept to be tried again."""

from collections import deque
from collections.abc import Collection

from poller.backlog import DROPPED, dropped
from poller.model import DeadEvent, Event, Position
from poller.one_by_one.outlet import Outlet
from poller.one_by_one.part import Part
from poller.one_by_one.seldom import Seldom
from poller.room import Waits, waiting_in

_AT_ONCE = 8 << 20
"""Bytes that are dropped between two looks: others want the store, too."""
_SLACK = 20
"""This part of the limit is dropped beyond what is too much: to drop a few events at every look would cost all others dearly."""


class EachBacklog:
    """Of one sink, over its shards: shown, and limited by `max_pending`, the oldest events becoming dead letters."""

    def __init__(self, outlet: Outlet) -> None:
        self._store = outlet.store
        self._name = outlet.sink.name
        self._limit = outlet.options.max_pending
        self._metrics = outlet.metrics
        self._log = outlet.log
        self._found: dict[Part, Waits] = {}
        self._seldom = Seldom(outlet.clock)
        self._dropped = 0
        """How many the log does not say yet."""
        self._last = 0, 0
        """Shard and number of the one that was dropped last."""
        self._next: deque[Part] = deque()
        """Who drops when another one has nothing more to drop."""

    async def look(self, part: Part) -> None:
        """At one shard. Raises StoreFault."""
        line = part.line
        if line is not None:
            position, done = part.position or Position(), len(line.written[1])
            places = line.waiting.places
            self._found[part] = await waiting_in(self._store, part.shard.number, self._name, position, done, places)

    def remove(self, part: Part) -> None:
        """Its shard is gone."""
        if part in self._next:
            self._next.remove(part)

    def judge(self, parts: Collection[Part]) -> bool:
        """After a look at all of them: shows what waits; whether some of it has to be dropped."""
        # One that left while it was counted is still among those.
        self._found = {part: self._found[part] for part in parts if part in self._found}
        found = Waits()
        for waits in self._found.values():
            found.add(waits)
        self._metrics.pending_events[self._name].set(found.events)
        self._metrics.oldest_pending[self._name].set(found.oldest)
        self.say()
        if any(part.excess > 0 or (part.line is not None and part.line.unwritten_dead) for part in parts):
            return True
        if self._limit is not None and found.size > self._limit:
            self._mark(min(found.size - self._limit + self._limit // _SLACK, _AT_ONCE))
            return True
        return False

    def _mark(self, size: int) -> None:
        """What is oldest is dropped first."""
        there = [part for part, waits in self._found.items() if waits.oldest is not None and part.line is not None]
        self._next = deque(sorted(there, key=lambda part: self._found[part].oldest or 0.0))
        if self._next:
            self._next.popleft().excess = size

    def pass_on(self, part: Part) -> None:
        """What is left of a shard is under way: the next one drops the rest."""
        size, part.excess = part.excess, 0
        if self._next:
            self._next.popleft().excess = size

    def letter(self, part: Part, seq: int, event: Event) -> DeadEvent:
        """The oldest one is dropped."""
        part.excess -= len(event.body)
        self._dropped += 1
        name = self._name
        self._metrics.delivery_dead_letters[name, "backlog"].inc()
        self._metrics.deliveries[name, "dead", "backlog"].inc()
        self._last = part.shard.number, seq
        return dropped(part.route, seq, event)

    def say(self) -> None:
        """At the first ones, then once a minute for all that were dropped since the last line."""
        if self._dropped and self._seldom.due():
            shard, seq = self._last
            self._log.error(DROPPED, shard=shard, events=self._dropped, up_to=seq, reason="backlog")
            self._dropped = 0
