"""Fixtures of the real broker; named as a plugin in tests/conftest.py."""

import itertools
import os
from collections.abc import Iterator

import pytest

from poller.simulate.broker import Broker, missing

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for the whole run. A test that kills it starts it again."""
    if lacking := missing():
        pytest.skip(f"NOT TESTED AGAINST A REAL BROKER: {lacking}")
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def prefix() -> str:
    """A name that no other test uses, for topics and transactional ids."""
    return f"t{os.getpid()}-{next(_numbers)}"
