"""Fixtures of the real broker; named as a plugin in tests/conftest.py."""

import asyncio
import gc
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

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


@pytest.fixture
async def nothing_left_behind() -> AsyncIterator[None]:
    """No exception that nobody retrieved, no task that goes on. What was cancelled needs a few turns of the loop to end."""
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    yield
    gc.collect()
    left = {
        task for task in asyncio.all_tasks() if "TestRunner" not in repr(task) and task is not asyncio.current_task()
    }
    if left:
        _, left = await asyncio.wait(left, timeout=120)
    assert not left, left
    gc.collect()
    await asyncio.sleep(0)
    assert not said, said
