"""`poller recording fetch`: the file of one recording."""

import sys
from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from poller import commands
from poller.cli.print import DEFAULT_CONFIG, ConfigPath, Json, complain, say, say_json
from poller.options import show_duration

recording = typer.Typer(help="The files of recordings.", no_args_is_help=True)


@recording.command()
def fetch(
    source: Annotated[str, typer.Argument(help="The source's name in the configuration.")],
    recording_id: Annotated[str, typer.Argument(help="`recording_id` of the event.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file, or a folder in which the id gives the name.")
    ] = Path(),
    wait: Annotated[str, typer.Option(help="How long to wait for a file that is not there yet.")] = "5m",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Fetch the file of a recording; what broke off is gone on with."""
    settings = commands.settings_of(config)
    seconds = commands.duration(wait, "--wait")

    def waiting(why: str, pause: float) -> None:
        complain(f"{why}; trying again in {show_duration(round(pause))}")

    columns = (TextColumn(recording_id, markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("fetch", total=None)

        def show(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        found = anyio.run(
            lambda: commands.fetch(settings, source, recording_id, output, wait=seconds, progress=show, waiting=waiting)
        )
    if as_json:
        say_json({"path": str(found.path), "size": found.size, "content_type": found.content_type})
    else:
        say(f"{found.path}: {found.size} bytes, {found.content_type}")
