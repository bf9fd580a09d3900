"""What was seen, listed in the order of its keys by each store that can be exported."""

from pathlib import Path
from typing import Any

import pytest
from stores_content import DAY0, key
from stores_harness import harness_of

from poller.model import PageCommit, SeenKey
from poller.protocols import SeenList

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_in_lots_of_any_size(kind: str, tmp_path: Path) -> None:
    harness = harness_of(kind, tmp_path)
    store: Any = await harness.open()
    listed: object = store
    assert isinstance(listed, SeenList)
    assert await store.seen_after(None, 3) == []
    keys = [
        key(number, state=state, day=DAY0 + day) for number in range(5) for state in (1, 2) for day in (-1, 0, -90_000)
    ]
    keys.sort(key=lambda one: (one.day, one.id, one.state))
    held = await store.hold(0)
    await store.commit_page(held, PageCommit(seen=[(one, 0) for one in reversed(keys)]))
    for lot in (1, 3, 30, 100):
        found: list[SeenKey] = []
        while some := await store.seen_after(found[-1] if found else None, lot):
            assert len(some) <= lot
            found += some
        assert found == keys
    await harness.close()
    harness.remove()
