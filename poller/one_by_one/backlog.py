"""What waits for a sink that takes events one by one: in the log, and kept to be tried again."""

from poller.backlog import DROPPED, dropped
from poller.each import EachSink
from poller.model import DeadEvent, Event, Position
from poller.one_by_one.line import Line
from poller.route import Route

_AT_ONCE = 8 << 20
"""Bytes that are dropped between two looks: others want the store, too."""
_SLACK = 20
"""This part of the limit is dropped beyond what is too much: to drop a few events at every look would cost all others dearly."""
_QUIET = 60.0
"""Seconds between two lines about events that one sink lost to the limit."""


class EachBacklog:
    """Of one sink and shard: shown, and limited by `max_pending`, the oldest events becoming dead letters."""

    def __init__(self, route: Route[EachSink]) -> None:
        self.excess = 0
        """Bytes that are to become dead letters. Whoever makes them takes them off."""
        self._route = route
        self._shard = route.shard
        self._name = route.sink.name
        self._limit = route.options.max_pending
        self._metrics = route.metrics
        self._clock = route.clock
        self._dropped = 0
        self._said = -_QUIET

    async def account(self, line: Line, position: Position) -> None:
        """Looks. Raises StoreFault."""
        store, number, name = self._shard.store, self._shard.number, self._name
        behind = await store.backlog(number, position.seq, name)
        oldest = behind.oldest
        kept = next(iter(line.waiting), None)
        if kept is not None and kept.seq <= position.seq:
            oldest = (await store.backlog(number, kept.seq - 1, name)).oldest
        self._metrics.pending_events[name].set(max(0, behind.events - len(line.written[1])) + len(line))
        self._metrics.oldest_pending[name].set(oldest)
        if self._limit is not None and self.excess <= 0 and not line.unwritten_dead:
            size = behind.size + line.waiting.bytes
            if size > self._limit:
                self.excess = min(size - self._limit + self._limit // _SLACK, _AT_ONCE)

    def letter(self, seq: int, event: Event) -> DeadEvent:
        """The oldest one is dropped."""
        self.excess -= len(event.body)
        self._dropped += 1
        name = self._name
        self._metrics.delivery_dead_letters[name, "backlog"].inc()
        self._metrics.deliveries[name, "dead", "backlog"].inc()
        if self.excess <= 0:
            self.say(seq)
        return dropped(self._route, seq, event)

    def say(self, seq: int) -> None:
        """Once for all that were dropped since the last line, the last one being this."""
        now = self._clock.mono()
        if self._dropped and now - self._said >= _QUIET:
            self._route.log.error(DROPPED, events=self._dropped, up_to=seq, reason="backlog")
            self._dropped, self._said = 0, now
