"""A source with one invented vendor, on each embedded store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from polling_rig import Rig, polling
from stores_harness import harness_of


@pytest.fixture(params=["memory", "sqlite"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """Everything but a track."""
    harness = harness_of(request.param, tmp_path)
    store = await harness.open()
    async with polling(store) as one:
        yield one
    await harness.close()
