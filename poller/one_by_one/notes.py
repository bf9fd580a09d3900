"""What has come of attempts and is not in the store yet."""

import anyio
from msgspec import structs

from poller.kept import Attempted, Retry
from poller.model import DeadEvent, Position

MOST = 200
"""Outcomes of one commit."""


class Notes:
    """Gathered, and committed together."""

    def __init__(self, most_bytes: int) -> None:
        self.came = anyio.Event()
        """There is something to commit."""
        self.worthy = anyio.Event()
        """Something that a crash would have to repeat."""
        self.filled = anyio.Event()
        """Nothing more is begun until this is committed."""
        self.later: dict[int, Retry] = {}
        self.due: dict[int, float] = {}
        self.dead: list[DeadEvent] = []
        self._over: list[int] = []
        self._most_bytes = most_bytes
        self._count, self._bytes = 0, 0

    def __bool__(self) -> bool:
        return self.came.is_set()

    @property
    def full(self) -> bool:
        """Nothing more is begun until this is committed."""
        return self._count >= MOST or self._bytes >= self._most_bytes

    def settle(self, seq: int, *, kept: bool) -> None:
        """It was taken, or is dead. `kept`: the store has it among the retries."""
        if kept:
            self._over.append(seq)
        self._noted(0)

    def bury(self, letter: DeadEvent) -> None:
        """It will never be taken."""
        self.dead.append(letter)
        self._noted(len(letter.event.body))

    def keep(self, retry: Retry) -> None:
        """To be tried again."""
        self.later[retry.seq] = retry
        self._noted(len(retry.event.body))

    def set_due(self, seq: int, due: float) -> None:
        """When one that is kept is due from now on."""
        if seq in self.later:
            self.later[seq] = structs.replace(self.later[seq], due=due)
        else:
            self.due[seq] = due
        self._noted(0)

    def skip(self) -> None:
        """Something was passed without an attempt."""
        self.came.set()

    def hurry(self) -> None:
        """Somebody waits for the commit."""
        self.worthy.set()
        self.filled.set()

    def written(self, position: Position, done: tuple[int, ...]) -> Attempted:
        """As one transaction."""
        return Attempted(
            position=position, done=done, later=list(self.later.values()), due=self.due, over=self._over, dead=self.dead
        )

    def _noted(self, size: int) -> None:
        self._count += 1
        self._bytes += size
        self.came.set()
        self.worthy.set()
        if self.full:
            self.filled.set()
