"""`poller replay`: sends a sink again what it was sent before, step by step, so that it can be stopped and gone on with."""

from collections import Counter
from typing import Annotated

import typer
from msgspec import structs

from poller import commands
from poller.cli import steps
from poller.cli.print import DEFAULT_CONFIG, ConfigPath, Json, say, say_json, say_table, when
from poller.clock import SystemClock
from poller.config import Settings
from poller.errors import ConfigError, PollerError
from poller.operations import Operations, Replay
from poller.options import show_duration
from poller.replay import as_option, moment, types_of


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

    async def step(self, operations: Operations) -> None:
        """The next one goes on where this one ends."""
        answer = await operations.replay(self.asked)
        self.asked = structs.replace(self.asked, cursor=answer.cursor)
        self.reached = max(self.reached, answer.reached)
        self.types.update(answer.types)
        self.kept_from = self.kept_from if answer.kept_from is None else answer.kept_from
        self.waiting = answer.waiting
        self.ended = answer.ended

    def progress(self) -> tuple[float, float, str]:
        """In seconds of the time that was asked for."""
        span = self.asked.until - self.asked.since
        told = f"{self.types.total()} events"
        if self.waiting:
            told += f"; {self.waiting} wait for the sink, which comes first"
        return span if self.ended else self.reached - self.asked.since, span, told

    def why_waiting(self) -> str:
        """For whoever reads the log of it."""
        return f"{self.waiting} events wait for {self.asked.sink}: the replay goes on when they are fewer"

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
        list[str] | None,
        typer.Option("--type", help="Only this type, such as telephony.call.new or 'telephony.call.*' (in quotes)."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Send events to a sink again, as far back as they are kept. Their ids stay the same, and they are marked as a replay."""
    settings = commands.settings_of(config, stand_ins=True)
    course = Course(_asked(sink, since, until, kinds or [], dry_run=dry_run))
    steps.walk(settings, course, f"{'count' if dry_run else 'replay'} {sink}", looking=dry_run)
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
