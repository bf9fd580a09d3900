"""Lives of a daemon that end at a chosen step boundary."""

import json
import os
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Protocol

import anyio
from anyio.abc import Process
from e2e_counts import Counts

RUNNER = Path(__file__).with_name("e2e_crash_runner.py")
PATIENCE = 180.0
"""Seconds until something that must come has surely come, on a slow machine too. Nothing waits so long where all is well."""


class Lived(Protocol):
    """What has lives: an installation."""

    folder: Path
    config: Path
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        """With its secrets."""
        ...

    def tail(self) -> str:
        """The end of its log."""
        ...


class Lives:
    """The runner's process, and one life at a time."""

    def __init__(self, daemon: Lived, runner: Process, counts: Counts) -> None:
        self.daemon = daemon
        self.met: Counter[str] = Counter()
        """How often each boundary was met in all lives that are over."""
        self.killed: Counter[str] = Counter()
        """How many lives ended there."""
        self._runner = runner
        self._counts = counts
        self._said = b""
        self._pid = 0
        self._edge: str | None = None
        self._nth = 1

    async def answer(self) -> dict[str, Any]:
        """The runner's next word."""
        assert self._runner.stdout
        with anyio.fail_after(PATIENCE):
            while b"\n" not in self._said:
                self._said += await self._runner.stdout.receive()
        line, self._said = self._said.split(b"\n", 1)
        return dict(json.loads(line))

    async def _tell(self, **what: Any) -> None:
        assert self._runner.stdin
        await self._runner.stdin.send(json.dumps(what).encode() + b"\n")

    async def begin(self, edge: str | None = None, nth: int = 1, *, hold: str | None = None) -> None:
        """A life begins; its log is its own. It ends at the edge's nth time; one task waits at `hold` until `release`."""
        os.truncate(self.daemon.log, 0)
        self._counts.clear()
        self._edge, self._nth = edge, nth
        await self._tell(edge=edge, nth=nth, hold=hold)
        self._pid = (await self.answer())["pid"]

    def times(self, edge: str) -> int:
        """How often this life has met it."""
        return self._counts.of(edge)

    def hits(self) -> Counter[str]:
        """Every boundary that this life has met."""
        return self._counts.all()

    def release(self) -> None:
        """What was held goes on."""
        self._counts.release()

    async def send_signal(self, number: int) -> None:
        """To the life, if it still lasts."""
        await self._tell(end=number)

    @property
    def lasts(self) -> bool:
        """Whether the life is not over."""
        return Path(f"/proc/{self._pid}").exists()

    async def until(self, what: Callable[[], object], why: str) -> bool:
        """Waits until something is so; False when the life is over before."""
        deadline = time.monotonic() + PATIENCE
        while self.lasts:
            if what():
                return True
            assert time.monotonic() < deadline, f"in vain: {why}\n{self.daemon.tail()}"
            await anyio.sleep(0.03)
        return False

    async def until_said(self, text: str) -> bool:
        """Waits for words in the log of this life."""
        return await self.until(lambda: text in self.daemon.log.read_text(encoding="utf-8", errors="replace"), text)

    async def end(self) -> int | None:
        """Ends the life, if it still lasts. Its wait status when it had ended by itself, though not at its edge."""
        own = not self.lasts
        if not own:
            await self.send_signal(signal.SIGKILL)
        status = int((await self.answer())["status"])
        self.met += self.hits()
        if self.at_edge:
            assert self._edge is not None
            self.killed[self._edge] += 1
        return status if own and not self.at_edge else None

    @property
    def at_edge(self) -> bool:
        """Whether the life has ended at its edge."""
        return self._edge is not None and self.times(self._edge) >= self._nth


@asynccontextmanager
async def lives_of(daemon: Lived) -> AsyncIterator[Lives]:
    """Starts the runner; ends it, and with it the life."""
    counts = daemon.folder / "counts"
    shared = Counts(counts)
    with daemon.log.open("ab") as log:
        async with await anyio.open_process(
            [sys.executable, str(RUNNER), str(daemon.config), str(counts)],
            env=daemon.environment,
            stderr=log,
        ) as runner:
            try:
                lives = Lives(daemon, runner, shared)
                assert (await lives.answer())["ready"]
                yield lives
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(10, shield=True):
                    assert runner.stdin
                    await runner.stdin.aclose()
                    await runner.wait()


def copy_store(store: Path, to: Path) -> None:
    """A copy as a backup tool takes it, of a store that may be running."""
    with closing(sqlite3.connect(store, timeout=10)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def put_store(copy: Path | None, store: Path) -> None:
    """Puts a copy in the place of the store; None: an emptied volume."""
    for ending in ("", "-wal", "-shm"):
        store.with_name(store.name + ending).unlink(missing_ok=True)
    if copy is not None:
        shutil.copyfile(copy, store)
