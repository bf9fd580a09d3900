"""Fixtures that every tier uses."""

import os

import pytest
from hypothesis import settings

pytest_plugins = ["kafka_fixtures", "report_tiers"]


# CI tries the same examples each time, so that it judges the change and not its luck; everywhere else they are drawn anew.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture
def anyio_backend() -> str:
    """The program runs on asyncio only (the Kafka client does)."""
    return "asyncio"
