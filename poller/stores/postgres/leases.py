"""Who works on which shard. A lease ends by the database's clock; the epoch that it brings is what every write carries.

A lease spares work, the epoch keeps order: an owner that was stopped and wakes up may believe in its lease, but the next one
has raised the epoch, and every write of the old one is Outdated.
"""

from collections import defaultdict
from collections.abc import Collection

from poller.leasing import SWITCHED, Lease, Leases, Present
from poller.model import Held
from poller.stores.postgres.database import Database, Row, fetch
from poller.stores.postgres.pool import Session
from poller.stores.postgres.values import array


async def claim(database: Database, shard: int, owner: str, seconds: float) -> Held | None:
    """Waits for a write of the earlier owner, and only then for the lease: the earlier owner's renewals wait for neither.

    A write that began under a lease that is over is ended.
    """

    async def work(session: Session) -> Held | None:
        async with session.transaction() as connection:
            bound = {"shard": shard, "owner": owner, "seconds": seconds}
            if await fetch(connection, "somebody_has", bound):
                return None
            await fetch(connection, "end_stopped", bound)
            await fetch(connection, "read_shard", bound)
            if not await fetch(connection, "take_lease", bound):
                return None
            (row,) = await fetch(connection, "hold", bound)
            await fetch(connection, "mark_lease", bound | {"epoch": row[0]})
        return database.believe(shard, row)

    return await database.call(work)


async def renew(
    database: Database, owner: str, held: Collection[Held], seconds: float, *, staying: bool
) -> frozenset[int]:
    """One statement, one round trip."""
    rows = await database.rows("renew_leases", owner=owner, seconds=seconds, staying=staying, **_places(held))
    return frozenset(shard for (shard,) in rows)


async def release(database: Database, owner: str, held: Collection[Held]) -> None:
    """The rows go; the epochs stay with the shards."""
    await database.rows("release_leases", owner=owner, **_places(held))


async def leases(database: Database) -> Leases:
    """By shard and by name."""
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for kind, *row in await database.rows("leases", switched=SWITCHED):
        found[kind].append(tuple(row))
    return Leases(
        tuple([Lease(*row) for row in found["lease"]]),
        tuple([Present(name, left) for _, name, _, left in found["replica"]]),
        frozenset(row[0] for row in found["asked"]),
        next((row[1] for row in found["switched"]), None),
    )


def _places(held: Collection[Held]) -> dict[str, str]:
    return {"shards": array([one.shard for one in held]), "epochs": array([one.epoch for one in held])}
