"""The disk under the store: every statement is a boundary and may fail, and a death leaves the files as kill -9 leaves them."""

import ast
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from crash_fate import Fate
from crash_time import replace

_PARTS = ("file", "writes", "reads", "letters", "store", "migrations")
_CALLS = {"execute", "executemany", "executescript"}
_CODES = {
    "ioerr": sqlite3.SQLITE_IOERR,
    "full": sqlite3.SQLITE_FULL,
    "busy": sqlite3.SQLITE_BUSY,
    "after": sqlite3.SQLITE_IOERR,
}


class Disk:
    """The files of the store, from life to life."""

    fate: Fate
    names: dict[tuple[str, int], str]
    """File and line → the statement there."""

    def __init__(self, folder: Path, fate: Fate) -> None:
        self._folder = folder
        self._number = 0
        self.left: Path | None = None
        """Where the last death left its files."""
        Disk.fate = fate
        fate.on_death.append(self.died)
        self.path = self._next()

    def _next(self) -> Path:
        self._number += 1
        place = self._folder / f"life{self._number}"
        place.mkdir()
        return place / "poller.db"

    def died(self) -> None:
        """A copy in this very moment: what later happens to the dead one's files is nobody's."""
        before, self.path = self.path, self._next()
        copy(before, self.path)

    def events(self) -> int:
        """The last number of the log."""
        if not self.path.exists():
            return 0
        place = self.path.with_name("looked.db")
        copy(self.path, place)
        with closing(sqlite3.connect(place)) as store:
            if not store.execute("SELECT 1 FROM sqlite_master WHERE name = 'shard'").fetchone():
                return 0
            found = store.execute("SELECT seq FROM shard").fetchone()
        return found[0] if found is not None else 0

    def keep(self, name: str) -> None:
        """A backup."""
        copy(self.path, self._folder / f"{name}.db")

    def put(self, name: str | None) -> bool:
        """A backup in the store's place, or nothing. False where there is no such backup."""
        found = self._folder / f"{name}.db"
        if name is not None and not found.exists():
            return False
        self.path = self._next()
        if name is not None:
            copy(found, self.path)
        return True


def copy(source: Path, target: Path) -> None:
    """The database and its log, as the system has them."""
    for end in ("", "-wal"):
        one = source.with_name(source.name + end)
        if one.exists():
            shutil.copyfile(one, target.with_name(target.name + end))


def statements() -> dict[tuple[str, int], str]:
    """Every statement of the store, by where it stands."""
    folder = Path(__file__).parents[2] / "poller" / "stores" / "sqlite"
    found: dict[tuple[str, int], str] = {}
    for path in sorted(folder.rglob("*.py")):
        for function, node in _walk(ast.parse(path.read_text(encoding="utf-8")), ()):
            name = f"sql: {path.stem if path.stem != '__init__' else path.parent.name}.{function}: {ast.unparse(node.args[0])}"
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found[str(path), line] = name
    return found


def _walk(node: ast.AST, where: tuple[str, ...]) -> Iterator[tuple[str, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        inside = where
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inside = (*where, child.name)
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute) and child.func.attr in _CALLS:
            yield ".".join(where), child
        yield from _walk(child, inside)


def _hooked(factory: type[sqlite3.Connection]) -> type[sqlite3.Connection]:
    class Hooked(factory):  # type: ignore[misc, valid-type]
        """Tells of each statement before and after it."""

        def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
            return self._told(super().execute, sql, parameters)

        def executemany(self, sql: str, parameters: Iterable[Any]) -> sqlite3.Cursor:
            return self._told(super().executemany, sql, parameters)

        def executescript(self, sql: str) -> sqlite3.Cursor:
            return self._told(super().executescript, sql)

        def _told(self, call: Callable[..., sqlite3.Cursor], sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql == "ROLLBACK":
                return call(sql, *parameters)
            frame = sys._getframe(2)
            name = Disk.names.get((frame.f_code.co_filename, frame.f_lineno))
            if name is None:
                return call(sql, *parameters)
            Disk.fate.pass_by(f"{name} before")
            entry = Disk.fate.fault("sql", name)
            if entry is not None and entry.what != "after":
                raise _error(entry.what)
            result = call(sql, *parameters)
            if entry is not None:
                raise _error(entry.what)
            Disk.fate.pass_by(f"{name} after")
            return result

    return Hooked


def _error(what: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(f"the model says {what}")
    error.sqlite_errorcode = _CODES[what]
    return error


def install() -> None:
    """Before the store is opened."""
    Disk.names = statements()
    connect, hooked = sqlite3.connect, dict[type, type]()

    def connected(*args: Any, **keywords: Any) -> sqlite3.Connection:
        factory = keywords.get("factory", sqlite3.Connection)
        if factory not in hooked:
            hooked[factory] = _hooked(factory)
        found: sqlite3.Connection = connect(*args, **{**keywords, "factory": hooked[factory]})
        return found

    replace(sqlite3, "connect", connected)
