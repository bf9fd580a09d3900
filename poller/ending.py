"""The end of the process: signals are taken over before anything else happens, and no thread delays the end.

Only the standard library, so that it costs nothing at the start.
"""

import os
import signal
import sys
import threading
import time
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LAST = 2.0
"""Seconds that the process has for its end when everything is closed."""


def take_over(code: int) -> None:
    """From now on SIGTERM and SIGINT end the process with this code, until a command listens to them itself."""

    def end(_number: int, _frame: FrameType | None) -> None:
        os._exit(code)  # nothing has begun yet, and what is being imported may catch whatever is raised here

    for each in SIGNALS:
        signal.signal(each, end)


def end_within(seconds: float, code: int, why: str = "") -> None:
    """Ends the process after so long with this code, unless it has ended by itself.

    A thread that waits for a name server or a disk cannot be cancelled, and the interpreter and its loop wait for threads.
    """

    def end() -> None:
        time.sleep(seconds)
        if why:
            sys.stderr.write(f"{why}\n")
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(code)

    threading.Thread(target=end, name="end", daemon=True).start()


def ended(code: int) -> None:
    """Everything is closed: what remains is bounded, and no further signal changes the exit code."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    end_within(LAST, code)
