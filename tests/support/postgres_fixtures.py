"""The fixtures of the real database; named as a plugin in tests/conftest.py."""

from collections.abc import Iterator

import pytest
from postgres_server import Server, missing, run_server


@pytest.fixture(scope="session")
def postgres() -> None:
    """This machine has what a server needs. Where it has not, `.ci/run` fails: nothing that asks for it may be skipped there."""
    if lacking := missing():
        pytest.skip(f"NOT TESTED AGAINST A REAL DATABASE: {lacking}")


@pytest.fixture(scope="session")
def postgres_server(postgres: None) -> Iterator[Server]:  # noqa: ARG001 asked for what it skips
    """One server for the whole run. A test that stops it starts it again."""
    with run_server() as server:
        yield server
