"""The fixture of the real database; named as a plugin in tests/conftest.py."""

from collections.abc import Iterator

import pytest
from postgres_server import Server, missing, run_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """One server for the whole run. A test that stops it starts it again."""
    if lacking := missing():
        pytest.skip(f"NOT TESTED AGAINST A REAL DATABASE: {lacking}")
    with run_server() as server:
        yield server
