"""`poller dead-letters`: lists, shows, exports and retries what was set aside, by the thousand where there are so many."""

import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Annotated

import msgspec
import typer

from poller import commands
from poller.cli import steps
from poller.cli.print import DEFAULT_CONFIG, ConfigPath, Json, complain, say, say_json, say_table, when
from poller.errors import PollerError
from poller.kept import LetterPlace, Which
from poller.operations import Again, DeadLetter, Listing, Operations, Retried
from poller.private import owner

dead_letters = typer.Typer(help="Records and events that were set aside.", no_args_is_help=True)

Source = Annotated[str | None, typer.Option(help="Only of this source, by its id.")]
Sink = Annotated[str | None, typer.Option(help="Only events for this sink.")]
Reason = Annotated[str | None, typer.Option(help="Only those set aside for this reason, such as exhausted.")]

SLICE = 500
"""Ids in one question."""
FAILURES = 100
"""Failures that are shown; all are counted."""


# --- looking ---------------------------------------------------------------------------------------------------------


@dead_letters.command("list")
def dead_list(
    config: ConfigPath = DEFAULT_CONFIG,
    source: Source = None,
    sink: Sink = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1_000,
    as_json: Json = False,
) -> None:
    """List dead letters, oldest first."""
    which = Which(source=source, sink=sink, reason=reason)

    async def read(operations: Operations) -> tuple[list[DeadLetter], int]:
        found: list[DeadLetter] = []
        total = 0
        async for letters, total in _parts(operations, which, limit=limit):  # noqa: B007 the last one counts
            found += letters
        return found, total

    found, total = commands.ask(config, read, looking=True)
    more = max(0, total - len(found))
    if as_json:
        say_json(found)
    else:
        count = f"{len(found)}, the oldest of {total}" if more else f"{len(found)}"
        say_table(f"Dead letters: {count}", ["id", "what", "of", "reason", "since", "bytes", "error"], [
            (each.id[:12], each.what, each.sink or f"{each.source} {each.endpoint}", each.reason, when(each.at),
             each.size, each.error)
            for each in found
        ])  # fmt: skip
    if more:
        complain(f"there are {more} more: --limit {total} shows them all")


async def _parts(
    operations: Operations, which: Which, *, limit: int | None = None, bodies: bool = False
) -> AsyncIterator[tuple[list[DeadLetter], int]]:
    """Part after part, with how many there are in all."""
    after: LetterPlace | None = LetterPlace()
    while after is not None and (limit is None or limit > 0):
        asked = Listing(which=which, after=after, limit=1_000 if limit is None else limit, bodies=bodies)
        part = await operations.dead_letters(asked)
        after = part.after
        limit = None if limit is None else limit - len(part.letters)
        yield part.letters, part.total


