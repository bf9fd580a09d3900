"""The schema, in ordered files `NNNN_name.sql`. A file that was released is never edited; the next change is a new file."""

import sqlite3
from pathlib import Path

from poller.errors import StoreRefused

OURS = 0x706F6C6C
"""`application_id` of our files: a database of another program is not touched."""

FILES = sorted(Path(__file__).parent.glob("[0-9]*.sql"))
NEWEST = len(FILES)


def version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version of the file, 0 when it is empty. Raises StoreRefused when it is not ours or newer than we know."""
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if owner != OURS and tables:
        raise StoreRefused(f"{path} is a database of another program: give store.path another file")
    if found > NEWEST:
        raise StoreRefused(
            f"the store {path} has schema version {found} and this poller knows {NEWEST}: run the newer poller that wrote it, "
            "or put back a backup from before the upgrade"
        )
    return int(found)


def pending(connection: sqlite3.Connection, path: Path) -> list[str]:
    """The names of the migrations that the file lacks."""
    return [file.stem for file in FILES[version(connection, path) :]]


def apply(connection: sqlite3.Connection, path: Path) -> list[str]:
    """Applies what is missing, each file in a transaction of its own; their names."""
    done = version(connection, path)
    for number, file in enumerate(FILES[done:], start=done + 1):
        script = file.read_text(encoding="utf-8")
        mark = f"PRAGMA application_id = {OURS};\nPRAGMA user_version = {number};"
        try:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\n{mark}\nCOMMIT;")
        except BaseException:
            connection.rollback()
            raise
    return [file.stem for file in FILES[done:]]
