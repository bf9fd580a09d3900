"""What the store in memory holds."""

from collections.abc import Iterable
from itertools import chain

from poller.kept import LetterHead, Retry, Which, head_of
from poller.model import CheckpointKey, DeadEvent, DeadRecord, Position, SeenKey, Segment

_ANY = Which()


class Contents:
    """Everything that a copy copies."""

    def __init__(self) -> None:
        self.seen: dict[int, dict[bytes, dict[bytes, int]]] = {}
        self.log: dict[int, list[Segment]] = {}
        self.epochs: dict[int, int] = {}
        self.lasts: dict[int, Position] = {}
        self.checkpoints: dict[CheckpointKey, bytes] = {}
        self.positions: dict[tuple[str, int], Position] = {}
        self.done: dict[tuple[str, int], tuple[int, ...]] = {}
        self.retries: dict[tuple[str, int], dict[int, Retry]] = {}
        self.dead_records: dict[str, DeadRecord] = {}
        self.dead_events: dict[str, DeadEvent] = {}
        self.meta: dict[str, str | None] = {}

    def states(self, key: SeenKey) -> dict[int, dict[bytes, int]]:
        """The states of the id by day, with the seq of each: its day, the day before and the day after."""
        days = (key.day - 1, key.day, key.day + 1)
        return {day: found for day in days if (found := self.seen.get(day, {}).get(key.id))}

    def remember(self, seen: Iterable[tuple[SeenKey, int]]) -> None:
        """What is known keeps its seq."""
        for key, seq in seen:
            self.seen.setdefault(key.day, {}).setdefault(key.id, {}).setdefault(key.state, seq)

    def heads(self, which: Which = _ANY) -> list[LetterHead]:
        """Dead letters by time and id."""
        letters: Iterable[DeadRecord | DeadEvent] = chain(self.dead_records.values(), self.dead_events.values())
        heads = [head_of(one) for one in letters]
        fitting = [head for head in heads if which.fits(head.sink, head.source, head.reason)]
        return sorted(fitting, key=lambda head: (head.at, head.id))

    def drop(self, ids: Iterable[str]) -> None:
        """Dead letters that are over."""
        for letter in ids:
            self.dead_records.pop(letter, None)
            self.dead_events.pop(letter, None)

    def count(self) -> int:
        """Rows of `seen`."""
        return sum(len(states) for ids in self.seen.values() for states in ids.values())
