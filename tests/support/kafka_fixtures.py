"""Fixtures of the real broker; named as a plugin in tests/conftest.py."""

import asyncio
import gc
import itertools
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from kafka_doors import Door, broker_with_doors, doors_open
from tcp_proxy import Proxy

from poller.simulate.broker import Broker, missing

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def _broker_and_doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Broker, Sequence[Door]]]:
    if lacking := missing():
        pytest.skip(f"NOT TESTED AGAINST A REAL BROKER: {lacking}")
    broker, doors = broker_with_doors(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker, doors
    broker.stop()


@pytest.fixture(scope="session")
def broker(_broker_and_doors: tuple[Broker, Sequence[Door]]) -> Broker:
    """One broker for the whole run. A test that kills it starts it again."""
    return _broker_and_doors[0]


@pytest.fixture(scope="session")
def broker_doors(_broker_and_doors: tuple[Broker, Sequence[Door]]) -> Sequence[Door]:
    """Its further ports, for links of a test's own."""
    return _broker_and_doors[1]


@pytest.fixture
async def doors(_broker_and_doors: tuple[Broker, Sequence[Door]]) -> AsyncIterator[list[Proxy]]:
    """Ways to the broker that can be cut, each on its own."""
    async with doors_open(_broker_and_doors[1]) as found:
        yield found


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
