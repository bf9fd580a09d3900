"""Whether a sink has room for events that somebody wants it to get again, beside those that wait for it anyway."""

from collections.abc import Iterable

from poller.protocols import Store
from poller.replay import has_room
from poller.shard import Shard


async def too_many(store: Store, shards: Iterable[Shard], sink: str, limit: int | None) -> int:
    """How many events wait for a sink, where that is so many that more have to wait; 0: there is room. `limit`: its `max_pending`."""
    events = size = 0
    for shard in shards:
        kept = await store.places(sink, shard.number)
        events += len(kept)
        size += sum(place.size for place in kept)
        position = await store.position(sink, shard.number)
        if position is not None:
            behind = await store.backlog(shard.number, position.seq, sink)
            left = max(0, behind.events - len(await store.done(sink, shard.number)))
            events += left
            size += behind.size * left // max(1, behind.events)
    return 0 if has_room(events, size, limit) else max(1, events)
