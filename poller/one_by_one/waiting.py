"""Pure: what is kept to be tried again, by its places alone, and whose turn it is where a key's events go in order."""

import heapq
from bisect import insort
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet

from msgspec import structs

from poller.kept import Place

MOST = 10_000
"""Places in memory; at that number nothing new is read from the log."""


_SPARE = 1_000


class Waiting:
    """The places of one sink and shard. One that is taken stays away from `soonest` until it is put back or dropped."""

    def __init__(self, *, ordered: bool) -> None:
        self.bytes = 0
        self._ordered = ordered
        self._places: dict[int, Place] = {}
        self._heap: list[tuple[float, int]] = []
        self._taken: set[int] = set()
        self._keys: dict[str, list[int]] = {}
        """Per key the numbers of what is neither delivered nor dead, ascending; the first one has its turn."""

    def load(self, places: Iterable[Place], *, now: float, longest: float, position: int) -> None:
        """What the store has. A wait longer than `longest` was written by another clock.

        One that waits behind nothing is due: its turn came as the process ended. Behind `position` that can be known only
        when the log has been read so far: then `passed` is told.
        """
        for place in places:
            first = self.join(place.key, place.seq)
            self._add(place if first else structs.replace(place, due=None))
            if place.due is not None and first:
                self.set_due(place.seq, min(place.due, now + longest))
            elif first and (place.seq <= position or not self._ordered):
                self.set_due(place.seq, now)

    def passed(self, seq: int, now: float) -> None:
        """The log has been read up to here, and this one is kept."""
        place = self._places.get(seq)
        if place is None or place.due is not None or seq in self._taken:  # taken: it is over, and left its line
            return
        if self.has_turn(place.key, seq):
            self.set_due(seq, now)

    # --- places ------------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._places)

    def oldest(self, count: int) -> list[Place]:
        """Those of the lowest numbers that are not taken."""
        return [self._places[seq] for seq in heapq.nsmallest(count, self._places.keys() - self._taken)]

    @property
    def places(self) -> Collection[Place]:
        """All of them, in no order."""
        return self._places.values()

    @property
    def seqs(self) -> AbstractSet[int]:
        """All numbers, of those that are taken too."""
        return self._places.keys()

    def get(self, seq: int) -> Place | None:
        """None where it is not kept."""
        return self._places.get(seq)

    def soonest(self, latest: float) -> Place | None:
        """What is due first, whenever that is. Nothing is due after `latest`: such an instant was written by another clock."""
        while self._heap and self._stale(*self._heap[0]):
            heapq.heappop(self._heap)
        if not self._heap:
            return None
        due, seq = self._heap[0]
        if due > latest:
            self.set_due(seq, latest)
        return self._places[seq]

    def next(self, count: int) -> list[Place]:
        """The first ones by due time."""
        found = heapq.nsmallest(count, {one for one in self._heap if not self._stale(*one)})
        return [self._places[seq] for _, seq in found]

    def take(self, seq: int) -> None:
        """It is being tried, or about to be over."""
        self._taken.add(seq)

    def put(self, place: Place) -> None:
        """It is kept in the store now."""
        self.drop(place.seq)
        self._add(place)
        if place.due is not None:
            self.set_due(place.seq, place.due)

    def drop(self, seq: int) -> None:
        """It is over."""
        self._taken.discard(seq)
        place = self._places.pop(seq, None)
        self.bytes -= place.size if place is not None else 0

    def set_due(self, seq: int, due: float) -> None:
        """It is due then, if it is here at all."""
        place = self._places.get(seq)
        if place is None:
            return
        self._places[seq] = structs.replace(place, due=due)
        if seq not in self._taken:
            heapq.heappush(self._heap, (due, seq))
        if len(self._heap) > 2 * len(self._places) + _SPARE:  # what was due late and is due earlier now leaves an entry
            self._heap = list({one for one in self._heap if not self._stale(*one)})
            heapq.heapify(self._heap)

    def set_back(self, seconds: float) -> None:
        """Our clock was: what is to be waited stays as long as it was. The store keeps the dues of the other clock."""
        self._places = {
            seq: place if place.due is None else structs.replace(place, due=place.due - seconds)
            for seq, place in self._places.items()
        }
        self._heap = [(due - seconds, seq) for due, seq in self._heap]  # in the same order

    def _add(self, place: Place) -> None:
        self._places[place.seq] = place
        self.bytes += place.size

    def _stale(self, due: float, seq: int) -> bool:
        place = self._places.get(seq)
        return place is None or place.due != due or seq in self._taken

    # --- turns -------------------------------------------------------------------------------------------------------------

    def has_turn(self, key: str, seq: int) -> bool:
        """Whether nothing of its key has to be settled before."""
        return not self._ordered or self._keys[key][0] == seq

    def join(self, key: str, seq: int) -> bool:
        """An event gets into its key's line; whether it has its turn at once. Called for all that are read, in any order."""
        if not self._ordered:
            return True
        insort(self._keys.setdefault(key, []), seq)
        return self.has_turn(key, seq)

    def leave(self, key: str, seq: int) -> int | None:
        """It is delivered or dead; the number of the one whose turn comes by that."""
        line = self._keys.get(key)
        if line is None or seq not in line:
            return None
        first = line[0] == seq
        line.remove(seq)
        if not line:
            del self._keys[key]
            return None
        return line[0] if first else None
