"""Pure: which shards a replica is to claim and which to give up, so that each has a fair share and few shards move.

Every replica works this out for itself from the same table. Those that look at different moments may both want a shard: the
store gives it to one of them, and the next look mends what that leaves uneven.
"""

from collections import Counter
from collections.abc import Collection, Sequence

from msgspec import Struct

from poller.leasing import Lease


class Plan(Struct, frozen=True):
    """What to do now, by shard number."""

    claim: tuple[int, ...] = ()
    give_up: tuple[int, ...] = ()


def plan(leases: Sequence[Lease], replicas: Collection[str], shards: int, me: str, mine: Sequence[int]) -> Plan:
    """`replicas`: those that are there, `me` among them. `mine`: the shards that I work on, in the order in which I took them.

    What the table calls mine and I do not work on is claimed again: the answer to an earlier claim was lost.
    """
    owners = {lease.shard: lease.owner for lease in leases if lease.left > 0}
    lost = [shard for shard, owner in sorted(owners.items()) if owner == me and shard not in mine]
    counts = Counter(dict.fromkeys(replicas, 0))
    counts.update(owner for owner in owners.values() if owner in counts)
    if lost:
        return Plan(tuple(lost))
    excess = counts[me] - _targets(counts, shards)[me]
    if excess > 0:
        # The latest ones: after a rolling update they go back to whom they came from, and the others have not moved.
        return Plan((), tuple(mine[-excess:]))
    free = [shard for shard in range(shards) if shard not in owners]
    return Plan(tuple(_shared(free, counts)[me]))


def _targets(counts: Counter[str], shards: int) -> dict[str, int]:
    """Where the shards do not divide, those that have the most keep one more: nobody gives up more than is needed."""
    least, more = divmod(shards, len(counts))
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    return {name: least + (rank < more) for rank, name in enumerate(ranked)}


def _shared(free: Sequence[int], counts: Counter[str]) -> dict[str, list[int]]:
    """Each free shard goes to whoever has the least by then."""
    found: dict[str, list[int]] = {name: [] for name in counts}
    for shard in free:
        poorest = min(counts, key=lambda name: (counts[name] + len(found[name]), name))
        found[poorest].append(shard)
    return found
