"""Pure: all that a delivery one by one has in memory, between two times of believing the store."""

import anyio
from anyio.abc import TaskGroup

from poller.each import EachSink
from poller.kept import Attempted, Place, Retry
from poller.model import DeadEvent, Position
from poller.one_by_one.ahead import Ahead
from poller.one_by_one.notes import Notes
from poller.one_by_one.waiting import Waiting


class Line:
    """What is read ahead, what waits, and what has come of attempts since the last commit."""

    def __init__(
        self, generation: int, sink: EachSink, ahead: Ahead, waiting: Waiting, written: tuple[Position, tuple[int, ...]]
    ) -> None:
        """`written`: position and what is done behind it, as the store has them."""
        self.generation = generation
        self.ahead = ahead
        self.waiting = waiting
        self.notes = Notes(sink.pace.in_flight)
        self.batch: Attempted | None = None
        """Is being committed, until that is known to have worked."""
        self.written = written
        self.keeps = len(waiting) > 0
        """Something is, or was, in the store that the log alone could not give back."""
        self.loaded: dict[int, Retry] = {}
        """The bytes of what is due next."""
        self.failed: set[int] = set()
        """What failed since the sink last worked."""
        self.early: dict[int, float] = {}
        """What is due because the sink is back: when it would have been by its own schedule, which that uses up nothing of."""
        self.set_back = 0.0
        """As the gate counts it; so are the next two."""
        self.recovered = 0
        self.released = 0
        """The recovery of which all that it made due is in the store."""
        self.attempts: TaskGroup
        """In which attempts run; they end with it."""
        self.running = 0
        self.over = anyio.Event()
        """The store is not as this believes: nothing more is written."""
        self.stuck = False
        """Outcomes cannot be committed: nothing more is tried."""
        self.looked = -1
        """The log's last number when there was last nothing to do before `rests`."""
        self.rests = 0.0
        self.ended = -1
        """The log's last number when it was read to its end."""
        self._batched = 0
        self._pace = sink.pace

    def __len__(self) -> int:
        """What is kept to be tried again."""
        return len(self.waiting) + len(self.notes.later.keys() - self.waiting.seqs)

    def pending(self, last: int) -> int:
        """About how many events wait in a log that ends with this number, those included that are kept to be tried again."""
        unread = last - self.ahead.read_to if self.ended != last else 0
        return max(0, unread + self.ahead.left) + len(self)

    @property
    def void(self) -> bool:
        """It is over."""
        return self.over.is_set()

    @property
    def unwritten_dead(self) -> bool:
        """Dead letters that the store does not count yet."""
        return bool(self.notes.dead or (self.batch is not None and self.batch.dead))

    # --- what came of an event -------------------------------------------------------------------------------------------

    def delivered(self, retry: Retry, now: float) -> None:
        """It was taken."""
        self._over(retry, now)

    def buried(self, letter: DeadEvent, now: float) -> None:
        """It will never be taken."""
        self.keeps = True
        self.notes.bury(letter)
        self._over(letter, now)

    def kept(self, retry: Retry) -> None:
        """It is tried again, or waits for its turn."""
        self.keeps = True
        self.early.pop(retry.seq, None)
        self.notes.keep(retry)
        self.ahead.settle(retry.seq)

    def passed(self) -> None:
        """Events were passed that nobody wants."""
        self.notes.skip()

    def _over(self, it: Retry | DeadEvent, now: float) -> None:
        self.notes.settle(it.seq, kept=it.seq in self.waiting.seqs)
        self.ahead.settle(it.seq)
        self.failed.discard(it.seq)
        self.early.pop(it.seq, None)
        self.loaded.pop(it.seq, None)
        turn = self.waiting.leave(it.event.key, it.seq)
        if turn is not None:
            self.set_due(turn, now)

    def set_due(self, seq: int, now: float) -> None:
        """One that is kept is due."""
        self.notes.set_due(seq, now)
        self.waiting.set_due(seq, now)

    def release(self, now: float) -> None:
        """The sink is back: what failed while it was away is due at once, but for what waits for its turn."""
        writing = {retry.seq: retry for retry in self.batch.later} if self.batch is not None else {}
        for seq in sorted(self.failed):
            kept = self.notes.later.get(seq) or writing.get(seq) or self.waiting.get(seq)
            if kept is not None and kept.due is not None and kept.due > now:
                self.early[seq] = kept.due
                self.set_due(seq, now)
        self.failed.clear()
        if not self.notes:
            self.released = self.recovered

    def put_off(self, now: float) -> None:
        """It is away again: what was not tried meanwhile goes back to its own time."""
        for seq, due in self.early.items():
            self.set_due(seq, max(due, now))
        self.failed |= self.early.keys()
        self.early.clear()

    def follow_clock(self, set_back: float) -> None:
        """The wall clock was set back by so many seconds altogether."""
        seconds, self.set_back = set_back - self.set_back, set_back
        if seconds:
            self.waiting.set_back(seconds)
            self.early = {seq: due - seconds for seq, due in self.early.items()}

    # --- commits ---------------------------------------------------------------------------------------------------------

    def gather(self) -> Attempted:
        """What is to be committed: what was, where that may have failed, else all that has come since."""
        if self.batch is None:
            self.batch = self.notes.written(self.ahead.position, self.ahead.done())
            self.notes = Notes(self._pace.in_flight)
            self._batched = self.recovered
        return self.batch

    def committed(self, batch: Attempted) -> Position:
        """It is in the store."""
        self.batch = None
        self.released = max(self.released, self._batched)
        self.written = batch.position, tuple(batch.done)
        for seq in batch.over:
            self.waiting.drop(seq)
        for retry in batch.later:
            due = self.notes.due.get(retry.seq, retry.due)
            self.waiting.put(Place(retry.seq, retry.event.key, due, len(retry.event.body)))
        return batch.position
