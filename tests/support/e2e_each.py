"""A daemon that feeds a webhook from a store which is filled between its lives, and what is done to those that end at step boundaries."""

import asyncio
import json
import os
import signal
import sqlite3
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml
from config_parts import HOOK_KEY, webhook
from delivery_events import call_event, call_id
from e2e_lives import Lives
from stores_content import dead_events
from webhook_receiver import Got, Receiver, answer

from poller import segment
from poller.model import PageCommit
from poller.stores.sqlite import Config, open_store

COMMIT = "poller.one_by_one.part.Part._commits: self._commit before"
WRITE = "poller.one_by_one.part.Part._commit: self._store.attempted before"


class Installation:
    """The folder of the daemon. Its one phone system cannot be reached: calls are put into the log while no daemon runs."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.config = folder / "poller.yaml"
        self.store = folder / "poller.db"
        self.log = folder / "daemon.log"
        self.log.touch()
        self.sink = "crm"
        self.calls: list[str] = []
        self._url = url
        self._names = 0
        self.write()

    @property
    def environment(self) -> dict[str, str]:
        """The key to sign with."""
        return {**os.environ, "KEY": HOOK_KEY, "PASSWORD": "geheim"}

    def write(self, **sink: Any) -> None:
        """The configuration, with these keys of the sink."""
        office = {
            "kind": "thulium", "base_url": "http://127.0.0.1:9/api", "username": "me", "password": {"env": "PASSWORD"},
            "endpoints": {"connections": {"interval": "1h"}},
        }  # fmt: skip
        patient = webhook(self._url, schedule=["200ms"] * 40, probe="300ms", timeout="60s", concurrency=2)
        settings = {
            "store": {"kind": "sqlite", "path": str(self.store)},
            "shutdown_grace": "1s",
            "server": {"listen": "127.0.0.1:0"},
            "admin": {"socket": str(self.folder / "admin.sock")},
            "sinks": {self.sink: patient | sink},
            "sources": {"office": office},
        }
        self.config.write_text(yaml.safe_dump(settings), encoding="utf-8")

    def rename(self) -> str:
        """The sink gets a name that was never used; the old one."""
        old, self._names = self.sink, self._names + 1
        self.sink = f"crm{self._names}"
        return old

    async def fill(self, count: int = 4, size: int = 0) -> None:
        """New calls, two in each commit."""
        store = await open_store(Config(path=self.store))
        try:
            held = await store.hold(0)
            for _ in range(0, count, 2):
                names = [f"call{len(self.calls) + number}" for number in range(2)]
                self.calls += names
                events = [
                    call_event(name, seq, at=time.time(), size=size)
                    for seq, name in enumerate(names, held.last.seq + 1)
                ]
                packed = segment.pack(events, held.last, time.time())
                held = await store.commit_page(held, PageCommit(segment=packed))
        finally:
            await store.close()

    def ask(self, query: str, *values: Any) -> Any:
        """One value from the store."""
        with closing(sqlite3.connect(self.store, timeout=10)) as connection:
            row = connection.execute(query, values).fetchone()
        return row[0] if row else None

    @property
    def kept(self) -> int:
        """How many retries of the sink there are."""
        return int(self.ask("SELECT count(*) FROM retry WHERE sink = ?", self.sink))

    @property
    def caught_up(self) -> bool:
        """Everything is delivered or dead, and that is committed."""
        position = self.ask("SELECT seq FROM position WHERE sink = ?", self.sink) or 0
        return not self.kept and position == self.ask("SELECT max(last) FROM segment")

    def overwrite(self) -> None:
        """Another writer is at the store."""
        with closing(sqlite3.connect(self.store, timeout=10)) as connection, connection:
            connection.execute("UPDATE shard SET epoch = epoch + 1")

    async def dead(self) -> set[str]:
        """Ids of the events that are dead letters."""
        store = await open_store(Config(path=self.store))
        try:
            return {letter.event.id for letter in await dead_events(store)}
        finally:
            await store.close()

    def tail(self) -> str:
        """The end of the log, for the report of a failure."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-6000:]


