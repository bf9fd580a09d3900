"""The place of a sink in the log, and what goes over to it from its earlier name."""

from msgspec import structs

from poller.each import EachSink
from poller.health import meta_name
from poller.kept import Attempted
from poller.model import Position
from poller.one_by_one.switch import switch_name
from poller.place import first_place
from poller.route import Route

_AT_ONCE = 100
"""Retries that are handed over in one transaction."""


async def fix_place(route: Route[EachSink]) -> None:
    """Gives a sink that takes events one by one its position, before any event is committed that it must not miss.

    With `renamed_from` everything goes over: position, what is done behind it, what is to be tried again, and the health. What
    the store has under the old name stays until it is forgotten by hand. Raises StoreFault or Outdated.
    """
    shard, name = route.shard, route.sink.name
    store, mark = shard.store, f"sink.{name}.{shard.number}.takes_over"
    there, unfinished = await store.position(name, shard.number), await store.get_meta(mark)
    if there is not None and unfinished is None:
        return
    old = unfinished or route.options.renamed_from
    left = await store.position(old, shard.number) if old else None
    if old and left is not None:
        await store.put_meta(mark, old)
        await _take_over(route, old, left)
        await store.put_meta(mark, None)
    else:
        place = there or await first_place(route)
        async with shard.lock:
            await store.attempted(shard.held, name, Attempted(position=place))


async def _take_over(route: Route[EachSink], old: str, position: Position) -> None:
    """A crash in between finds the mark, and all of it is done again: nothing was sent under the new name before."""
    shard, name = route.shard, route.sink.name
    store, number = shard.store, shard.number
    for fact in (meta_name, switch_name):
        if await store.get_meta(fact(name)) is None:
            await store.put_meta(fact(name), await store.get_meta(fact(old)))
    done = await store.done(old, number)
    seqs = [place.seq for place in await store.places(old, number)]
    for begin in range(0, max(len(seqs), 1), _AT_ONCE):
        kept = await store.retries(old, number, seqs[begin : begin + _AT_ONCE])
        later = [structs.replace(retry, sink=name) for retry in kept]
        async with shard.lock:
            await store.attempted(shard.held, name, Attempted(position=position, done=done, later=later))
