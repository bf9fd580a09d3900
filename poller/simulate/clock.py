"""The time of the simulated world: the real one, an accelerated one, or one that a test moves by hand."""

import time
from collections.abc import Callable


class WorldClock:
    """World time in epoch seconds. It runs from `at` with `speed` (0: only `move` and `set_to` change it)."""

    def __init__(
        self, *, at: float | None = None, speed: float = 1.0, mono: Callable[[], float] = time.monotonic
    ) -> None:
        self._mono = mono
        self._at = time.time() if at is None else at
        self._mark = mono()
        self.speed = speed

    def now(self) -> float:
        """Epoch seconds of the world."""
        return self._at + (self._mono() - self._mark) * self.speed

    def move(self, seconds: float) -> None:
        """Jumps forward or back."""
        self.set_to(self.now() + seconds)

    def set_to(self, at: float) -> None:
        """Jumps to an instant."""
        self._at, self._mark = at, self._mono()

    def run_at(self, speed: float) -> None:
        """Goes on from now with another speed."""
        self.set_to(self.now())
        self.speed = speed