class Inbox:
    """What the receiver has taken, and how it answers."""

    def __init__(self) -> None:
        self.bodies: dict[str, set[bytes]] = defaultdict(set)
        """By webhook-id, of what was answered with a 2xx."""
        self.calls = 0
        self.times = 0
        self.tries: dict[str, int] = defaultdict(int)
        self.mode = "takes"
        self.retry_after: int | None = None
        """Seconds that a refusal asks for."""

    async def __call__(self, got: Got, writer: asyncio.StreamWriter) -> None:
        """One request."""
        identifier = got.headers["webhook-id"]
        assert json.loads(got.body)["id"] == identifier
        self.calls += 1
        self.tries[identifier] += 1
        first = self.tries[identifier] == 1
        if self.mode == "refuses" or (self.mode == "refuses at first" and first):
            asks = {} if self.retry_after is None else {"retry_after": str(self.retry_after)}
            writer.write(answer(500, b"", **asks))
        elif self.mode == "hangs":
            await asyncio.Event().wait()
        else:
            self.times += 1
            self.bodies[identifier].add(got.body)
            writer.write(answer(204))


class Scene:
    """Before a life begins, while it lasts, and when it is over. This one: calls are delivered."""

    hold: str | None = None

    def __init__(self, installation: Installation, lives: Lives, inbox: Inbox, receiver: Receiver) -> None:
        self.at = installation
        self.lives = lives
        self.inbox = inbox
        self.receiver = receiver

    async def before(self) -> None:
        """No daemon runs."""
        await self.at.fill()

    async def during(self) -> None:
        """The life has just begun. Returns when everything that this is about has happened, or the life is over."""
        await self.lives.until(lambda: self.at.caught_up, "everything is delivered")

    async def after(self) -> None:
        """The daemon is gone."""
        self.inbox.mode = "takes"
        self.at.write()


class Failing(Scene):
    """Each event fails at first."""

    async def before(self) -> None:
        self.inbox.mode = "refuses at first"
        await super().before()


class Down(Scene):
    """The receiver fails until the sink is known to be down, and for a while longer."""

    async def before(self) -> None:
        self.inbox.mode, self.begin = "refuses", self.inbox.calls
        await self.at.fill(12)

    async def during(self) -> None:
        if await self.lives.until(lambda: self.inbox.calls > self.begin + 12, "it is probed"):
            self.inbox.mode = "takes"
            await super().during()


class Stopped(Scene):
    """SIGTERM, with what is answered not committed yet."""

    hold = COMMIT

    async def during(self) -> None:
        if await self.lives.until(lambda: self.lives.times(COMMIT), "a first commit"):
            await self.lives.send_signal(signal.SIGTERM)
            await self.lives.until(lambda: False, "it stops")


class Overwritten(Scene):
    """Another writer was at the store as outcomes are written."""

    hold = WRITE

    async def during(self) -> None:
        if await self.lives.until(lambda: self.lives.times(WRITE), "a first commit"):
            self.at.overwrite()
            self.lives.release()
            await super().during()


class _Kept(Scene):
    """The life before has left events that are to be tried again."""

    async def before(self) -> None:
        self.inbox.mode = "refuses"
        await super().before()
        await self.lives.begin()
        assert await self.lives.until(lambda: self.at.kept >= 2, "some are kept"), self.at.tail()
        await self.lives.end()
        self.inbox.mode = "takes"


class Renamed(_Kept):
    """The sink was renamed."""

    async def before(self) -> None:
        await super().before()
        self.at.write(renamed_from=self.at.rename())


class New(Scene):
    """A sink that never was."""

    async def before(self) -> None:
        await super().before()
        self.at.rename()
        self.at.write()


class TooMuch(_Kept):
    """More waits than may."""

    async def before(self) -> None:
        await super().before()
        self.inbox.mode = "hangs"
        await self.at.fill(12, size=4_000)
        self.at.write(max_pending="8KiB")
        self.dropped = self._count()

    async def during(self) -> None:
        await self.lives.until(lambda: self._count() > self.dropped, "some are dropped")

    def _count(self) -> int:
        return int(self.at.ask("SELECT count(*) FROM dead_event"))


SCENES: Mapping[str, type[Scene]] = {
    "plain": Scene,
    "failing": Failing,
    "down": Down,
    "stopped": Stopped,
    "overwritten": Overwritten,
    "renamed": Renamed,
    "too much": TooMuch,
    "new": New,
}
"""A boundary is tried in the first one that meets it."""


def expected(installation: Installation) -> dict[str, str]:
    """Event id → call of all that was ever put into the log."""
    return {call_id(call): call for call in installation.calls}
