"""How the conformance suite opens, copies and empties the PostgreSQL store: a database lent for each test, copies by the server."""

from pathlib import Path

import psycopg
from postgres_server import PATIENT, running

from poller.stores.postgres import Config, PostgresStore, open_read, open_store

FIXTURE = "postgres_server"
"""What has to run before a harness is made."""


class Harness:
    def __init__(self, _folder: Path) -> None:
        self.server = running()
        self.name = self.server.lend()
        self.copies: list[str] = []
        self.store: PostgresStore | None = None
        self.shards = 16

    def config(self, name: str) -> Config:
        given = {"dsn": self.server.dsn(name), "connections": 2, "shards": self.shards}
        return Config.model_validate(given, context={"literals": True})

    async def open(self) -> PostgresStore:
        self.store = await open_store(self.config(self.name), PATIENT)
        return self.store

    async def look(self, name: str) -> PostgresStore:
        """Into a copy."""
        return await open_read(self.config(f"{self.name}_{name}"), PATIENT)

    async def reopen(self) -> PostgresStore:
        await self.close()
        return await self.open()

    async def close(self) -> None:
        assert self.store is not None
        await self.store.close()

    def copy(self, name: str) -> None:
        self.copies.append(f"{self.name}_{name}")
        self.server.clone(self.name, self.copies[-1])

    def restore(self, name: str) -> None:
        self.server.drop(self.name)
        self.server.clone(f"{self.name}_{name}", self.name)

    def remove(self) -> None:
        self.server.give_back(self.name)
        for name in self.copies:
            self.server.drop(name)

    def empty(self) -> None:
        with psycopg.connect(self.server.dsn(self.name), autocommit=True) as connection:
            connection.execute("DROP SCHEMA poller CASCADE")
