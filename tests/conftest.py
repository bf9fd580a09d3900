"""Fixtures that every tier uses."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The program runs on asyncio only (the Kafka client does)."""
    return "asyncio"
