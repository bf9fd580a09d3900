"""A source with one invented vendor, on each kind of store."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from polling_rig import Rig, polling
from stores_harness import KINDS, set_up


@pytest.fixture(params=KINDS)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    with set_up(request, tmp_path) as one:
        yield one


@pytest.fixture
async def rig(harness: Any) -> AsyncIterator[Rig]:
    """Everything but a track."""
    store = await harness.open()
    async with polling(store) as one:
        yield one
    await harness.close()
