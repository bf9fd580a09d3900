"""`poller migrate` as people run it: before the daemons, with a role that may make tables."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from cli_command import run
from postgres_server import Server
from psycopg.sql import SQL, Identifier
from thulium_office import OFFICE

pytestmark = [pytest.mark.postgres]

CONFIG = (
    """\
store: {kind: postgres, dsn: {env: DSN}}
sinks: {out: {kind: ndjson, path: out.jsonl}}
"""
    + OFFICE
)
Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def poller(tmp_path: Path, postgres_server: Server, database: str) -> Run:
    """In a database without the schema; nothing says the password of its role."""
    postgres_server.sql("DROP SCHEMA poller CASCADE", database)
    (tmp_path / "poller.yaml").write_text(CONFIG)

    def quiet(*words: str, **env: str) -> CompletedProcess[str]:
        found = {"DSN": postgres_server.dsn(database), "PASSWORD": "geheim"} | env
        done = run(tmp_path, *words, **found)
        assert "hunter2" not in done.stdout + done.stderr
        return done

    return quiet


@pytest.fixture
def dsn_of_a_role(postgres_server: Server, database: str) -> Callable[[], str]:
    """Of one that may read and write what is there, and make nothing."""
    name = Identifier(f"role_{database}")

    def made() -> str:
        postgres_server.sql(SQL("CREATE ROLE {} LOGIN PASSWORD 'hunter2'").format(name))
        postgres_server.sql(SQL("GRANT USAGE ON SCHEMA poller TO {}").format(name), database)
        rights = "SELECT, INSERT, UPDATE, DELETE, TRUNCATE"
        postgres_server.sql(SQL(f"GRANT {rights} ON ALL TABLES IN SCHEMA poller TO {{}}").format(name), database)
        return postgres_server.dsn(database, user=f"role_{database}", password="hunter2")

    return made


def tables(server: Server, database: str) -> list[str]:
    found = server.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'poller' ORDER BY 1", database)
    return [name for (name,) in found]


def test_it_makes_the_schema_and_then_changes_nothing(poller: Run, postgres_server: Server, database: str) -> None:
    assert "there is no store in the schema poller" in poller("status").stderr
    done = poller("migrate")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The postgres store is up to date: ")
    there = tables(postgres_server, database)
    assert {"seen", "lease", "migration"} <= set(there)
    told = json.loads(poller("migrate", "--json").stdout)
    assert (told["store"], told["facts"]["seen_ids"]) == ("postgres", 0)
    assert tables(postgres_server, database) == there


def test_a_daemon_s_role_needs_no_right_to_make_tables(
    poller: Run, postgres_server: Server, database: str, dsn_of_a_role: Callable[[], str]
) -> None:
    poller("migrate")
    dsn = dsn_of_a_role()
    try:
        assert poller("migrate", DSN=dsn).returncode == 0
        postgres_server.sql("DELETE FROM poller.migration WHERE number > 1", database)
        done = poller("migrate", DSN=dsn)
        assert done.returncode == 1
        assert "lacks 0002_leases" in done.stderr
        assert "and this role could not make it: run `poller migrate` once with a role" in done.stderr
    finally:
        name = Identifier(f"role_{database}")
        postgres_server.sql(SQL("DROP OWNED BY {}").format(name), database)
        postgres_server.sql(SQL("DROP ROLE {}").format(name))


def test_a_database_that_is_not_there(poller: Run, postgres_server: Server) -> None:
    done = poller("migrate", DSN=postgres_server.dsn("nowhere"))
    assert done.returncode == 1
    assert "does not exist: create it (CREATE DATABASE), or correct store.dsn" in done.stderr


def test_a_schema_of_a_newer_program_is_left_alone(poller: Run, postgres_server: Server, database: str) -> None:
    poller("migrate")
    postgres_server.sql("INSERT INTO poller.migration (number, name, works_from) VALUES (91, 'other', 90)", database)
    done = poller("migrate")
    assert done.returncode == 1
    assert "takes a poller that knows at least version 90" in done.stderr
