"""The one place where the database library's errors become ours."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poller.errors import PollerError, StoreFault, StoreFull, StoreRefused

_DAMAGED = (
    "is damaged or no SQLite database ({said}): stop the daemon, keep the file aside and put a backup in its place; "
    "without a backup start with an empty store: what Kafka already has is not published again"
)
_LOCKED = "is locked by another program ({said}): end what else has the file open"

_SENTENCES: dict[int, tuple[type[PollerError], str]] = {
    sqlite3.SQLITE_FULL: (
        StoreFull,
        "has no room left on its disk ({said}): free some; polling goes on by itself then",
    ),
    sqlite3.SQLITE_CORRUPT: (StoreRefused, _DAMAGED),
    sqlite3.SQLITE_NOTADB: (StoreRefused, _DAMAGED),
    sqlite3.SQLITE_READONLY: (
        StoreRefused,
        "cannot be written ({said}): give the daemon's user the right to write it and its folder",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        StoreRefused,
        "cannot be opened ({said}): check that it is a file, and the rights on it and its folder",
    ),
    sqlite3.SQLITE_BUSY: (StoreFault, _LOCKED),
    sqlite3.SQLITE_LOCKED: (StoreFault, _LOCKED),
    sqlite3.SQLITE_INTERRUPT: (StoreFault, "took longer than its deadline ({said}): check the disk's load"),
    sqlite3.SQLITE_IOERR: (StoreFault, "cannot use its disk ({said}): check the disk and the system's log"),
}


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Raises StoreFull, StoreFault or StoreRefused with a sentence instead of the library's errors."""
    try:
        yield
    except sqlite3.Error as error:
        raise sentence(path, error) from error


def sentence(path: Path, error: sqlite3.Error) -> PollerError:
    """What happened, where, what the library said, what to do."""
    kind, text = _SENTENCES.get(code(error), (StoreFault, "failed ({said})"))
    return kind(f"the store {path} {text.format(said=f'SQLite said: {error}')}")


def code(error: sqlite3.Error) -> int:
    """The library's primary code; 0 for what was raised without one."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
