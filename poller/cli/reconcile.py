"""`poller reconcile`: reads a closed span again, piece by piece, and shows what the vendor has otherwise than it was published."""

import math
from collections import Counter
from typing import Annotated

import typer

from poller import commands
from poller.cli import steps
from poller.cli.print import DEFAULT_CONFIG, ConfigPath, Json, say, say_json, say_table, when
from poller.clock import SystemClock
from poller.config import Settings
from poller.crosscheck import endpoints_of
from poller.errors import ConfigError, PollerError
from poller.kinds import kind_of
from poller.operations import Difference, Operations, Reconcile, Reconciled
from poller.options import show_duration
from poller.replay import as_option, moment

PIECE = 6 * 3_600
"""Seconds of own time that one step reads: short enough to be shown and stopped, and each looks through the log once."""
MEANINGS = {
    "missing": "the vendor has it, and it was never published",
    "changed": "the vendor shows another state than the one that was published last",
    "unknown": "it was published, and the vendor does not show it now",
}


class Course:
    """What came of the pieces so far."""

    waiting = 0

    def __init__(self, source: str, endpoints: list[str], begin: int, end: int) -> None:
        self._left = [
            Reconcile(source=source, endpoint=endpoint, begin=at, end=min(at + PIECE, end))
            for endpoint in endpoints
            for at in range(begin, end, PIECE)
        ]
        self.pieces = len(self._left)
        self.done: list[tuple[str, Reconciled]] = []
        self.ended = not self._left
        self.error: str | None = None

    async def step(self, operations: Operations) -> None:
        """The next piece."""
        asked = self._left[0]
        self.done.append((asked.endpoint, await operations.reconcile(asked)))
        del self._left[0]
        self.ended = not self._left

    def progress(self) -> tuple[float, float, str]:
        """In pieces."""
        return len(self.done), self.pieces, f"{sum(one.records for _, one in self.done)} records"

    def why_waiting(self) -> str:
        """It never waits for a sink."""
        return ""

    def left(self) -> Reconcile | None:
        """The piece that was not done."""
        return self._left[0] if self._left else None

    @property
    def counts(self) -> Counter[str]:
        """Of all pieces."""
        return sum((Counter(one.counts) for _, one in self.done), Counter[str]())

    @property
    def equal(self) -> bool:
        """Whether everything could be compared that was asked for, and nothing differs."""
        differ = any(self.counts[name] for name in (*MEANINGS, "invalid"))
        return self.ended and not differ and not any(one.unread for _, one in self.done)

    def figures(self) -> dict[str, object]:
        """For programs."""
        return {
            "equal": self.equal,
            "ended": self.ended,
            "error": self.error,
            "records": sum(one.records for _, one in self.done),
            "counts": {name: self.counts[name] for name in (*MEANINGS, "invalid", "forgotten")},
            "pieces": [{"endpoint": endpoint, "result": one} for endpoint, one in self.done],
        }


def reconcile(
    source: Annotated[str, typer.Argument(help="The source whose lists are read again.")],
    since: Annotated[str, typer.Option("--from", help="Own time from then on: 48h (ago), 2026-01-31T10:00+01:00.")],
    until: Annotated[str, typer.Option(help="Own time before then.")],
    endpoint: Annotated[
        list[str] | None, typer.Option(help="Only this list, such as user_calls; all of the source otherwise.")
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Read a closed span from the vendor again and compare it, id by id, with what was published. Exit code 1 where they differ."""
    settings = _settings(config)
    course = _course(settings, source, endpoint or [], since, until)
    steps.walk(settings, course, f"reconcile {source}", looking=True)
    if as_json:
        say_json(course.figures())
    else:
        _say(settings, course)
    if course.error is not None:
        raise PollerError(course.error)
    if (left := course.left()) is not None:
        raise PollerError(f"stopped before {left.endpoint} from {when(left.begin)}")
    raise typer.Exit(0 if course.equal else 1)


def _settings(config: ConfigPath) -> Settings:
    """Without a daemon the vendor is asked from here, which takes its secrets."""
    settings = commands.settings_of(config, stand_ins=True)
    return settings if commands.answers(settings) else commands.settings_of(config)


def _course(settings: Settings, source: str, endpoints: list[str], since: str, until: str) -> Course:
    options = settings.sources.get(source)
    if options is None:
        raise ConfigError(f"there is no source {source!r}; there are: {', '.join(settings.sources) or 'none'}")
    now = SystemClock().now()
    try:
        begin, end = moment(since, now), moment(until, now)
    except ValueError as error:
        raise ConfigError(f"reconcile: {error}") from None
    if begin >= end:
        raise ConfigError(f"reconcile: --from ({as_option(begin)}) is not before --until ({as_option(end)})")
    names = endpoints or [f"{kind_of(options)}.{key}" for key in endpoints_of(options)]
    return Course(source, names, math.floor(begin), math.floor(end))


# --- at the end ------------------------------------------------------------------------------------------------------


def _say(settings: Settings, course: Course) -> None:
    rows: list[tuple[str, Difference]] = [(name, each) for name, one in course.done for each in one.differences]
    if rows:
        say_table(
            "what differs",
            ["list", "what", "id", "own time", "event"],
            [[name, each.what, each.id, when(each.own), each.event] for name, each in rows],
        )
        for what in dict.fromkeys(each.what for _, each in rows):
            say(f"{what}: {MEANINGS[what]}")
    if (shown := len(rows)) < (total := sum(course.counts[name] for name in MEANINGS)):
        say(f"{total} differ in all; {shown} are shown.")
    for name, one in course.done:
        for sentence in _doubts(settings, one):
            say(f"{name}: {sentence}")
    records = sum(one.records for _, one in course.done)
    if course.done:
        say(f"{records} records read again; {'all as published' if course.equal else 'not all as published'}.")


def _doubts(settings: Settings, one: Reconciled) -> list[str]:
    """What could not be compared."""
    span = f"of {when(one.begin)} to {when(one.end)}"
    said = [f"{when(gap.begin)} to {when(gap.end)} could not be read: {gap.reason}" for gap in one.unread]
    if one.counts.get("invalid"):
        said.append(f"{span}: {one.counts['invalid']} records were not understood (`poller dead-letters list`)")
    if one.known_from is not None:
        kept = (
            f"ids from before {when(one.known_from)} are no longer kept (seen_ttl: {show_duration(settings.seen_ttl)})"
        )
        said.append(f"{span}: {kept}; {one.counts.get('forgotten', 0)} records were not compared")
    if not one.judges_unknown:
        said.append(
            f"{span}: records do not show the time of the vendor's filter, so what it no longer shows is not told"
        )
    elif one.published_from is not None:
        kept = f"events from before {when(one.published_from)} are no longer kept (retention: {show_duration(settings.retention)})"
        said.append(f"{span}: {kept}; what the vendor no longer shows is told of later ones only")
    if one.complete_until is None or one.end > one.complete_until:
        said.append(f"{span}: not complete yet: later rows may still be found by polling")
    return said
