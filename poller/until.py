"""Waits that an event ends."""

import anyio

from poller.clock import Clock


async def cancel_when(event: anyio.Event, scope: anyio.CancelScope) -> None:
    """Cancels the scope as soon as the event is there. Whoever starts it ends it."""
    await event.wait()
    scope.cancel()


async def pause(clock: Clock, event: anyio.Event, seconds: float) -> None:
    """Until the event, but no longer than that by the program's clock."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cancel_when, event, tasks.cancel_scope)
        await clock.sleep(seconds)
        tasks.cancel_scope.cancel()
