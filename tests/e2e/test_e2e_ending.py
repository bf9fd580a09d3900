"""The end of a real process: at any early moment, and with a name look-up that never returns."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest
from hooked_daemon import PATIENCE, HookedDaemon, until
from webhook_case import HMAC

pytestmark = [pytest.mark.timeout(1200), pytest.mark.anyio]
CODE = "import poller.cli; poller.cli.main()"
HANGS = """
import socket, sys, threading
from pathlib import Path
real, never = socket.getaddrinfo, threading.Event()
def getaddrinfo(host, *rest, **more):
    if str(host).endswith("hangs.example"):
        Path("asked").touch()
        never.wait()
    return real(host, *rest, **more)
socket.getaddrinfo = getaddrinfo
import poller.cli
poller.cli.main()
"""
"""A program that runs `poller` where a name server takes questions and never answers: the thread that asks is lost."""


@contextmanager
def started(folder: Path, code: str, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`poller` with these words; its log in `log`."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            cwd=folder,
            env={**os.environ, "PASSWORD": "x", "KEY": HMAC},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)


def hook(url: str, **more: str) -> dict[str, object]:
    return {"url": url, "secrets": [{"env": "KEY"}], "allow": ["127.0.0.1"], "allow_http": True, **more}


def catches(process: "subprocess.Popen[bytes]", number: int) -> bool:
    """Whether the process has taken the signal over, as the kernel sees it."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel's word about signals is Linux's")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", [("run",), pytest.param(("run", "--once"), marks=pytest.mark.slow)], ids=" ".join)
async def test_a_signal_at_any_early_moment_ends_it_in_order(
    tmp_path: Path, command: tuple[str, ...], number: signal.Signals
) -> None:
    """From the first moment at which it is taken over, while modules are imported, until long after everything runs."""
    HookedDaemon(tmp_path, {"hook": hook("http://127.0.0.1:9/")}, {})
    for wait in (0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.5):
        with started(tmp_path, CODE, *command) as process:
            await until(partial(catches, process, signal.SIGTERM))
            await anyio.sleep(wait)
            process.send_signal(number)
            code = process.wait(PATIENCE)
        said = (tmp_path / "log").read_text()
        assert code == 0 or (code == 1 and "--once" in command), (wait, code, said)
        assert "Traceback" not in said, (wait, said)


async def test_another_command_that_is_told_to_stop_has_not_done_its_work(tmp_path: Path) -> None:
    with started(tmp_path, CODE, "validate") as process:
        await until(lambda: catches(process, signal.SIGTERM))
        process.terminate()
        assert process.wait(PATIENCE) == 1


async def test_a_thread_that_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    code = (
        "import threading; from poller.ending import end_within; "
        "threading.Thread(target=threading.Event().wait).start(); end_within(0.1, 7, 'too late')"
    )
    with started(tmp_path, code) as process:
        assert process.wait(PATIENCE) == 7
    assert (tmp_path / "log").read_text() == "too late\n"


async def test_a_name_that_is_looked_up_for_ever_delays_no_end(tmp_path: Path) -> None:
    daemon = HookedDaemon(tmp_path, {"hook": hook("http://hangs.example/", timeout="5m")}, {})
    with (tmp_path / "poller.yaml").open("a") as config:
        config.write("shutdown_grace: 6s\n")
    await daemon.fill("a", "b")
    with started(tmp_path, HANGS, "run") as process:
        await until(lambda: (tmp_path / "asked").exists() or process.poll() is not None, daemon.log)
        process.terminate()
        code = process.wait(PATIENCE)  # without a bound it would wait for the thread, for ever
    assert code == 0, daemon.log()
    assert '"stopped"' in daemon.log(), "everything is closed before"
