"""Where in the log a sink begins that has no position yet."""

from poller.model import Position
from poller.route import AnySink, Route
from poller.shard import Shard

_READ = 8 << 20


async def first_place(route: Route[AnySink]) -> Position:
    """`start_from` as a place in the log, because there is none under the sink's name nor under its earlier one. Raises StoreFault."""
    shard, start = route.shard, route.options.start_from
    if route.options.renamed_from is not None:
        route.log.warning(
            "nothing to take over",
            renamed_from=route.options.renamed_from,
            detail="the store knows no sink of that name, so this one begins where start_from says. `poller sinks list` shows those it knows",
        )
    if start == "earliest":
        return Position()
    if start == 0:
        return shard.held.last
    return await _since(shard, start if start > 0 else route.clock.now() + start)


async def _since(shard: Shard, at: float) -> Position:
    position = Position()
    while segments := await shard.store.segments_after(shard.number, position.seq, _READ):
        for segment in segments:
            if segment.at >= at:
                return position
            position = Position(segment.last, segment.chain)
    return position
