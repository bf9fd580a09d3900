"""`poller replay`: sends a sink again what it was sent before, step by step, so that it can be stopped and gone on with."""

import signal
import sys
from collections import Counter
from collections.abc import Callable
from typing import Annotated

import anyio
import typer
from anyio.abc import TaskStatus
from msgspec import structs
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from poller import commands
from poller.cli_print import DEFAULT_CONFIG, ConfigPath, Json, complain, say, say_json, say_table, when
from poller.clock import SystemClock
from poller.config import Settings
from poller.errors import ConfigError, PollerError
from poller.operations import Replay, Replayed
from poller.options import show_duration
from poller.replay import as_option, moment, types_of

PAUSE = 1.0
"""Seconds between two questions while the sink has too much to do."""


class Course:
    """What came of the steps so far."""

    def __init__(self, asked: Replay) -> None:
        self.asked = asked
        self.reached = asked.since
        self.types: Counter[str] = Counter()
        self.kept_from: float | None = None
        self.waiting = 0
        self.ended = False
        self.error: str | None = None

    def take(self, answer: Replayed) -> None:
        """One step's answer; the next one goes on where it ended."""
        self.asked = structs.replace(self.asked, cursor=answer.cursor)
        self.reached = max(self.reached, answer.reached)
        self.types.update(answer.types)
        self.kept_from = self.kept_from if answer.kept_from is None else answer.kept_from
        self.waiting = answer.waiting
        self.ended = answer.ended

    def rest(self) -> str:
        """How to go on."""
        return f"--since {as_option(self.reached)} --until {as_option(self.asked.until)}"

    def figures(self) -> dict[str, object]:
        """For programs."""
        return {
            "sink": self.asked.sink,
            "since": self.asked.since,
            "until": self.asked.until,
            "dry_run": self.asked.dry_run,
            "events": self.types.total(),
            "types": dict(sorted(self.types.items())),
            "kept_from": self.kept_from,
            "ended": self.ended,
            "reached": self.reached,
            "error": self.error,
        }


def replay(
    sink: Annotated[str, typer.Option(help="The sink that is to get them, of whatever kind.")],
    since: Annotated[str, typer.Option(help="First seen from then on: 24h (ago), 2026-01-31, 2026-01-31T10:00+01:00.")],
    until: Annotated[str, typer.Option(help="First seen before then.")] = "now",
    kinds: Annotated[
        list[str] | None, typer.Option("--type", help="Only this type, such as telephony.call.new or telephony.call.*.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Send events to a sink again, as far back as they are kept. Their ids stay the same, and they are marked as a replay."""
    settings = commands.settings_of(config)
    course = Course(_asked(sink, since, until, kinds or [], dry_run=dry_run))
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(),
        TextColumn("{task.fields[told]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        span = course.asked.until - course.asked.since
        task = progress.add_task(f"{'count' if dry_run else 'replay'} {sink}", total=span, told="")

        def show() -> None:
            done = span if course.ended else course.reached - course.asked.since
            progress.update(task, completed=done, told=_told(course))

        anyio.run(_steps, settings, course, show)
    _conclude(settings, course, as_json=as_json)


def _asked(sink: str, since: str, until: str, kinds: list[str], *, dry_run: bool) -> Replay:
    now = SystemClock().now()
    try:
        asked = Replay(
            sink=sink, since=moment(since, now), until=moment(until, now), types=types_of(kinds), dry_run=dry_run
        )
    except ValueError as error:
        raise ConfigError(f"replay: {error}") from None
    if asked.since >= asked.until:
        raise ConfigError(
            f"replay: --since ({as_option(asked.since)}) is not before --until ({as_option(asked.until)}): nothing lies between"
        )
    return asked


async def _steps(settings: Settings, course: Course, show: Callable[[], None]) -> None:
    """Until all is done, something fails, or a signal comes: the first one lets the step under way end, so that nothing is done twice."""
    stopping = anyio.Event()
    async with anyio.create_task_group() as tasks:
        await tasks.start(_watch, stopping, tasks.cancel_scope)
        try:
            async with commands.operations(settings, looking=course.asked.dry_run) as operations:
                while not course.ended and not stopping.is_set():
                    before = course.waiting
                    course.take(await operations.replay(course.asked))
                    show()
                    if course.waiting:
                        _say_waiting(course, before)
                        with anyio.move_on_after(PAUSE):
                            await stopping.wait()
        except PollerError as error:
            course.error = str(error)
        tasks.cancel_scope.cancel()


async def _watch(
    stopping: anyio.Event, everything: anyio.CancelScope, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            if stopping.is_set():
                everything.cancel()
            stopping.set()


def _say_waiting(course: Course, before: int) -> None:
    """Once for each wait; a terminal shows it beside the bar."""
    if not before and not sys.stderr.isatty():
        complain(f"{course.waiting} events wait for {course.asked.sink}: the replay goes on when they are fewer")


def _told(course: Course) -> str:
    count = f"{course.types.total()} events"
    return f"{count}; {course.waiting} wait for the sink, which comes first" if course.waiting else count


# --- at the end ------------------------------------------------------------------------------------------------------


def _conclude(settings: Settings, course: Course, *, as_json: bool) -> None:
    """Prints what was done. Raises PollerError with how to go on where that is not all."""
    if as_json:
        say_json(course.figures())
    elif course.ended or course.types:
        _say(settings, course)
    if course.error is not None and not course.types:
        raise PollerError(course.error)
    if not course.ended:
        why = course.error or "stopped"
        raise PollerError(f"{why}\nThe events before {when(course.reached)} are done; the rest: {course.rest()}")


def _say(settings: Settings, course: Course) -> None:
    asked, count = course.asked, course.types.total()
    if course.kept_from is not None:
        say(
            f"Events before {when(course.kept_from)} are no longer kept (retention: {show_duration(settings.retention)})."
        )
    span = f"first seen from {when(asked.since)} until {when(course.reached)}"
    if not count:
        say(f"Nothing to send again: {asked.sink} has no such event {span}.")
        return
    did = "Would be sent" if asked.dry_run else "Sent on their way"
    say(f"{did} to {asked.sink} again, {span}: {count}")
    say_table("By type", ["type", "events"], sorted(course.types.items()))
