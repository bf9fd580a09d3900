"""Fixtures that every tier uses."""

import pytest

pytest_plugins = ["kafka_fixtures", "report_tiers"]


@pytest.fixture
def anyio_backend() -> str:
    """The program runs on asyncio only (the Kafka client does)."""
    return "asyncio"
