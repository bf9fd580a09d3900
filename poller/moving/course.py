"""How far a move is, for whoever watches it."""

from collections import Counter
from collections.abc import Callable


class Course:
    """`told` is called whenever something of it has changed."""

    def __init__(self, told: Callable[["Course"], None] | None = None) -> None:
        self._told = told
        self.doing = ""
        self.done = 0
        self.total: int | None = None
        """About; None: not known."""
        self.closing = False
        """From here on it is finished whatever comes, but for a kill."""
        self.left = ""
        """What could not be undone, and what to do about it."""
        self.counts: Counter[str] | None = None
        """How much was moved; None until all is done."""

    def begin(self, doing: str, total: int | None = None) -> None:
        """The next stretch."""
        self.doing, self.done, self.total = doing, 0, total
        self._tell()

    def more(self, count: int) -> None:
        """Of the stretch."""
        self.done += count
        self._tell()

    def close(self, doing: str) -> None:
        """The last stretch, which is not left half done."""
        self.closing = True
        self.begin(doing)

    def finished(self, counts: Counter[str]) -> None:
        """All is done."""
        self.counts = counts
        self._tell()

    def _tell(self) -> None:
        if self._told is not None:
            self._told(self)
