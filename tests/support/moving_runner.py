"""`poller …` that is killed (SIGKILL) at its KILL_AT-th step boundary, and says at its end how many it came to."""

import os
import signal
import sys
import threading

import e2e_edges

MODULES = (
    "poller.moving.leave",
    "poller.moving.arrive",
    "poller.moving.begin",
    "poller.moving.back",
    "poller.settle",
    "poller.sinks.kafka.lane",
    "poller.sinks.kafka.producer",
    "poller.stores.sqlite.store",
    "poller.stores.postgres.database",
    "poller.stores.postgres.leases",
)
RUNNER = __file__


class Fuse:
    """Counts the boundaries; at the chosen one the process ends as if its power had been cut."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.met = 0

    def __call__(self, _name: str) -> None:
        self.met += 1
        if self.met == self.at:
            signal.pthread_kill(threading.get_ident(), signal.SIGKILL)


def main() -> None:
    """The command line."""
    fuse = Fuse(int(os.environ["KILL_AT"]))
    e2e_edges.install(fuse, MODULES)
    from poller.cli import main as cli  # noqa: PLC0415 only after the edges are installed

    try:
        cli()
    finally:
        sys.stderr.write(f"boundaries: {fuse.met}\n")


if __name__ == "__main__":
    main()
