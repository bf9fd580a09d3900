"""What the commands share in speaking to people and to programs."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from poller.errors import ConfigError, PollerError

ConfigPath = Annotated[
    Path, typer.Option("--config", "-c", envvar="POLLER_CONFIG", help="The configuration file.", show_default=True)
]
Json = Annotated[bool, typer.Option("--json", help="JSON for programs instead of text for people.")]
DEFAULT_CONFIG = Path("poller.yaml")
WIDE = 200
"""Columns where the output is no terminal, so that nothing is cut in a log or a pipe."""


def console() -> Console:
    """Standard output; colours and the terminal's width only on a terminal."""
    return Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)


def say(sentence: str) -> None:
    """One line to standard output."""
    typer.echo(clean(sentence))


def say_json(value: object) -> None:
    """A value as indented JSON."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def say_table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; a value of None is shown as a dash."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head)
    for row in rows:
        table.add_row(*(Text("-" if value is None else clean(str(value))) for value in row))
    console().print(table)


def complain(message: str) -> None:
    """One readable block to standard error."""
    first, _, rest = clean(message).partition("\n")
    typer.echo(f"poller: {first}" + (f"\n{rest}" if rest else ""), err=True)


def clean(text: str) -> str:
    """Without control characters: what vendors send must not steer a terminal."""
    return "".join(character if character in "\n\t" or character.isprintable() else "�" for character in text)


def when(epoch: float | None) -> str | None:
    """`2026-01-31 10:00:00Z`."""
    return None if epoch is None else f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%d %H:%M:%SZ}"


def told(error: BaseException) -> int:
    """Complains of every error of a group. What is none of ours is a defect and keeps its traceback."""
    if isinstance(error, BaseExceptionGroup):
        return max(told(each) for each in error.exceptions)
    if not isinstance(error, PollerError):
        raise error
    complain(str(error))
    return 2 if isinstance(error, ConfigError) else 1
