"""What waits for a sink: shown, and limited by `max_pending`."""

from poller import segment
from poller.model import DeadEvent, Event, Position, Segment
from poller.options import show_size
from poller.outgoing import dead_id, for_sink
from poller.protocols import Sink
from poller.route import AnySink, Route

_EVERY = 1.0
"""Seconds between two looks, at least."""
_SHARE, _SELDOM = 20, 30.0
"""A look that takes long rests for so many times as long, and for so many seconds at most."""
_READ = 1 << 20


def rest_after(took: float) -> float:
    """Seconds until the next look: it reads a row for each commit that waits, and after hours without a sink these are a million."""
    return min(max(_EVERY, _SHARE * took), _SELDOM)


class Backlog:
    """The backlog of one sink and shard."""

    def __init__(self, route: Route[Sink]) -> None:
        self._route = route
        self._shard = route.shard
        self._sink = route.sink
        self._limit = route.options.max_pending
        self._clock = route.clock
        self._log = route.log
        self._metrics = route.metrics
        self._reason = f"backlog of {route.sink.name}"
        self._next = 0.0

    async def account(self, position: Position | None, *, failing: bool) -> None:
        """Looks, at most once a second unless the sink fails, seldom where that takes long, and does what the limit asks for."""
        urgent = failing or self._reason in self._shard.paused
        began = self._clock.mono()
        if began < self._next and not urgent:
            return
        store, number, name = self._shard.store, self._shard.number, self._sink.name
        if position is None:
            position = await store.position(name, number) or Position()
        behind = await store.backlog(number, position.seq, name)
        self._next = self._clock.mono() + rest_after(self._clock.mono() - began)
        self._metrics.show_pending(name, number, behind.events, behind.oldest)
        if self._limit is not None:
            if self._sink.pauses_polling:
                self._pause(behind.size)
            elif failing and behind.size > self._limit:
                await self._drop(position, behind.size)

    def close(self) -> None:
        """A sink that is gone pauses nothing."""
        self._shard.resume(self._reason)

    def _pause(self, size: int) -> None:
        limit = self._limit or 0
        paused = self._reason in self._shard.paused
        if size > limit and not paused:
            self._shard.pause(self._reason)
            self._log.error(
                "polling pauses",
                detail=f"about {show_size(size)} wait for this sink and max_pending is {show_size(limit)}; nothing is lost: "
                "the vendors still have what is not polled",
            )
        elif size <= limit and paused:
            self._shard.resume(self._reason)
            self._log.info("polling goes on", detail="the sink's backlog is below max_pending again")
        self._metrics.polling_paused["backlog"].set(int(size > limit))

    async def _drop(self, position: Position, size: int) -> None:
        """The oldest segments become dead letters, until the rest fits."""
        limit = self._limit or 0
        store, number, name = self._shard.store, self._shard.number, self._sink.name
        for one in await store.segments_after(number, position.seq, max(_READ, size - limit)):
            if size <= limit:
                return
            dead = self._letters(one)
            async with self._shard.lock:
                await store.delivered(self._shard.held, name, segment.end(one), dead)
            self._metrics.delivery_dead_letters[name, "backlog"].inc(len(dead))
            self._log.error(DROPPED, events=len(dead), up_to=one.last, reason="backlog")
            size -= one.recorded_bytes if one.only is None or name in one.only else 0

    def _letters(self, one: Segment) -> list[DeadEvent]:
        name = self._sink.name
        events = enumerate(segment.unpack(one), one.first)
        return [dropped(self._route, seq, event) for seq, event in events if for_sink(event, name)]


DROPPED = "the oldest events became dead letters"


def letter_of(route: Route[AnySink], seq: int, event: Event, reason: str, error: str) -> DeadEvent:
    """An event that the sink will not get."""
    name, number = route.sink.name, route.shard.number
    return DeadEvent(
        id=dead_id(name, number, seq, event.id), sink=name, shard=number, seq=seq, reason=reason, error=error, event=event,
        at=route.clock.now(),
    )  # fmt: skip


def dropped(route: Route[AnySink], seq: int, event: Event) -> DeadEvent:
    """One of the oldest, when too much waits."""
    size = show_size(route.options.max_pending or 0)
    return letter_of(route, seq, event, "backlog", f"more than max_pending ({size}) waited for the sink")
