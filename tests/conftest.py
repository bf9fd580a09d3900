"""Fixtures that every tier uses."""

import os

import pytest
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
