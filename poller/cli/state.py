"""`poller state export` and `import`: a store moves to another one."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import anyio
import typer

from poller.cli.print import DEFAULT_CONFIG, ConfigPath, Json, say, say_json
from poller.commands import settings_of
from poller.moving.arrive import bring
from poller.moving.leave import export

File = Annotated[Path, typer.Argument(help="The file of the export.")]


def register(app: typer.Typer) -> None:
    """Adds these commands to `poller state`."""
    app.command("export")(state_export)
    app.command("import")(state_import)


def state_export(file: File, config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Write what the store holds into a file, for another store. No daemon opens this one again."""
    settings = settings_of(config)
    counts = anyio.run(lambda: export(settings, file.absolute()))
    _say(counts, f"Exported to {file}", as_json=as_json)


def state_import(file: File, config: ConfigPath = DEFAULT_CONFIG, as_json: Json = False) -> None:
    """Make a new store of the file of an export. Run it again where it was stopped."""
    settings = settings_of(config)
    counts = anyio.run(lambda: bring(settings, file.absolute()))
    _say(counts, f"Imported from {file}", as_json=as_json)


def _say(counts: Counter[str], done: str, *, as_json: bool) -> None:
    if as_json:
        say_json(dict(counts))
    else:
        held = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(counts.items()))
        say(f"{done}: {held or 'nothing was in it'}")
