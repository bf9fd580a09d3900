"""A daemon over a ledger, for the command line to speak to."""

import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import anyio
from admin_ledger import Ledger
from cli_command import command, run_bytes


def until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Looks until it holds: what other processes write to files rings no bell."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Daemon:
    """Where it lives, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger()

    async def poller(self, *words: str) -> "CompletedProcess[bytes]":
        """`poller …` in the daemon's folder."""
        return await anyio.to_thread.run_sync(partial(run_bytes, self.folder, *words))

    async def stopped(self, number: signal.Signals, *words: str) -> tuple[bytes, bytes]:
        """The same, ended with code 1 by a signal once the ledger was asked three times: what it wrote to either side."""
        async with await anyio.open_process(command(*words), cwd=self.folder) as run:
            with anyio.fail_after(300):
                await self.ledger.asked_thrice.wait()
                run.send_signal(number)
                assert run.stdout is not None
                assert run.stderr is not None
                out = b"".join([part async for part in run.stdout])
                told = b"".join([part async for part in run.stderr])
                assert await run.wait() == 1
        return out, told
