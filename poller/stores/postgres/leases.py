"""Who works on which shard. A lease ends by the database's clock; the epoch that it brings is what every write carries.

A lease spares work, the epoch keeps order: an owner that was stopped and wakes up may believe in its lease, but the next one
has raised the epoch, and every write of the old one is Outdated.
"""

from collections.abc import Collection
from typing import Protocol

from msgspec import Struct

from poller.model import Held
from poller.stores.postgres.database import Database, fetch
from poller.stores.postgres.pool import Session
from poller.stores.postgres.values import array


class Lease(Struct, frozen=True):
    """One row, for `status`. `left`: seconds by the database's clock, negative once it has lapsed."""

    shard: int
    owner: str
    epoch: int
    left: float


class Leasing(Protocol):
    """What a store offers whose shards are worked on by several processes. Raises StoreFault, StoreRefused.

    Whoever holds a lease counts its seconds from before the call that took or renewed it, so that it ends here before it
    ends there.
    """

    async def claim(self, shard: int, owner: str, seconds: float) -> Held | None:
        """Takes the shard when it is free, lapsed or the owner's already, and raises the epoch; None: somebody else has it."""
        ...

    async def renew(self, owner: str, held: Collection[Held], seconds: float) -> frozenset[int]:
        """The shards that are still the owner's, for so many seconds from now; one that lapsed too, if nobody took it."""
        ...

    async def release(self, owner: str, held: Collection[Held]) -> None:
        """Gives up what is still the owner's: others need not wait for its end."""
        ...

    async def leases(self) -> list[Lease]:
        """All of them, lapsed ones included, by shard."""
        ...


async def claim(database: Database, shard: int, owner: str, seconds: float) -> Held | None:
    """The shard's row is locked last, so it waits for a write of the earlier owner and ends before the next one."""

    async def work(session: Session) -> Held | None:
        async with session.transaction() as connection:
            bound = {"shard": shard, "owner": owner, "seconds": seconds}
            if not await fetch(connection, "take_lease", bound):
                return None
            (row,) = await fetch(connection, "hold", bound)
            await fetch(connection, "mark_lease", bound | {"epoch": row[0]})
        return database.believe(shard, row)

    return await database.call(work)


async def renew(database: Database, owner: str, held: Collection[Held], seconds: float) -> frozenset[int]:
    """One statement, one round trip."""
    rows = await database.rows("renew_leases", owner=owner, seconds=seconds, **_places(held))
    return frozenset(shard for (shard,) in rows)


async def release(database: Database, owner: str, held: Collection[Held]) -> None:
    """The rows go; the epochs stay with the shards."""
    await database.rows("release_leases", owner=owner, **_places(held))


async def leases(database: Database) -> list[Lease]:
    """By shard."""
    return [Lease(*row) for row in await database.rows("leases")]


def _places(held: Collection[Held]) -> dict[str, str]:
    return {"shards": array([one.shard for one in held]), "epochs": array([one.epoch for one in held])}
