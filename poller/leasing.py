"""What a store offers whose shards are worked on by several processes: leases that end by the store's own clock."""

from collections.abc import Collection
from typing import Protocol, runtime_checkable

from msgspec import Struct

from poller.model import Held


class Lease(Struct, frozen=True):
    """Who works on a shard. `left`: seconds by the store's clock, not positive once it has lapsed."""

    shard: int
    owner: str
    epoch: int
    left: float


class Present(Struct, frozen=True):
    """A replica that is there, whether it owns anything or not. `left`: seconds, as long as its leases have."""

    owner: str
    left: float


SWITCHED = "sinks.switched"
"""The meta value that is another one each time somebody has switched a sink."""


class Leases(Struct, frozen=True):
    """All of them at one moment, lapsed ones included: leases by shard, replicas by name.

    And what each replica would else have to ask for every second by itself: `asked`, the shards with errands that nobody has
    answered; `switched`, the value of SWITCHED, None where there is none.
    """

    leases: tuple[Lease, ...] = ()
    replicas: tuple[Present, ...] = ()
    asked: frozenset[int] = frozenset()
    switched: str | None = None


@runtime_checkable
class Leasing(Protocol):
    """Raises StoreFault, StoreRefused.

    Whoever holds a lease counts its seconds from before the call that took or renewed it, so that it ends here before it
    ends there.
    """

    @property
    def lease(self) -> float:
        """Seconds that a lease lasts."""
        ...

    async def claim(self, shard: int, owner: str, seconds: float) -> Held | None:
        """Takes the shard when it is free, lapsed or the owner's already, and raises the epoch; None: somebody else has it."""
        ...

    async def renew(self, owner: str, held: Collection[Held], seconds: float, *, staying: bool) -> frozenset[int]:
        """The shards that are still the owner's, for so many seconds from now; one that lapsed too, if nobody took it.

        In the same statement the owner is seen for as long; not `staying`: it is seen no more, and nobody leaves it a share.
        """
        ...

    async def release(self, owner: str, held: Collection[Held]) -> None:
        """Gives up what is still the owner's: others need not wait for its end."""
        ...

    async def leases(self) -> Leases:
        """Who owns what, and who is there."""
        ...
