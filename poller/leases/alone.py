"""A store that one process has to itself: each shard is that process's for ever, so it needs no leases."""

import math
from collections.abc import Collection

from poller.leasing import Leases, Leasing
from poller.model import Held
from poller.protocols import Store


class Alone:
    """The store's own lock keeps others out."""

    lease = math.inf

    def __init__(self, store: Store) -> None:
        self._store = store

    async def claim(self, shard: int, owner: str, seconds: float) -> Held | None:  # noqa: ARG002 there is nobody else
        """Never None."""
        return await self._store.hold(shard)

    async def renew(self, owner: str, held: Collection[Held], seconds: float, *, staying: bool) -> frozenset[int]:  # noqa: ARG002 as above
        """All of them."""
        return frozenset(one.shard for one in held)

    async def release(self, owner: str, held: Collection[Held]) -> None:
        """Nobody waits for it."""

    async def leases(self) -> Leases:
        """None."""
        return Leases()


def leasing_of(store: Store) -> Leasing:
    """The store's own leases, where it has any."""
    return store if isinstance(store, Leasing) else Alone(store)
