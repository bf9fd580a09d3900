"""An honest table of leases in memory, with a clock of its own, and the epochs that writes are compared with."""

import copy
from collections.abc import Callable, Collection
from typing import Any

from poller.errors import Outdated, PollerError, StoreFault
from poller.leasing import Lease, Leases, Present
from poller.model import Held, Position


class LeaseTable:
    """Implements poller.leasing.Leasing for all replicas that share it. `now`: the database's clock."""

    def __init__(self, now: Callable[[], float], lease: float = 15.0) -> None:
        self.lease = lease
        self.now = now
        self.away = False
        self.fault: type[PollerError] = StoreFault
        """What a call raises while it is away."""
        self.refusing = False
        """Claims fail, all else goes on."""
        self.epochs: dict[int, tuple[int, int]] = {}
        """Epoch and mark of each shard; marks never come twice, whatever copy of the database goes on."""
        self.rows: dict[int, tuple[str, int, float]] = {}
        self.there: dict[str, float] = {}
        self.asked: frozenset[int] = frozenset()
        self.switched: str | None = None
        self.calls = 0
        self._marks = iter(range(1, 1 << 30))

    async def claim(self, shard: int, owner: str, seconds: float) -> Held | None:
        self._called()
        if self.refusing:
            raise StoreFault("clash")
        return self.claimed(shard, owner, seconds)

    async def renew(self, owner: str, held: Collection[Held], seconds: float, *, staying: bool) -> frozenset[int]:
        self._called()
        return self.renewed(owner, held, seconds, staying=staying)

    async def release(self, owner: str, held: Collection[Held]) -> None:
        self._called()
        self.released(owner, held)

    async def leases(self) -> Leases:
        self._called()
        return self.table()

    def _called(self) -> None:
        self.calls += 1
        if self.away:
            raise self.fault("the database is away")

    # --- what the database does, at one moment -----------------------------------------------------------------------

    def claimed(self, shard: int, owner: str, seconds: float) -> Held | None:
        has, _, until = self.rows.get(shard, ("", 0, 0.0))
        if has not in {"", owner} and until > self.now():
            return None
        epoch = self.epochs.get(shard, (0, 0))[0] + 1
        self.epochs[shard] = (epoch, next(self._marks))
        self.rows[shard] = (owner, epoch, self.now() + seconds)
        return Held(shard, epoch, Position())

    def renewed(self, owner: str, held: Collection[Held], seconds: float, *, staying: bool) -> frozenset[int]:
        self.there.pop(owner, None)
        if staying:
            self.there[owner] = self.now() + seconds
        kept = {one.shard for one in held if self.rows.get(one.shard, ("", 0))[:2] == (owner, one.epoch)}
        for shard in kept:
            self.rows[shard] = (*self.rows[shard][:2], self.now() + seconds)
        return frozenset(kept)

    def released(self, owner: str, held: Collection[Held]) -> None:
        for one in held:
            if self.rows.get(one.shard, ("", 0))[:2] == (owner, one.epoch):
                del self.rows[one.shard]

    def table(self) -> Leases:
        now = self.now()
        leases = [Lease(shard, owner, epoch, until - now) for shard, (owner, epoch, until) in sorted(self.rows.items())]
        there = tuple(Present(name, until - now) for name, until in sorted(self.there.items()))
        return Leases(tuple(leases), there, self.asked, self.switched)

    def mark(self, shard: int) -> int:
        """Of the newest claim; a writer remembers the one of its own."""
        return self.epochs[shard][1]

    def write(self, held: Held, mark: int) -> None:
        """A write for a shard, compared as the stores do. Raises Outdated."""
        if self.epochs.get(held.shard) != (held.epoch, mark):
            raise Outdated("another epoch")

    # --- another primary ---------------------------------------------------------------------------------------------

    def backup(self) -> Any:
        return copy.deepcopy((self.epochs, self.rows, self.there))

    def restore(self, backup: Any) -> None:
        """Failover to a standby that had only come so far."""
        self.epochs, self.rows, self.there = copy.deepcopy(backup)
