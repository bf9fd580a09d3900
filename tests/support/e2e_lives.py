"""Lives of a daemon that end at a chosen step boundary, and what is done to it meanwhile."""

import json
import os
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from aiokafka import AIOKafkaProducer
from anyio.abc import Process
from e2e_daemon import Daemon, Trial
from e2e_edges import edges

RUNNER = Path(__file__).with_name("e2e_crash_runner.py")
LIFE = 20.0
"""Seconds after which a life that has not met its edge is ended."""


class Lives:
    """The runner's process, and one life at a time."""

    def __init__(self, daemon: Daemon, runner: Process) -> None:
        self.daemon = daemon
        self._runner = runner
        self._said = b""
        self._pid = 0

    async def answer(self) -> dict[str, Any]:
        """The runner's next word; a wait that is cancelled takes nothing away."""
        assert self._runner.stdout
        while b"\n" not in self._said:
            self._said += await self._runner.stdout.receive()
        line, self._said = self._said.split(b"\n", 1)
        return dict(json.loads(line))

    async def _tell(self, **what: Any) -> None:
        assert self._runner.stdin
        await self._runner.stdin.send(json.dumps(what).encode() + b"\n")

    async def begin(self, edge: str | None = None, nth: int = 1) -> None:
        """A life begins; its log is its own."""
        os.truncate(self.daemon.log, 0)
        await self._tell(edge=edge, nth=nth)
        self._pid = (await self.answer())["pid"]

    async def send_signal(self, number: int) -> None:
        """To the life, if it still lasts."""
        await self._tell(end=number)

    async def end(self, seconds: float, number: int = signal.SIGKILL) -> tuple[int, Counter[str], bool]:
        """Waits for the end: wait status, edges met, and whether it came by itself."""
        own = False
        found: dict[str, Any] = {}
        with anyio.move_on_after(seconds):
            found = await self.answer()
            own = True
        if not own:
            await self.send_signal(number)
            found = await self.answer()
        return int(found["status"]), Counter(found["hits"]), own

    async def until(self, what: Callable[[], object], seconds: float = LIFE) -> bool:
        """Waits until something is so; False when the life is over before, or never comes to it."""
        deadline = time.monotonic() + seconds
        there = Path(f"/proc/{self._pid}")
        while there.exists() and time.monotonic() < deadline:  # noqa: ASYNC240 a look into /proc does not wait
            if what():
                return True
            await anyio.sleep(0.03)
        return False


@asynccontextmanager
async def lives_of(daemon: Daemon) -> AsyncIterator[Lives]:
    """Starts the runner; ends it, and with it the life."""
    with daemon.log.open("ab") as log:
        async with await anyio.open_process(
            [sys.executable, str(RUNNER), str(daemon.config)],
            env=daemon.environment | {"PYTHONPATH": str(RUNNER.parent)},
            stderr=log,
        ) as runner:
            try:
                lives = Lives(daemon, runner)
                assert (await lives.answer())["ready"]
                yield lives
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(10, shield=True):
                    assert runner.stdin
                    await runner.stdin.aclose()
                    await runner.wait()


class Scene:
    """What is done to a life: before it begins, while it lasts, and when it is over. This one: nothing but new calls."""

    def __init__(self, trial: Trial, old_store: Path) -> None:
        self.trial = trial
        self.daemon = trial.daemon
        self.world = trial.sims.world
        self.old_store = old_store
        """A copy from the beginning, behind what was published since."""

    async def before(self) -> None:
        """No daemon runs."""

    async def during(self, lives: Lives) -> None:
        """The life has just begun, and may end at any time."""

    async def after(self) -> None:
        """The daemon was killed."""

    async def delivering(self, lives: Lives) -> bool:
        """Waits until the life has delivered something; False when it ends before. More is under way then."""
        before = delivered(self.daemon.store)
        if not await lives.until(lambda: delivered(self.daemon.store) > before):
            return False
        self.world.clock.move(0.5)
        return True


class Stopped(Scene):
    """SIGTERM under load."""

    async def during(self, lives: Lives) -> None:
        if await self.delivering(lives):
            await lives.send_signal(signal.SIGTERM)


