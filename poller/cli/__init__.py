"""The command line: `program` puts it together, one module per family of commands, `print` and `steps` are theirs in common."""

from poller.cli.program import main

__all__ = ["main"]
