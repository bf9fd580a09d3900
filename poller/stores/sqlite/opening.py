"""The ways into a store file: to run on it, to look into it, to bring its schema up to date."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anyio import to_thread

from poller.errors import StoreRefused
from poller.stores.sqlite import migrations
from poller.stores.sqlite.config import Config
from poller.stores.sqlite.faults import told
from poller.stores.sqlite.file import Database, connect, locate
from poller.stores.sqlite.lock import Lock
from poller.stores.sqlite.store import SqliteStore


async def open_store(config: Config) -> SqliteStore:
    """Takes the lock and applies migrations. Raises StoreRefused or StoreFault with a sentence that says what to do."""
    return await to_thread.run_sync(_open, config)


async def open_read(config: Config) -> SqliteStore:
    """For looking only, beside a daemon or without one; every write raises StoreRefused. Nothing is created or migrated."""
    return await to_thread.run_sync(_open_read, config)


def obstacles(config: Config) -> list[str]:
    """Why this process could not use the file here: a folder that is missing, or rights that are."""
    try:
        path = locate(config.path)
        wanted = {f"the folder {path.parent} of the store": path.parent, f"the store {path}": path}
        return [
            f"{what} is not writable for this user"
            for what, at in wanted.items()
            if at.exists() and not os.access(at, os.R_OK | os.W_OK, effective_ids=True)
        ]
    except StoreRefused as error:
        return [str(error)]
    except OSError as error:
        return [f"the store {config.path} cannot be reached: {error.strerror}"]


async def pending(config: Config) -> list[str]:
    """The names of the migrations that the file lacks; all of them where there is no file yet."""
    return await to_thread.run_sync(_pending, config)


async def migrate(config: Config) -> list[str]:
    """Applies them, under the lock; the names of what was applied."""
    return await to_thread.run_sync(_migrate, config)


def _open(config: Config) -> SqliteStore:
    path = locate(config.path)
    with _locked(path) as lock:
        return SqliteStore(Database(config, path, lock))


def _open_read(config: Config) -> SqliteStore:
    path = locate(config.path)
    if not path.exists():
        raise StoreRefused(f"there is no store at {path} yet: `poller run` creates it")
    with told(path):
        return SqliteStore(Database(config, path, None))


def _pending(config: Config) -> list[str]:
    path = locate(config.path)
    if not path.exists():
        return [file.stem for file in migrations.FILES]
    with told(path):
        connection = connect(path, "ro")
        try:
            return migrations.pending(connection, path)
        finally:
            connection.close()


def _migrate(config: Config) -> list[str]:
    missing = _pending(config)
    store = _open(config)
    store.close_now()
    return missing


@contextmanager
def _locked(path: Path) -> Iterator[Lock]:
    """Holds the lock from here on; releases it only when opening fails."""
    lock = Lock(path)
    try:
        with told(path):
            yield lock
    except BaseException:
        lock.release()
        raise
