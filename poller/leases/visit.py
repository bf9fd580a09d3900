"""A command that works on the store while no daemon of this configuration runs: takes what is free for as long as it needs."""

from contextlib import suppress

import anyio

from poller.errors import Lost, PollerError
from poller.leases.replica import RELEASE, unique_name
from poller.leasing import Leasing
from poller.model import Held


class Visit:
    """Nothing is renewed: a command is over soon, and writes of one that takes longer are refused."""

    def __init__(self, leasing: Leasing) -> None:
        self.name = unique_name()
        self._leasing = leasing
        self._held: dict[int, Held] = {}

    async def take(self, shard: int) -> Held:
        """Raises Lost where a replica works on it, StoreFault."""
        held = await self._leasing.claim(shard, self.name, self._leasing.lease)
        if held is None:
            raise Lost(f"a replica works on shard {shard}: run the command where its daemon runs")
        self._held[shard] = held
        return held

    async def end(self) -> None:
        """Gives everything back. Never raises."""
        with anyio.move_on_after(RELEASE, shield=True), suppress(PollerError):
            await self._leasing.release(self.name, list(self._held.values()))


class Visitor:
    """One shard of a visit."""

    def __init__(self, visit: Visit, shard: int) -> None:
        self._visit = visit
        self._shard = shard

    def ours(self) -> bool:
        """The store says it with the next write."""
        return True

    async def take(self) -> Held:
        """Raises Lost, StoreFault."""
        return await self._visit.take(self._shard)
