"""The open database file: its lock, its two connections, and whether it is still the file that was opened."""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from poller.errors import Outdated, StoreFull, StoreRefused
from poller.stores.sqlite import migrations
from poller.stores.sqlite.config import Config
from poller.stores.sqlite.faults import told
from poller.stores.sqlite.queries import SQL

DEADLINE = 30.0
"""Seconds for the statements of one call."""
_BUSY = 5.0
"""Seconds to wait for another program that has the file locked."""
_CHECKPOINT_PAGES = 2_000
_STEPS = 20_000
"""Virtual machine steps between two looks at the deadline: about a millisecond."""

Stamp = tuple[int, int, int, int]


class Lock:
    """One daemon per file: an OS lock on a file beside it, so that it ends with the process however that ends."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.lock")
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreRefused(
                f"the store {path} cannot be locked: {error.strerror} ({self.path}): "
                "give the daemon's user the right to write in this folder"
            ) from error
        try:
            flock(self._file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._file, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            raise StoreRefused(
                f"the store {path} is in use by another poller (pid {owner}): stop it first, or give this one another path"
            ) from None
        except OSError as error:
            os.close(self._file)
            raise StoreRefused(
                f"the store {path} cannot be locked: {error.strerror}: put it on a local disk that knows locks"
            ) from error
        with suppress(OSError):  # the pid is for the sentence above only; the disk may be full
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Ends the lock; the file stays, since removing it would let two openers lock different files."""
        os.close(self._file)


class Database:
    """A writer, a reader, and the identity of the file behind them. Opened by `open_file`."""

    def __init__(self, config: Config, path: Path) -> None:
        self.config = config
        self.path = path
        self.deadline = 0.0
        self.writer = connect(path, "rwc")
        try:
            _prepare(self.writer, path)
            migrations.apply(self.writer, path)
            self.reader = connect(path, "ro")
        except BaseException:
            self.writer.close()
            raise
        self._stamp = self._look()
        for connection in (self.writer, self.reader):
            connection.set_progress_handler(self._overdue, _STEPS)

    def close(self) -> None:
        """Closes both connections; the last one folds the log into the file, unless the file is another one now."""
        if self.replaced():
            self._abandon()
            return
        self.reader.close()
        self.writer.close()

    def _abandon(self) -> None:
        # The log (-wal) belongs to the file that is gone. Folded into or found beside the new file it would damage that:
        # so it goes, and the read-only connection closes last, because the last one to close folds the log.
        for ending, inode in self._logs.items():
            side = Path(f"{self.path}{ending}")
            with suppress(OSError):
                if side.stat().st_ino == inode:
                    side.unlink()
        self.writer.close()
        self.reader.close()

    def replaced(self) -> bool:
        """Whether the path leads to another file, or somebody else wrote into this one."""
        try:
            return _stamp(self.path) != self._stamp
        except OSError:
            return True

    def check_replaced(self) -> None:
        """Raises Outdated when the file is not the one that was opened."""
        if self.replaced():
            raise Outdated(
                f"the store {self.path} was replaced, removed or changed by another program; it is opened anew"
            )

    def _look(self) -> Stamp:
        self._logs = {
            ending: Path(f"{self.path}{ending}").stat().st_ino
            for ending in ("-wal", "-shm")
            if Path(f"{self.path}{ending}").exists()
        }
        return _stamp(self.path)

    def limit(self) -> None:
        """Restarts the deadline."""
        self.deadline = time.monotonic() + DEADLINE

    def _overdue(self) -> bool:
        return time.monotonic() > self.deadline

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction; rolled back whatever is raised inside."""
        self.check_replaced()
        try:
            self.writer.execute("BEGIN IMMEDIATE")
            yield self.writer
            self.writer.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self.writer.execute("ROLLBACK")
            raise
        # Folding the log into the file is the only change that we make to it, and it happens within a commit.
        self._stamp = _stamp(self.path)

    def check_room(self) -> None:
        """Raises StoreFull when a configured limit is reached."""
        used, limit = self.used_bytes(), self.config.max_bytes
        if limit is not None and used >= limit:
            raise StoreFull(
                f"the store {self.path} uses {used} bytes and store.max_bytes is {limit}: raise it, or shorten retention or "
                "seen_ttl; polling goes on by itself when there is room"
            )
        free = shutil.disk_usage(self.path.parent).free
        if free < self.config.min_free:
            raise StoreFull(
                f"the disk of the store {self.path} has {free} bytes free and store.min_free is {self.config.min_free}: "
                "free some space; polling goes on by itself then"
            )

    def used_bytes(self) -> int:
        """Bytes of the pages in use."""
        (used,) = self.writer.execute(SQL["used_bytes"]).fetchone()
        return int(used)


def locate(path: Path) -> Path:
    """The file that is meant, links resolved, so that two names of one file meet at one lock."""
    found = path.expanduser().resolve()
    if not found.parent.is_dir():
        raise StoreRefused(
            f"the folder {found.parent} of the store {path} does not exist: create it, or correct store.path"
        )
    if found.is_dir():
        raise StoreRefused(f"the store {path} is a folder: store.path names the database file in it")
    return found


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection in autocommit mode; `mode`: rwc, rw or ro."""
    return sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    with told(path):
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    if mode != "wal":
        raise StoreRefused(f"the store {path} cannot use a write-ahead log: put it on a local disk")


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
