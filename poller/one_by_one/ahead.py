"""Pure: the segments of the log that are under way, and how far everything before is settled."""

from collections import deque
from collections.abc import Callable, Iterable

from msgspec import Struct

from poller import segment
from poller.model import Event, Position, Segment

CHUNK = 256
"""Events that are unpacked at a time. What is left of a segment is unpacked again: that costs less than to hold it."""
OPEN = 5_000
"""Events that may be under way or waiting for their segment: what lies behind the position is noted with each commit."""


class Fresh(Struct, frozen=True):
    """An event that has not been tried. `at`: when it was committed."""

    seq: int
    at: float
    event: Event


class _Part(Struct):
    """One segment. `left`: how many of its events are not settled."""

    first: int
    end: Position
    left: int


class Ahead:
    """What is read of the log, from the position on."""

    def __init__(self, position: Position, done: Iterable[int], wants: Callable[[Event], bool], most: int) -> None:
        """`done`: what is settled already behind the position. `most`: bytes of events that are unpacked at a time."""
        self.read_to = position.seq
        """Segments were added up to here."""
        self.fresh: deque[Fresh] = deque()
        self.position = position
        """Up to where everything is settled: a segment's end."""
        self._done = set(done)
        self._behind = max(self._done, default=0)
        self._looked_to = position.seq
        self._wants = wants
        self._most = most
        self._parts: deque[_Part] = deque()
        self._by_seq: dict[int, _Part] = {}
        self._packed: deque[Segment] = deque()
        self._reading: tuple[_Part, Segment, int] | None = None

    @property
    def whole(self) -> bool:
        """Everything that was added has been looked at."""
        return self._reading is None and not self._packed

    @property
    def full(self) -> bool:
        """No further segment for now."""
        return self._reading is None and bool(self._parts) and self._parts[-1].end.seq - self._parts[0].first >= OPEN

    @property
    def again(self) -> bool:
        """What comes next was looked at in an earlier life, in which some of it was settled."""
        return self._looked_to < self._behind

    @property
    def left(self) -> int:
        """How many of those that were added are not settled."""
        return len(self._by_seq) + sum(one.last - one.first + 1 for one in self._packed) - len(self._done)

    def add(self, segments: Iterable[Segment]) -> None:
        """The next ones of the log."""
        self._packed.extend(segments)
        self.read_to = self._packed[-1].last if self._packed else self.read_to

    def _open(self) -> tuple[_Part, Segment, int]:
        one = self._packed.popleft()
        part = _Part(one.first, segment.end(one), one.last - one.first + 1)
        self._parts.append(part)
        self._by_seq |= dict.fromkeys(range(one.first, one.last + 1), part)
        return part, one, 0

    def look(self) -> tuple[list[int], list[Event]]:
        """Unpacks some more: the wanted ones become `fresh`. Returns the numbers that were done already, and what nobody wants.

        Only when not `whole`.
        """
        part, one, begin = self._reading or self._open()
        known, passed, size = list[int](), list[Event](), 0
        events = segment.unpack(one)
        for index in range(begin, len(events)):
            seq, event = one.first + index, events[index]
            if seq in self._done:
                known.append(seq)
            elif not self._wants(event):
                passed.append(event)
            elif self.fresh and (len(self.fresh) >= CHUNK or size + len(event.body) > self._most):
                self._reading = part, one, index
                return known, passed
            else:
                size += len(event.body)
                self.fresh.append(Fresh(seq, one.at, event))
                continue
            self._done.discard(seq)
            self.settle(seq)
        self._reading = None
        self._looked_to = one.last
        if self._done:  # numbers that a healing left out will never come
            self._done = {seq for seq in self._done if seq > one.last}
        return known, passed

    def settle(self, seq: int) -> None:
        """It is delivered, kept, dead or not wanted. One that is behind the position already changes nothing."""
        part = self._by_seq.pop(seq, None)
        if part is not None:
            part.left -= 1
            while self._parts and not self._parts[0].left:
                self.position = self._parts.popleft().end

    def done(self) -> tuple[int, ...]:
        """What is settled behind the position, ascending."""
        found = [seq for part in self._parts for seq in range(part.first, part.end.seq + 1) if seq not in self._by_seq]
        return (*found, *sorted(self._done))
