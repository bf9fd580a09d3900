"""A database for each test, with the schema in it."""

import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from postgres_server import PATIENT, Server

from poller.stores.postgres import Config, PostgresStore, open_store
from poller.stores.postgres.pool import Timing

_numbers = itertools.count(1)
Opened = Callable[..., Awaitable[PostgresStore]]


@pytest.fixture
def database(postgres_server: Server) -> Iterator[str]:
    """Its name."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    postgres_server.clone(postgres_server.template, name)
    yield name
    postgres_server.drop(name)


@pytest.fixture
def config(postgres_server: Server, database: str) -> Callable[..., Config]:
    """A configuration for it. `port`, `user`, `password`: other ones in its connection string."""

    def made(*, dsn: str | None = None, **given: Any) -> Config:
        way = {name: given.pop(name) for name in ("port", "user", "password") if name in given}
        values = {"dsn": dsn or postgres_server.dsn(database, **way), "connections": 3} | given
        return Config.model_validate(values, context={"literals": True})

    return made


@pytest.fixture
def open_one(config: Callable[..., Config]) -> Opened:
    """Opens a store there. `timing`: shorter waits."""

    async def opened(*, timing: Timing | None = None, **given: Any) -> PostgresStore:
        return await open_store(config(**given), timing or PATIENT)

    return opened


@pytest.fixture
async def store(open_one: Opened) -> AsyncIterator[PostgresStore]:
    """One that is open."""
    opened = await open_one()
    yield opened
    await opened.close()
