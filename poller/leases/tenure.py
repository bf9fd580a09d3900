"""Pure: until when each shard is ours, as this process may believe. No clock: every instant is an argument.

Instants are seconds of a clock that goes on while the machine sleeps, and that nobody sets.
"""

from collections.abc import Collection, Iterator

from poller.model import Held

KEPT = 0.8
"""Part of a lease after which it counts as over here: what is left is the time to let go before it ends in the store."""


class Tenure:
    """One shard, from the claim that took it until it is ours no more."""

    def __init__(self, held: Held, until: float) -> None:
        self.held = held
        """As it was claimed; what is committed moves it on elsewhere, the epoch is what counts here."""
        self.until = until
        self.over = False

    def ours(self, now: float) -> bool:
        """Whether anything may be done for it."""
        return not self.over and now < self.until


class Tenures:
    """All shards of this process, in the order in which they were taken."""

    def __init__(self, lease: float) -> None:
        """`lease`: seconds."""
        self._lasts = lease * KEPT
        self._by_shard: dict[int, Tenure] = {}

    def __iter__(self) -> Iterator[int]:
        return iter(self._by_shard)

    def __len__(self) -> int:
        return len(self._by_shard)

    def of(self, shard: int) -> Tenure | None:
        """None: it is not ours."""
        return self._by_shard.get(shard)

    def claimed(self, held: Held, asked: float, now: float) -> Tenure | None:
        """A claim that was asked for at `asked` has succeeded; None: the answer came so late that it may be over."""
        if asked + self._lasts <= now:
            return None
        known = self._by_shard.get(held.shard)
        if known is not None:  # claimed anew, since the store was not as believed
            known.held, known.until = held, asked + self._lasts
            return known
        tenure = self._by_shard[held.shard] = Tenure(held, asked + self._lasts)
        return tenure

    def asking(self) -> tuple[Held, ...]:
        """What a renewal asks for."""
        return tuple(tenure.held for tenure in self._by_shard.values() if not tenure.over)

    def renewed(self, asked: float, held: Collection[Held], kept: Collection[int]) -> list[int]:
        """What a renewal of `held` that was asked for at `asked` has brought. Returns the shards that are lost."""
        lost = []
        for one in held:
            tenure = self._by_shard.get(one.shard)
            if tenure is None or tenure.over or tenure.held.epoch != one.epoch:
                continue  # claimed anew meanwhile: this answer says nothing about that
            if one.shard in kept:
                tenure.until = max(tenure.until, asked + self._lasts)
            else:
                tenure.over = True
                lost.append(one.shard)
        return lost

    def lose(self, shard: int) -> None:
        """Somebody else has it."""
        if tenure := self._by_shard.get(shard):
            tenure.over = True

    def lapsed(self, now: float) -> list[int]:
        """What could not be renewed in time, or ended while this process was stopped. It is over from here on."""
        found = [shard for shard, one in self._by_shard.items() if not one.over and one.until <= now]
        for shard in found:
            self._by_shard[shard].over = True
        return found

    def forget(self, shard: int) -> None:
        """Nothing is done for it any more."""
        self._by_shard.pop(shard, None)
