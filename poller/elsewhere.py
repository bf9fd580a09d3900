"""How the shards stand, and the endpoints that this process does not read: as the store has it."""

from collections.abc import Mapping

from poller.app_parts import App
from poller.crosscheck import source_id
from poller.identity import shard_of
from poller.leases.alone import Alone
from poller.leasing import Leases
from poller.model import Position
from poller.operations import ShardStatus


async def shards(app: App) -> tuple[list[ShardStatus], list[str]]:
    """All shards by number, and the names of the replicas that are there; empty where one process has the store to itself."""
    if isinstance(app.leasing, Alone):
        return [], []
    table, positions = await app.leasing.leases(), await app.store.positions()
    sources: dict[int, list[str]] = {}
    for name, options in app.settings.sources.items():
        sources.setdefault(shard_of(source_id(name, options), app.store.shards), []).append(name)
    found = []
    for shard in app.shards:
        pending = {}
        for sink in app.sinks:
            place = positions.get((sink, shard.number), Position())
            pending[sink] = (await app.store.backlog(shard.number, place.seq, sink)).events
        found.append(_shard(shard.number, table, here=shard.held.epoch > 0, sources=sources, pending=pending))
    return found, [one.owner for one in table.replicas if one.left > 0]


def _shard(
    number: int, table: Leases, *, here: bool, sources: Mapping[int, list[str]], pending: dict[str, int]
) -> ShardStatus:
    lease = next((one for one in table.leases if one.shard == number), None)
    return ShardStatus(
        shard=number,
        owner=lease.owner if lease is not None and lease.left > 0 else None,
        epoch=lease.epoch if lease is not None else None,
        lease_left=round(lease.left, 3) if lease is not None else None,
        here=here,
        sources=sources.get(number, []),
        pending=pending,
    )


async def owners(app: App) -> dict[str, list[int]]:
    """The shards that others work on, by the name of the replica; "" for those that nobody works on now. Raises StoreFault."""
    if isinstance(app.leasing, Alone):
        return {}
    owned = {lease.shard: lease.owner for lease in (await app.leasing.leases()).leases if lease.left > 0}
    found: dict[str, list[int]] = {}
    for shard in app.shards:
        if not shard.ours:
            found.setdefault(owned.get(shard.number, ""), []).append(shard.number)
    return found
