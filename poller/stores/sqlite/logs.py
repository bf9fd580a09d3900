"""Whose the write-ahead log beside the database file is.

Nothing in a log names its file: SQLite plays the log that it finds into whatever file stands there. After somebody put a
backup in the file's place, that would mix two histories. So the lock file notes which files were open and how far the
file itself was when the log was last folded into it; a log that does not fit is moved aside, never used, never deleted.
"""

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from poller.log import get_logger
from poller.stores.sqlite.faults import code
from poller.stores.sqlite.queries import SQL

_log = get_logger()


class Note(Struct, frozen=True, array_like=True):
    """What a process had open: inodes, and (epoch, seq) of the shard in the file without its log."""

    pid: int
    file: int = 0
    log: int = 0
    epoch: int = 0
    seq: int = 0


def log_of(path: Path) -> Path:
    """The write-ahead log."""
    return path.with_name(f"{path.name}-wal")


def look(path: Path, pid: int) -> Note:
    """The files as they are now."""
    epoch, seq = _folded(path) or (0, 0)
    return Note(pid, path.stat().st_ino, _inode(log_of(path)), epoch, seq)


def foreign(path: Path, before: Note) -> bool:
    """Whether the log that `before` speaks of now lies beside a file that it does not belong to.

    A file that is further than noted is no sign: a log may be folded by a process that is killed before it can note it.
    """
    file, log = _inode(path), _inode(log_of(path))
    if not file or not log or log != before.log:
        return False
    if file != before.file:
        return True
    folded, noted = _folded(path), (before.epoch, before.seq)
    if folded is None:
        return noted > (0, 0) and not _whole(path)
    return folded < noted


def set_aside(path: Path) -> Path:
    """Moves the log away, beside those that were moved before; where it is now."""
    names = (f"{path.name}-wal.replaced{number or ''}" for number in itertools.count())
    aside = next(place for name in names if not (place := path.with_name(name)).exists())
    log_of(path).rename(aside)
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    _log.warning(
        "log set aside",
        store=str(path),
        kept=str(aside),
        detail="it was written for another file than the one that stands there now, and is not used",
    )
    return aside


def _inode(path: Path) -> int:
    """0 where there is none. Looked at once: whoever looks into the database and closes it last deletes its log at that moment."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _whole(path: Path) -> bool:
    """Whether file and log are sound together. A fold that broke off (a kill, a full disk) leaves a file that only its own log completes.

    Raises sqlite3.Error where that cannot be found out now.
    """
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError as error:
        if code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            return False
        raise


def _folded(path: Path) -> tuple[int, int] | None:
    """(epoch, seq) in the file alone; None where it cannot be read."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            row = connection.execute(SQL["read_shard"], (0,)).fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else (row[0], row[1])
