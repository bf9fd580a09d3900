"""One HTTP application on one socket, within the program's own task group and signals."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import uvicorn
from anyio.abc import TaskStatus
from starlette.applications import Starlette

GRACE = 2.0
"""Seconds that requests in flight get at the end."""
SETTLE = 0.1
"""Seconds at the end in which connections that were made just now get known: only those are closed in order."""
TICK = 5.0
"""Seconds by which the header `Date` may lag, and after which a connection must have asked something: twice as many at most."""


async def answer(
    app: Starlette,
    there: socket.socket,
    *,
    tick: float = TICK,
    task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serves one application on a listening socket until cancelled, then lets requests in flight finish for a moment.

    `task_status.started` gets the port, 0 for a unix socket. `tick`: seconds between two looks at what is open.
    """
    name = there.getsockname()
    port: int = name[1] if isinstance(name, tuple) else 0
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=int(GRACE)
    )
    server = _Server(config, tick, lambda: task_status.started(port))
    ended = anyio.Event()

    async def run(scope: anyio.CancelScope) -> None:
        with scope:
            await server.serve(sockets=[there])
        ended.set()

    async with anyio.create_task_group() as tasks:
        scope = anyio.CancelScope(shield=True)
        tasks.start_soon(run, scope, name="server")
        try:
            await ended.wait()
        finally:
            server.end()
            with anyio.move_on_after(GRACE + 1, shield=True):
                await ended.wait()
            scope.cancel()


class _Server(uvicorn.Server):
    """Leaves the signals to the program, and says when it answers."""

    def __init__(self, config: uvicorn.Config, tick: float, answering: Callable[[], None]) -> None:
        super().__init__(config)
        self._tick = tick
        self._answering = answering
        self._ended = anyio.Event()
        self._silent: set[Any] = set()
        """Connections that had asked nothing at the last look."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: the program has handlers of its own."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As the library does, and then the word that it is done."""
        await super().startup(sockets)
        self._answering()

    async def main_loop(self) -> None:
        """Keeps the header `Date` right, now and then: the library wakes ten times a second, to see whether it shall end."""
        while not await self.on_tick(0):
            self._close_silent()
            with anyio.move_on_after(self._tick):
                await self._ended.wait()
        await anyio.sleep(SETTLE)

    def _close_silent(self) -> None:
        """Each takes an open file, of which phone systems and sinks need some; the library waits for a first request for ever."""
        silent = {one for one in self.server_state.connections if getattr(one, "cycle", one) is None}
        for one in silent & self._silent:
            one.transport.close()
        self._silent = silent

    def end(self) -> None:
        """Answers what is in flight, and no more."""
        self.should_exit = True
        self._ended.set()
