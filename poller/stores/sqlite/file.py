"""The open database file: its two connections, and whether it is still the file that was opened."""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from poller.errors import Outdated, StoreFull, StoreRefused
from poller.options import show_size
from poller.private import touch
from poller.stores.sqlite import logs, migrations
from poller.stores.sqlite.config import Config
from poller.stores.sqlite.faults import code
from poller.stores.sqlite.lock import Lock
from poller.stores.sqlite.queries import SQL

DEADLINE = 30.0
"""Seconds for the statements of one call."""
_CHECK_DEADLINE = 10.0
_BUSY = 5.0
"""Seconds to wait for another program that has the file locked."""
_STEPS = 20_000
"""Virtual machine steps between two looks at the deadline: about a millisecond."""
_SETTINGS = """
PRAGMA synchronous = FULL;
PRAGMA cache_size = -16000; -- KiB, taken as needed; with less a look-up among millions of ids costs twice as much
PRAGMA wal_autocheckpoint = 8000; -- pages: pages that many commits touch are written to the file once
PRAGMA journal_size_limit = 67108864;
"""

_Stamp = tuple[int, int, int, int]


class Timed(sqlite3.Connection):
    """A connection whose statements end at a deadline."""

    deadline = float("inf")

    def limit(self, seconds: float) -> None:
        """Starts the deadline anew."""
        self.deadline = time.monotonic() + seconds

    def overdue(self) -> bool:
        """True interrupts the statement."""
        return time.monotonic() > self.deadline


class Database:
    """A writer, a reader, and the identity of the file behind them."""

    def __init__(self, config: Config, path: Path, lock: Lock | None) -> None:
        """Without a lock for looking only."""
        self.config = config
        self.path = path
        self.lock = lock
        if lock is not None and (before := lock.last()) is not None and logs.foreign(path, before):
            logs.set_aside(path)
        if lock is not None:
            touch(path)  # its log gets the mode of the file
        self.writer = connect(path, "rwc" if lock else "ro")
        try:
            if lock is None:
                _check_schema(self.writer, path)
            else:
                _prepare(self.writer, path)
            self.writer.executescript(SQL["numbers"])
            self.reader = connect(path, "ro")
            # Reads once: only a connection that has the log open keeps the other one from folding it when that closes.
            self.reader.execute(SQL["counters"]).fetchall()
            self._remember()
        except BaseException:
            self.writer.close()
            raise

    def _remember(self) -> None:
        self._stamp = _stamp(self.path)
        if self.lock is not None:
            self.lock.note(logs.look(self.path, os.getpid()))

    def close(self) -> None:
        """Closes both connections; the last one folds the log into the file, unless somebody changed the file."""
        if self.replaced():
            # The connection that cannot write closes last and leaves the log alone: `logs.foreign` judges it at the next opening.
            self.writer.close()
            self.reader.close()
        else:
            self.reader.close()
            self.writer.close()
            if self.lock is not None:
                with suppress(OSError):  # where another program looks into the file, the log stays
                    self.lock.note(logs.look(self.path, os.getpid()))

    def replaced(self) -> bool:
        """Whether the path leads to another file now, or somebody else wrote into this one."""
        try:
            return _stamp(self.path) != self._stamp
        except OSError:
            return True

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction, rolled back whatever is raised inside. Raises Outdated when the file is another one."""
        if self.replaced():
            raise Outdated(
                f"the store {self.path} was replaced, removed or changed by another program; it is opened anew"
            )
        try:
            self.writer.execute("BEGIN IMMEDIATE")
            yield self.writer
            self.writer.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self.writer.execute("ROLLBACK")
            raise
        # The file itself changes only when the log is folded into it, and that happens within a commit.
        with suppress(OSError):
            now = _stamp(self.path)
            if now != self._stamp and now[:2] == self._stamp[:2]:
                self._remember()

    def check_room(self) -> None:
        """Raises StoreFull when a configured limit is reached."""
        (used,) = self.writer.execute(SQL["used_bytes"]).fetchone()
        limit, least = self.config.max_bytes, self.config.min_free
        if limit is not None and used >= limit:
            raise StoreFull(
                f"the store {self.path} uses {used} bytes and store.max_bytes is {show_size(limit)}: raise it, or shorten "
                "retention or seen_ttl; polling goes on by itself when there is room"
            )
        free = shutil.disk_usage(self.path.parent).free
        if free < least:
            raise StoreFull(
                f"the disk of the store {self.path} has {free} bytes free and store.min_free is {show_size(least)}: "
                "free some; polling goes on by itself then"
            )


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


def connect(path: Path, mode: str) -> Timed:
    """A connection in autocommit mode; `mode`: rwc or ro."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
        factory=Timed,
    )
    connection.set_progress_handler(connection.overdue, _STEPS)
    return connection


def _prepare(connection: Timed, path: Path) -> None:
    found = migrations.version(connection, path)  # before anything is written: it may be another program's
    log = logs.log_of(path)
    unclean = log.exists() and log.stat().st_size > 0
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreRefused(f"the store {path} cannot use a write-ahead log: put it on a local disk")
    connection.executescript(_SETTINGS)
    # A file that can only be read opens without a word.
    connection.executescript(f"BEGIN IMMEDIATE; PRAGMA user_version = {found}; ROLLBACK;")
    if unclean:
        _check_pages(connection)
    _fold(connection)
    migrations.apply(connection, path)


def _fold(connection: Timed) -> None:
    """Without room the log stays as it is: nothing is lost, and whoever writes next says it."""
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.OperationalError as error:
        if code(error) != sqlite3.SQLITE_FULL:
            raise


def _check_pages(connection: Timed) -> None:
    # After a kill only: whatever was put in place of the file meanwhile may not fit to the log beside it.
    connection.limit(_CHECK_DEADLINE)
    try:
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return  # a very large file: what is damaged is found when it is read
    finally:
        connection.deadline = float("inf")
    if said != "ok":
        damage = sqlite3.DatabaseError(said)
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage


def _check_schema(connection: Timed, path: Path) -> None:
    if waiting := migrations.pending(connection, path):
        raise StoreRefused(f"the store {path} lacks the migrations {', '.join(waiting)}: run `poller migrate`")


def _stamp(path: Path) -> _Stamp:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
