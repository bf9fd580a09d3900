"""What waits for a sink, and whether it has room for events that somebody wants it to get again, beside those that wait anyway."""

from collections.abc import Collection, Iterable

from msgspec import Struct

from poller.kept import Place
from poller.model import Position
from poller.protocols import Store
from poller.replay import has_room
from poller.shard import Shard


class Waits(Struct):
    """What waits for one sink, in one shard or in several."""

    log: int = 0
    """Events of the log, those not included that are kept to be tried again."""
    kept: int = 0
    size: int = 0
    """Bytes of both, about: those that are delivered before others are taken off by their number."""
    oldest: float | None = None
    """When the oldest of all was committed."""
    next: tuple[float, int, int] | None = None
    """Of what is kept: when the first one is due, its shard and number."""

    @property
    def events(self) -> int:
        """Of the log and kept."""
        return self.log + self.kept

    def add(self, other: "Waits") -> None:
        """What waits in another shard."""
        self.log += other.log
        self.kept += other.kept
        self.size += other.size
        self.oldest = min((at for at in (self.oldest, other.oldest) if at is not None), default=None)
        self.next = min((due for due in (self.next, other.next) if due is not None), default=None)


async def waiting(store: Store, shards: Iterable[int], sink: str) -> Waits:
    """As the store has it. Shards in which the sink has no place yet do not count. Raises StoreFault."""
    found = Waits()
    for shard in shards:
        position = await store.position(sink, shard)
        if position is not None:
            places, done = await store.places(sink, shard), await store.done(sink, shard)
            found.add(await waiting_in(store, shard, sink, position, len(done), places))
    return found


async def waiting_in(
    store: Store, shard: int, sink: str, position: Position, done: int, places: Collection[Place]
) -> Waits:
    """In one shard. `done`: how many events behind the position are settled or kept; `places`: what is kept. Raises StoreFault."""
    behind = await store.backlog(shard, position.seq, sink)
    oldest, first = behind.oldest, min((place.seq for place in places), default=position.seq + 1)
    if first <= position.seq:
        oldest = (await store.backlog(shard, first - 1, sink)).oldest
    left = max(0, behind.events - done)
    size = behind.size * left // max(1, behind.events) + sum(place.size for place in places)
    due = min(((place.due, shard, place.seq) for place in places if place.due is not None), default=None)
    return Waits(left, len(places), size, oldest, due)


async def too_many(store: Store, shards: Iterable[Shard], sink: str, limit: int | None) -> int:
    """How many events wait for a sink, where that is so many that more have to wait; 0: there is room. `limit`: its `max_pending`."""
    waits = await waiting(store, (shard.number for shard in shards), sink)
    return 0 if has_room(waits.events, waits.size, limit) else max(1, waits.events)
