"""Tells those who wait that something has changed."""

import anyio


class Bell:
    """Rung whenever something has changed. Whoever waits takes `event` first, looks, and then waits for it."""

    def __init__(self) -> None:
        self.event = anyio.Event()

    def ring(self) -> None:
        """Wakes everybody."""
        self.event.set()
        self.event = anyio.Event()
