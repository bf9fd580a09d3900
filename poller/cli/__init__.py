"""The command line: `program` puts it together, one module per family of commands, `print` and `steps` are theirs in common."""

import signal
import sys

from poller.ending import take_over

__all__ = ["main"]


def main() -> None:
    """The entry point of the process. A daemon that is told to stop while it starts has ended in order."""
    words = sys.argv[1:]
    daemon = words[:1] == ["run"]
    take_over(0 if daemon and "--once" not in words else 1)
    from poller.cli.program import main as program  # noqa: PLC0415 it takes a second, in which signals come too

    if not daemon:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    program()
