"""`poller state export` and `import`: a store moves to another one."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import anyio
import typer
from anyio.abc import TaskStatus
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from poller.cli.print import DEFAULT_CONFIG, ConfigPath, Json, complain, say, say_json
from poller.commands import settings_of
from poller.errors import ConfigError, PollerError
from poller.moving.arrive import bring
from poller.moving.back import take_back
from poller.moving.course import Course
from poller.moving.leave import export

File = Annotated[Path, typer.Argument(help="The file of the export.")]
Move = Callable[[Course], Awaitable[Counter[str]]]


def register(app: typer.Typer) -> None:
    """Adds these commands to `poller state`."""
    app.command("export")(state_export)
    app.command("import")(state_import)


def state_export(
    file: Annotated[Path | None, typer.Argument(help="The file to write.")] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Let daemons open an exported store again, whose file was not imported.")
    ] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Write what the store holds into a file, for another store. No daemon opens this one again."""
    if undo == (file is not None):
        raise ConfigError("state export: name a file to write, or give --undo")
    settings = settings_of(config)
    if file is None:
        was = anyio.run(take_back, settings)
        say(f"Daemons may open the store again. Delete {was}: it must not be imported any more")
        return
    path = file.absolute()
    counts = _walk("export", lambda course: export(settings, path, course=course))
    _say(counts, f"Exported to {file}", as_json=as_json)


def state_import(file: File, config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Make a new store of the file of an export. Run it again where it was killed."""
    settings = settings_of(config)
    counts = _walk("import", lambda course: bring(settings, file.absolute(), course=course))
    _say(counts, f"Imported from {file}", as_json=as_json)


def _say(counts: Counter[str], done: str, *, as_json: bool) -> None:
    if as_json:
        say_json(dict(counts))
    else:
        held = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(counts.items()))
        say(f"{done}: {held or 'nothing was in it'}")


# --- on the way ------------------------------------------------------------------------------------------------------


def _walk(title: str, move: Move) -> Counter[str]:
    """With progress on a terminal. Raises PollerError where a signal ended it."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(title, total=None)

        def show(course: Course) -> None:
            bar.update(task, description=f"{title}: {course.doing}", completed=course.done, total=course.total)

        course = Course(show)
        anyio.run(_until_a_signal, course, move)
    if course.counts is None:
        raise PollerError(f"the {title} was stopped; {course.left or 'both stores are as they were before'}")
    return course.counts


async def _until_a_signal(course: Course, move: Move) -> None:
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as moving:
            await tasks.start(_watch, course, moving)
            await move(course)
        tasks.cancel_scope.cancel()


async def _watch(
    course: Course, moving: anyio.CancelScope, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """The first signal undoes what was begun; a second one kills, which loses nothing either."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            if moving.cancel_called:
                os._exit(1)
            moving.cancel()
            if course.closing:
                complain("this is finished first, since it cannot be undone; a second signal ends it at once")
