"""`poller run` whose own pauses are short: for those who ask what it does, not how long it waits. `e2e_hurried.py CONFIGURATION`."""

import sys
from pathlib import Path

from poller.clock import SystemClock

LONGEST = 1.5
"""Seconds that the daemon's own waiting takes at most: its growing pauses, and its minute of watching for another installation."""


class Hurried(SystemClock):
    """The machine's clock, but for waiting."""

    async def sleep(self, seconds: float) -> None:
        """Not longer than that."""
        await super().sleep(min(seconds, LONGEST))


def main() -> None:
    """The daemon, until a signal."""
    from poller import app, commands, uv  # noqa: PLC0415 whoever imports this may have to change them first

    sys.exit(uv.run(app.run, commands.settings_of(Path(sys.argv[1])), clock=Hurried()))


if __name__ == "__main__":
    main()