class Fenced(Scene):
    """Another producer takes the transactional id over."""

    async def during(self, lives: Lives) -> None:
        if await self.delivering(lives):
            prefix = self.daemon.settings["sinks"]["kafka"]["transactional_id_prefix"]
            producer = AIOKafkaProducer(
                bootstrap_servers=self.trial.bootstrap,
                transactional_id=f"{prefix}.kafka.0",
                transaction_timeout_ms=10_000,
            )
            await producer.start()
            await producer.stop()
            self.world.clock.move(1.5)


class Overwritten(Scene):
    """Another writer was at the store."""

    async def during(self, lives: Lives) -> None:
        if await self.delivering(lives):
            connection = sqlite3.connect(self.daemon.store, timeout=5)
            with connection:
                connection.execute("UPDATE shard SET epoch = epoch + 1")
            connection.close()
            self.world.clock.move(1.5)


class FilterIgnored(Scene):
    """The vendors answer with everything that they have."""

    async def before(self) -> None:
        for site in self.trial.sims.sites.values():
            site.faults.force("filter_ignored", 4)

    async def after(self) -> None:
        for site in self.trial.sims.sites.values():
            site.faults.calm()


class RolledBack(Scene):
    """A backup was put in the store's place."""

    async def before(self) -> None:
        put_store(self.old_store, self.daemon.store)


class FirstStart(Scene):
    """There is no store yet; the right one comes back afterwards."""

    async def before(self) -> None:
        copy_store(self.daemon.store, self.daemon.folder / "aside.db")
        put_store(None, self.daemon.store)

    async def after(self) -> None:
        put_store(self.daemon.folder / "aside.db", self.daemon.store)


class Renamed(Scene):
    """The transactional id was changed in the configuration, to one that was never used."""

    async def before(self) -> None:
        sink = self.daemon.settings["sinks"]["kafka"]
        name, _, number = sink["transactional_id_prefix"].partition("_")
        sink["transactional_id_prefix"] = f"{name}_{int(number or 0) + 1}"
        self.daemon.write()


class Hanging(Scene):
    """A stranger's transaction is open on the progress partition."""

    async def before(self) -> None:
        topic = self.daemon.settings["sinks"]["kafka"]["progress_topic"]
        self.stranger = AIOKafkaProducer(
            bootstrap_servers=self.trial.bootstrap, transactional_id=f"{topic}-stranger", transaction_timeout_ms=60_000
        )
        await self.stranger.start()
        await self.stranger.begin_transaction()
        await (await self.stranger.send(topic, b"open", key=b"stranger", partition=0))

    async def after(self) -> None:
        await self.stranger.abort_transaction()
        await self.stranger.stop()


SCENES = {
    "plain": Scene,
    "stopped": Stopped,
    "first start": FirstStart,
    "renamed": Renamed,
    "rolled back": RolledBack,
    "fenced": Fenced,
    "overwritten": Overwritten,
    "filter ignored": FilterIgnored,
    "hanging": Hanging,
}
"""In the order in which a boundary's scene is chosen."""


def copy_store(store: Path, to: Path) -> None:
    """A copy as a backup tool takes it, of a store that may be running."""
    with sqlite3.connect(store, timeout=10) as source, sqlite3.connect(to) as target:
        source.backup(target)
    source.close()
    target.close()


def delivered(store: Path) -> int:
    """Up to where the sink has everything, as the store knows it."""
    connection = sqlite3.connect(store, timeout=10)
    try:
        return int(connection.execute("SELECT max(seq) FROM position").fetchone()[0] or 0)
    finally:
        connection.close()


def put_store(copy: Path | None, store: Path) -> None:
    """Puts a copy in the place of the store; None: an emptied volume."""
    for ending in ("", "-wal", "-shm"):
        store.with_name(store.name + ending).unlink(missing_ok=True)
    if copy is not None:
        shutil.copyfile(copy, store)


def all_edges() -> list[str]:
    """The names of all boundaries."""
    return [edge.name for edge in edges()]
