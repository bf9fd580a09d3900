"""Fixtures that every tier uses."""

import logging
import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

pytest_plugins = ["kafka_fixtures", "postgres_fixtures", "report_tiers", "worker_order"]


# How long an example takes depends on the machine, not on the program.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
# CI tries the same examples each time, so that it judges the change and not its luck; everywhere else they are drawn anew.
settings.register_profile("ci", parent=settings.get_profile("patient"), derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture
def anyio_backend() -> str:
    """The program runs on asyncio only (the Kafka client does)."""
    return "asyncio"


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """What a test sets up for the logs of its process is undone: workers run files in any order."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
