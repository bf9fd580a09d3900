"""How the conformance suite opens, copies and empties the SQLite store. Copies are taken from the running store."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

from poller.stores.sqlite import Config, SqliteStore, open_store


class Harness:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "poller.db"
        self.store: SqliteStore | None = None

    async def open(self) -> SqliteStore:
        self.store = await open_store(Config(path=self.path))
        return self.store

    async def reopen(self) -> SqliteStore:
        await self.close()
        return await self.open()

    async def close(self) -> None:
        assert self.store is not None
        await self.store.close()

    def copy(self, name: str) -> None:
        with (
            contextlib.closing(sqlite3.connect(self.path)) as live,
            contextlib.closing(sqlite3.connect(self.folder / name)) as backup,
        ):
            live.backup(backup)

    def restore(self, name: str) -> None:
        shutil.copy(self.folder / name, self.folder / "restored")
        (self.folder / "restored").rename(self.path)

    def empty(self) -> None:
        self.path.unlink()

    def remove(self) -> None:
        """Nothing is left but files in its folder."""