@dead_letters.command("show")
def dead_show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="The id or its beginning.")],
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Show one dead letter with its body."""
    found = commands.ask(config, lambda operations: operations.dead_letter(letter), looking=True)
    if as_json:
        say_json(_plain(found))
        return
    for name, value in _plain(found).items():
        if value is not None and name not in {"body", "body_base64"}:
            say(f"{name}: {when(found.at) if name == 'at' else value}")
    say((found.body or b"").decode(errors="replace"))


@dead_letters.command("export")
def dead_export(
    config: ConfigPath = DEFAULT_CONFIG,
    source: Source = None,
    sink: Sink = None,
    reason: Reason = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; standard output unless given.")] = None,
) -> None:
    """Write dead letters with their bodies, one JSON object per line."""
    which = Which(source=source, sink=sink, reason=reason)
    with ExitStack() as stack:
        try:
            file: IO[bytes] = (
                sys.stdout.buffer if output is None else stack.enter_context(open(output, "wb", opener=owner))
            )

            async def write(operations: Operations) -> None:
                async for letters, _ in _parts(operations, which, bodies=True):
                    file.writelines(msgspec.json.encode(_plain(each)) + b"\n" for each in letters)

            commands.ask(config, write, looking=True)
            file.flush()
        except OSError as error:
            raise PollerError(f"{output or 'standard output'} cannot be written: {error.strerror}") from None


def _plain(letter: DeadLetter) -> dict[str, object]:
    """The body as text where it is text; else `body_base64`."""
    fields = msgspec.to_builtins(letter)
    encoded = fields.pop("body")
    try:
        return {**fields, "body": None if letter.body is None else letter.body.decode()}
    except UnicodeDecodeError:
        return {**fields, "body_base64": encoded}


# --- retrying --------------------------------------------------------------------------------------------------------


class Course:
    """What came of the steps of a retry so far."""

    def __init__(self, ids: list[str], which: Which) -> None:
        self._ids = list(dict.fromkeys(ids))
        self._by_id = bool(ids)
        self._asked = Again(which=which)
        self._sink: str | None = None
        self.total = len(self._ids)
        self.done = 0
        self.failed = 0
        self.failures: list[Retried] = []
        self.waiting = 0
        self.ended = False
        self.error: str | None = None

    async def step(self, operations: Operations) -> None:
        """The next ids, or the next letters behind the cursor."""
        ids = tuple(self._ids[:SLICE]) if self._by_id else None
        answer = await operations.retry(Again(ids=ids, which=self._asked.which, cursor=self._asked.cursor))
        self.total = max(self.total, answer.total)
        self._asked = Again(which=self._asked.which, cursor=answer.cursor)
        self._ids = self._ids[len(answer.results) :]
        failures = [one for one in answer.results if not one.done]
        self.done += len(answer.results) - len(failures)
        self.failed += len(failures)
        self.failures += failures[: FAILURES - len(self.failures)]
        self.waiting, self._sink = answer.waiting, answer.sink
        self.ended = not self._ids if self._by_id else answer.ended

    def progress(self) -> tuple[float, float, str]:
        """In letters."""
        tried = self.done + self.failed
        told = f"{tried} of {self.total}" + (f", {self.failed} failed" if self.failed else "")
        if self.waiting:
            told += f"; {self.waiting} wait for {self._sink}, which come first"
        return tried, self.total, told

    def why_waiting(self) -> str:
        """For whoever reads the log of it."""
        return f"{self.waiting} events wait for {self._sink}: the retry goes on when they are fewer"

    def rest(self) -> str:
        """What was not tried."""
        return f"Not tried: {len(self._ids)}" if self._by_id else "The same command goes on with the rest"

    def figures(self) -> dict[str, object]:
        """For programs."""
        return {
            "retried": self.done,
            "failed": self.failed,
            "failures": [{"id": one.id, "error": one.error} for one in self.failures],
            "ended": self.ended,
            "error": self.error,
        }


@dead_letters.command("retry")
def dead_retry(
    letters: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids or their beginnings.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every dead letter there is.")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    source: Source = None,
    sink: Sink = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Try dead letters again; those that succeed are closed. Waits where a sink has too much to do already."""
    which = Which(source=source, sink=sink, reason=reason)
    if bool(letters) + every + (which != Which()) != 1:
        raise typer.BadParameter(
            "name the dead letters to retry, or choose them by --sink, --source and --reason, or all of them with --all"
        )
    course = Course(letters or [], which)
    steps.walk(commands.settings_of(config, stand_ins=True), course, "retry")
    _conclude(course, as_json=as_json)


def _conclude(course: Course, *, as_json: bool) -> None:
    """Prints what was done. Raises PollerError where that is not all, and typer.Exit where some failed."""
    if as_json:
        say_json(course.figures())
    elif course.done or course.failed or course.ended:
        _say(course)
    if course.error is not None or not course.ended:
        raise PollerError(f"{course.error or 'stopped'}\nRetried: {course.done}. {course.rest()}")
    if course.failed:
        raise typer.Exit(1)


def _say(course: Course) -> None:
    if not course.done + course.failed:
        say("Nothing to retry: there is no such dead letter.")
        return
    say(f"Retried: {course.done}; failed: {course.failed}")
    if course.failures:
        title = "Failed" if course.failed == len(course.failures) else f"Failed: the first {len(course.failures)}"
        say_table(title, ["id", "error"], [(one.id, one.error) for one in course.failures])
