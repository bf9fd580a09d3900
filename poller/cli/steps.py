"""Work that is asked for step by step, so that it can be stopped between two steps: with progress, and waits where a sink is behind."""

import signal
import sys
from typing import Protocol

import anyio
from anyio.abc import TaskStatus
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from poller import commands
from poller.cli.print import complain
from poller.config import Settings
from poller.errors import PollerError
from poller.operations import Operations

SHORTEST, LONGEST = 0.02, 1.0
"""Seconds between two questions while the sink has too much to do; each is twice the one before."""


class Course(Protocol):
    """What is being done, and what came of the steps so far."""

    ended: bool
    error: str | None
    """Why it ended before its end."""
    waiting: int
    """So many events wait for the sink that the last step did nothing."""

    async def step(self, operations: Operations) -> None:
        """The next one. Raises PollerError."""
        ...

    def progress(self) -> tuple[float, float, str]:
        """How much is done, of how much, and a few words for whoever watches."""
        ...

    def why_waiting(self) -> str:
        """A sentence."""
        ...


class Waits:
    """How long to wait after each step. A sink that takes what it has got at once is given the next at once."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._seconds = SHORTEST
        self._said = False

    def next(self) -> float:
        """Seconds; 0 where the step did something. A wait of the longest kind is said, once; a terminal shows it beside the bar."""
        if not self._course.waiting:
            self._seconds, self._said = SHORTEST, False
            return 0.0
        seconds, self._seconds = self._seconds, min(2 * self._seconds, LONGEST)
        if seconds == LONGEST and not self._said and not sys.stderr.isatty():
            complain(self._course.why_waiting())
            self._said = True
        return seconds


def walk(settings: Settings, course: Course, title: str, *, looking: bool = False) -> None:
    """Until all is done, something fails, or a signal comes: the first one lets the step under way end, so that nothing is done twice."""
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(),
        TextColumn("{task.fields[told]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(title, total=None, told="")

        def show() -> None:
            done, total, told = course.progress()
            bar.update(task, completed=done, total=total, told=told)

        async def steps() -> None:
            stopping = anyio.Event()
            async with anyio.create_task_group() as tasks:
                await tasks.start(_watch, stopping, tasks.cancel_scope)
                try:
                    async with commands.operations(settings, looking=looking) as operations:
                        waits = Waits(course)
                        while not course.ended and not stopping.is_set():
                            await course.step(operations)
                            show()
                            with anyio.move_on_after(waits.next()):
                                await stopping.wait()
                except PollerError as error:
                    course.error = str(error)
                tasks.cancel_scope.cancel()

        anyio.run(steps)


async def _watch(
    stopping: anyio.Event, everything: anyio.CancelScope, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            if stopping.is_set():
                everything.cancel()
            stopping.set()
