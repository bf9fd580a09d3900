"""A new store begins in a sink that keeps progress: the old sender is fenced, its progress compared, and each shard's noted."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from poller.errors import StoreRefused
from poller.log import get_logger
from poller.model import Position
from poller.moving.frames import Header, SinkState
from poller.offers import Widening
from poller.protocols import Lane, Sink, Store


def check_sinks(header: Header, sinks: Mapping[str, Sink]) -> None:
    """`sinks`: those of the new configuration that keep progress. Raises StoreRefused."""
    lacking = sorted(one.name for one in header.sinks if one.identity is not None and one.name not in sinks)
    if lacking:
        raise StoreRefused(
            f"what was published to {', '.join(lacking)} shows in the progress that the sink keeps, and the configuration has no "
            "such sink under this name: configure it as it was, and rename, remove or change it after the move"
        )


async def widen(header: Header, sinks: Mapping[str, Sink]) -> None:
    """Only once the store is marked: a daemon on an empty store with more shards is to find no room. Raises SinkRefused, SinkFault."""
    for one in header.sinks:
        sink: object = sinks.get(one.name)
        if one.identity is not None and isinstance(sink, Widening):
            await sink.widen()


async def begin_in(
    store: Store,
    header: Header,
    was: SinkState,
    sink: Sink,
    begins: Sequence[Position],
    renew: Callable[[], Awaitable[None]],
) -> None:
    """`renew`: called between two shards. The old sender first: from then on whoever uses its name finds progress that is not its own."""
    old = was.identity or ""
    lane = await sink.lane(0, old)
    try:
        _compare(header, was, lane, begins[0])
        own = sink.identity(0)
        await lane.note(begins[0], moved=own if old != own else None)
    finally:
        await lane.close()
    for shard, begin in enumerate(begins):
        await renew()
        if shard or old != sink.identity(0):
            await _note(header, sink, shard, begin)
        await store.put_meta(f"sink.{sink.name}.{shard}", sink.identity(shard))


def _compare(header: Header, was: SinkState, lane: Lane, begin: Position) -> None:
    found = lane.progress
    if found is None:
        if was.position.seq:
            get_logger().error(
                "progress is gone",
                sink=was.name,
                detail="going on from the position that the export names, as settled then",
            )
    elif found.position not in (was.position, begin):
        raise StoreRefused(_published(was.name, header))


async def _note(header: Header, sink: Sink, shard: int, begin: Position) -> None:
    """What was there before the export is left from an earlier life, and is not believed."""
    lane = await sink.lane(shard)
    try:
        found = lane.progress
        if found is not None and found.position != begin and found.at > header.at:
            raise StoreRefused(_published(sink.name, header))
        await lane.note(begin)
    finally:
        await lane.close()


def _published(sink: str, header: Header) -> str:
    return (
        f"sink {sink}: something was published under its name since the export {header.id} was made, by a daemon that still runs "
        "or by an earlier import: end that daemon, and export its store anew"
    )
