"""What a program used while it ran: CPU with all its children, and memory. Not a benchmark itself."""

import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class Used:
    """`cpu`: user and system seconds of the process and all its children; `resident`: bytes held at most, at one time;
    `code`: how it ended, as subprocess says it.
    """

    cpu: float
    wall: float
    resident: int
    code: int


def run(
    command: Sequence[str],
    env: Mapping[str, str] | None = None,
    *,
    output: IO[bytes] | None = None,
    errors: IO[bytes] | None = None,
    until: Callable[[], bool] | None = None,
    by: signal.Signals = signal.SIGTERM,
    timeout: float = 900,
) -> Used:
    """Runs a program to its end; `until` says when it shall be ended `by` a signal. Killed after `timeout` seconds (TimeoutError)."""
    began, most = time.monotonic(), 0
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
    try:
        while True:
            most = max(most, _held(process.pid))
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            if time.monotonic() - began > timeout:
                raise TimeoutError(f"{command[0]} did not end within {timeout:.0f} s")
            if until is not None and until():
                process.send_signal(by)
                until = None
            time.sleep(0.02)
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
    return Used(usage.ru_utime + usage.ru_stime, time.monotonic() - began, most, process.returncode)


def _held(pid: int) -> int:
    """Bytes that a process and its children hold now. Not ru_maxrss: that begins with what the process which started it held."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError):  # it has just ended
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(_held(int(child)) for child in children)


def machine() -> str:
    """What the figures depend on."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    commit = "unknown"
    if shutil.which("git"):
        said = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        ).stdout
        commit = said.strip() or commit
    return f"{os.cpu_count()} cores, load {load} before, Python {platform.python_version()}, commit {commit}"
