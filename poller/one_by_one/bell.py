"""Tells those who wait that something has changed, and waits for it by the program's clock."""

import anyio

from poller.clock import Clock


class Bell:
    """Rung whenever something has changed. Whoever waits takes `event` first, looks, and then waits for it."""

    def __init__(self) -> None:
        self.event = anyio.Event()

    def ring(self) -> None:
        """Wakes everybody."""
        self.event.set()
        self.event = anyio.Event()


async def pause(clock: Clock, event: anyio.Event, seconds: float) -> None:
    """Until the event, but no longer than that."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_end_with, event, tasks.cancel_scope)
        await clock.sleep(seconds)
        tasks.cancel_scope.cancel()


async def _end_with(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
