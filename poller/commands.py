"""What the commands do. Nothing here prints; `cli*.py` does nothing but print."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from poller.admin_client import connect
from poller.app import opened
from poller.config import Settings, load
from poller.errors import ConfigError
from poller.kinds import kind_of, load_store_kind
from poller.log import set_up
from poller.operate import Work
from poller.operations import Operations
from poller.protocols import Facts
from poller.redact import Redactor, secrets_of


def settings_of(path: Path) -> Settings:
    """The configuration file with this process's environment. Raises ConfigError."""
    return load(path, os.environ)


def require_work(settings: Settings, path: Path) -> None:
    """Raises ConfigError where there is nothing to read or nowhere to publish."""
    missing = [name for name in ("sources", "sinks") if not getattr(settings, name)]
    if missing:
        raise ConfigError(
            "\n".join(f"{path}: `{name}` is empty: at least one is needed to run" for name in missing),
            [f"{name} (line 1): is empty: at least one is needed to run" for name in missing],
        )


async def migrate(settings: Settings) -> Facts:
    """Opens the store, which brings its schema up to date, and closes it. Raises StoreRefused or StoreFault."""
    store = await load_store_kind(kind_of(settings.store)).open_store(settings.store)
    try:
        return await store.facts()
    finally:
        await store.close()


@asynccontextmanager
async def operations(settings: Settings) -> AsyncIterator[Operations]:
    """Those of the running daemon; without one the store is opened here, and the same code answers."""
    async with connect(settings.admin.socket) as remote:
        if remote is not None:
            yield remote
            return
    set_up(form="console", level="warning", redact=Redactor(*secrets_of(settings)))
    async with opened(settings) as parts:
        yield Work(parts, running=False)
