"""`poller run`: the daemon."""

from typing import Annotated

import typer

from poller import app, commands, uv
from poller.cli.print import DEFAULT_CONFIG, ConfigPath, told
from poller.config import Settings
from poller.ending import end_within, ended
from poller.errors import PollerError

Once = Annotated[
    bool, typer.Option("--once", help="One pass of every rung of every endpoint, deliver everything, and end.")
]

_LATE = "poller: it did not end within shutdown_grace and is ended; nothing is lost by that"


def run(config: ConfigPath = DEFAULT_CONFIG, once: Once = False) -> None:
    """Poll and deliver until a signal. With --once the exit code is 1 when something is left."""
    settings = commands.settings_of(config, to_run=True)
    raise typer.Exit(uv.run(_to_the_end, settings, once))


async def _to_the_end(settings: Settings, once: bool) -> int:
    """The daemon, and an end that nothing delays: neither what is stopped nor what comes after everything is closed."""
    try:
        code = await app.run(settings, once=once, bound=lambda seconds: end_within(seconds, 1, _LATE))
    except (PollerError, BaseExceptionGroup) as error:
        code = told(error)
    ended(code)
    return code
