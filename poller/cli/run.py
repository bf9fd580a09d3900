"""`poller run`: the daemon."""

from typing import Annotated

import typer

from poller import app, commands, uv
from poller.cli.print import DEFAULT_CONFIG, ConfigPath

Once = Annotated[
    bool, typer.Option("--once", help="One pass of every rung of every endpoint, deliver everything, and end.")
]


def run(config: ConfigPath = DEFAULT_CONFIG, once: Once = False) -> None:
    """Poll and deliver until a signal. With --once the exit code is 1 when something is left."""
    settings = commands.settings_of(config)
    commands.require_work(settings, config)
    raise typer.Exit(uv.run(app.run, settings, once=once))
