"""Whose the write-ahead log beside the database file is.

Nothing in a log names its file: SQLite plays the log that it finds into whatever file stands there. After somebody put a
backup in the file's place, that would mix two histories. So the lock file notes which files were open and how far the
file itself was when the log was last folded into it; a log that does not fit is moved aside, never used, never deleted.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from poller.stores.sqlite.queries import SQL


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
    log = log_of(path)
    epoch, seq = _folded(path) or (0, 0)
    return Note(pid, path.stat().st_ino, log.stat().st_ino if log.exists() else 0, epoch, seq)


def foreign(path: Path, before: Note) -> bool:
    """Whether the log that `before` speaks of now lies beside a file that it does not belong to.

    A file that is further than noted is no sign: a log may be folded by a process that is killed before it can note it.
    """
    log = log_of(path)
    if not path.exists() or not log.exists() or log.stat().st_ino != before.log:
        return False
    return path.stat().st_ino != before.file or (_folded(path) or (0, 0)) < (before.epoch, before.seq)


def set_aside(path: Path) -> Path:
    """Moves the log away; where it is now."""
    aside = path.with_name(f"{path.name}-wal.replaced")
    log_of(path).rename(aside)
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    return aside


def _folded(path: Path) -> tuple[int, int] | None:
    """(epoch, seq) in the file alone; None where it cannot be read."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            row = connection.execute(SQL["read_shard"], (0,)).fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else (row[0], row[1])
