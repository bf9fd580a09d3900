"""A PostgreSQL server of the tests' own: a new cluster in a folder of its own, on a free port, stopped at the end."""

import asyncio
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, LiteralString

import anyio
import psycopg
from psycopg.sql import SQL, Identifier

from poller.simulate.broker import free_port
from poller.stores.postgres import Config, migrate
from poller.stores.postgres.pool import Timing

PATIENT = Timing(call=300, connect=120, free=120, statement=120, lock=120, idle=120)
"""For tests that are not about waiting: the machine may be slow."""
PASSWORD = "of-the-tests"
_SETTINGS = """
listen_addresses = '127.0.0.1'
max_connections = 60
log_min_messages = warning
lc_messages = 'C'
"""
_FAST = """
shared_buffers = 32MB
fsync = off
full_page_writes = off
"""
"""A killed server loses nothing by it, only a machine that loses power does."""

_EMPTY = """
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT relname FROM pg_class
    WHERE relnamespace = 'poller'::regnamespace AND relkind = 'r' AND relname <> 'migration' ORDER BY 1 LOOP
        EXECUTE format('DELETE FROM poller.%I', name);
    END LOOP;
END
$$
"""


def folder_of_programs() -> Path | None:
    """Where the server's programs are; None: not installed. The newest one counts, unless POLLER_TEST_POSTGRES names a folder."""
    if named := os.environ.get("POLLER_TEST_POSTGRES"):
        return Path(named)
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    linked = shutil.which("initdb")
    found = [*packaged, *([Path(linked).resolve().parent] if linked else [])]
    return next((path for path in found if (path / "postgres").exists() and (path / "pg_ctl").exists()), None)


def missing() -> str:
    """What keeps the server from running here; empty: nothing."""
    return (
        "" if folder_of_programs() else "PostgreSQL 14 or newer is not installed (Debian: apt-get install postgresql)"
    )


class Server:
    """One cluster. Root must not run a server, so root runs it as another user."""

    template = "template_poller"

    def __init__(self, *, durable: bool = False, data: Path | None = None) -> None:
        """`durable`: as a server in use is; tests need not wait for the disk. `data`: where its files are, if not with its log and socket."""
        programs = folder_of_programs()
        assert programs is not None
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="poller-postgres-", dir="/tmp"))
        self.data = data or self.folder / "data"
        self.port = free_port()
        self._free: list[str] = []
        self._numbers = itertools.count(1)
        self._user = _unprivileged() if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self._create(_SETTINGS if durable else _SETTINGS + _FAST)

    def dsn(
        self, database: str = "postgres", *, user: str = "postgres", password: str = PASSWORD, port: int = 0
    ) -> str:
        """By TCP, with a password. `port`: another one, such as a proxy's."""
        return f"postgresql://{user}:{password}@127.0.0.1:{port or self.port}/{database}?connect_timeout=120"

    def start(self) -> None:
        """Returns when it takes connections."""
        options = f"-p {self.port} -k {self.folder}"
        self._run("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "-t", "60", "-o", options, "start")

    def stop(self, *, how: str = "immediate") -> None:
        """`immediate`: as killed; `fast`: as its owner ends it. No error when it does not run."""
        self._run("pg_ctl", "-D", self.data, "-m", how, "-w", "-t", "60", "stop", check=False)

    @property
    def state(self) -> str:
        """Of the process, as the system has it: `T` is stopped; empty: it does not run."""
        state = _stat(self._leader())[:1]
        return "" if state in ([], ["Z"]) else state[0]

    def send(self, sign: signal.Signals) -> list[int]:
        """To the server and to everything that it has started, if it runs; to whom."""
        leader = self._leader()
        them = [leader, *_children(leader)] if leader else []
        for pid in them:
            with suppress(ProcessLookupError):
                os.kill(pid, sign)
        return them

    def kill(self) -> None:
        """SIGKILL; returns when all of it is gone."""
        them = self.send(signal.SIGKILL)
        deadline = time.monotonic() + 60
        while any(_lives(pid) for pid in them):
            assert time.monotonic() < deadline, "killed, and it is there still"
            time.sleep(0.02)

    def sql(self, statement: LiteralString | psycopg.sql.Composed, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Runs one statement as the owner of everything."""
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def clone(self, name: str, to: str) -> None:
        """A copy of a database as it is now; whoever uses it is thrown out."""
        self.throw_out(name)
        self.sql(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(to), Identifier(name)))

    def exists(self, name: str) -> bool:
        return bool(self.sql(SQL("SELECT true FROM pg_database WHERE datname = {}").format(name)))

    def drop(self, name: str) -> None:
        self.sql(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))

    def lend(self) -> str:
        """A database with the schema in it and no rows."""
        if self._free:
            return self._free.pop()
        name = f"lent_{next(self._numbers)}"
        self.clone(self.template, name)
        return name

    def give_back(self, name: str) -> None:
        """Emptied it is lent again, which takes a fifth of the time of a new one."""
        try:
            self.sql(_EMPTY, name)
        except psycopg.Error:  # somebody dropped the tables
            self.drop(name)
        else:
            self._free.append(name)

    def make_template(self) -> None:
        """A database with the schema in it: a copy is made in a tenth of a second."""
        self.sql(SQL("CREATE DATABASE {}").format(Identifier(self.template)))
        given = {"dsn": self.dsn(self.template)}
        asyncio.run(migrate(Config.model_validate(given, context={"literals": True})))

    def throw_out(self, name: str) -> None:
        """Ends all connections to a database."""
        self.sql(SQL("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = {}").format(name))

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def settings(self, text: str) -> None:
        """Adds to the configuration; counts from the next start."""
        with (self.data / "postgresql.auto.conf").open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def _leader(self) -> int:
        """The process that says so, which may have been killed; 0: none."""
        said = (self.data / "postmaster.pid").read_text().split() if (self.data / "postmaster.pid").exists() else []
        return int(said[0]) if said else 0

    def _create(self, settings: str) -> None:
        (self.folder / "password").write_text(PASSWORD, encoding="utf-8")
        (self.folder / "password").chmod(0o644)
        self._run(
            "initdb", "-D", self.data, "-U", "postgres", "-E", "UTF8", "--locale=C", "-N",
            "--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile", self.folder / "password",
        )  # fmt: skip
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(settings)

    def _run(self, program: str, *given: object, check: bool = True) -> None:
        command = [str(self._programs / program), *map(str, given)]
        with tempfile.TemporaryFile() as said:  # no pipe: the server would keep it open
            done = subprocess.run(
                command, user=self._user, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                check=False, timeout=120,
            )  # fmt: skip
            said.seek(0)
            assert not check or done.returncode == 0, said.read().decode()


def _stat(pid: int) -> list[str]:
    """State, parent, … of a process; empty: there is none."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _children(parent: int) -> list[int]:
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if _stat(pid)[1:2] == [str(parent)]]


def _lives(pid: int) -> bool:
    return _stat(pid)[:1] not in ([], ["Z"])


def _unprivileged() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


_running: list[Server] = []


@contextmanager
def run_server() -> Iterator[Server]:
    """One for the whole run."""
    server = Server()
    try:
        server.start()
        server.make_template()
        _running.append(server)
        yield server
    finally:
        _running.clear()
        server.remove()


def running() -> Server:
    """The one that the session's fixture started."""
    return _running[0]


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(120):
        while not true():  # noqa: ASYNC110 the server has no event to wait for
            await anyio.sleep(0.01)


def waiting(server: Server, database: str) -> int:
    """Backends of a database that wait for a lock."""
    rows = server.sql("SELECT datname FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return sum(name == database for (name,) in rows)
