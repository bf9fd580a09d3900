"""How the shards stand, and the endpoints that this process does not read: as the store has it."""

from collections.abc import Mapping

from poller import checkpoint as checkpoints
from poller.app_parts import App
from poller.checkpoint import Step
from poller.crosscheck import endpoints_of, source_id
from poller.housekeeping import missed_turns
from poller.identity import shard_of
from poller.kinds import kind_of, load_source_kind
from poller.leases.alone import Alone
from poller.leasing import Leases
from poller.model import CheckpointKey, Position
from poller.operations import EndpointStatus, ShardStatus
from poller.options import EndpointOptions, SourceOptions
from poller.track import least_claims


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


def endpoints(app: App, stored: Mapping[CheckpointKey, bytes]) -> list[EndpointStatus]:
    """The configured ones that this process does not read. What went wrong last is known where they are read."""
    here = {track.setup.name for track in app.tracks}
    return [
        _endpoint(name, options, key, stored, now=app.clock.now())
        for name, options in app.settings.sources.items()
        if name not in here
        for key in endpoints_of(options)
    ]


def _endpoint(
    name: str, options: SourceOptions, key: str, stored: Mapping[CheckpointKey, bytes], *, now: float
) -> EndpointStatus:
    endpoint = load_source_kind(kind_of(options)).build(name, options).endpoints[key]
    own: EndpointOptions = endpoints_of(options)[key]
    ladder = [Step(int(rung.back), int(rung.period)) for rung in own.ladder]
    keys = [CheckpointKey(source_id(name, options), endpoint.name, ask.key) for ask in endpoint.asks]
    known = [checkpoints.load(stored[one], ladder) if one in stored else None for one in keys]
    read, complete = least_claims(known)
    found = [one for one in known if one is not None]
    return EndpointStatus(
        source=name,
        endpoint=endpoint.name,
        read_until=read,
        complete_until=complete,
        open_gaps=sum(len(one.gaps) for one in found),
        overdue_rungs=sum(missed_turns(one, ladder, own, endpoint.limits, now) for one in found),
    )
