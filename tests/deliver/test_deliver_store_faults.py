"""The store fails, or is exchanged, in the first steps of a delivery."""

from typing import Any

import pytest

from poller.errors import StoreFault
from poller.model import Held, Position
from poller.shard import Shard
from poller.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio


class Troubled(MemoryStore):
    """Fails to say what it holds, and may lose itself between two looks at a sink's position."""

    def __init__(self) -> None:
        super().__init__()
        self.faults = 0
        self.losses: list[str] = []
        """What happens at each look at a position: "" nothing, "fault", "position" (is lost) or "all" (is lost)."""

    async def hold(self, shard: int) -> Held:
        if self.faults:
            self.faults -= 1
            raise StoreFault("the disk does not answer")
        return await super().hold(shard)

    async def position(self, sink: str, shard: int) -> Position | None:
        lost = self.losses.pop(0) if self.losses else ""
        if lost == "fault":
            raise StoreFault("the disk does not answer")
        if lost == "all":
            self.restore(MemoryStore())
        elif lost == "position":
            await self.forget_sink(sink)
        return await super().position(sink, shard)


@pytest.fixture
def store(life: Any) -> Troubled:
    """In the place of the life's own."""
    life.store = store = Troubled()
    life.shard = Shard(store, 0)
    return store


async def test_a_store_that_fails_to_be_read_at_the_start_is_tried_again(life: Any, store: Troubled) -> None:
    await store.hold(0)  # an earlier life
    store.faults = 3
    await life.begin()
    assert (store.faults, len(life.waits)) == (0, 3)
    await life.commit("a")
    await life.drive()
    assert life.published == ["a"]


async def test_a_store_that_fails_while_it_is_read_anew_is_tried_again(life: Any, store: Troubled) -> None:
    await life.begin()
    await life.commit("a")
    await store.hold(0)  # another writer
    store.faults = 3
    await life.drive()
    assert (store.faults, len(life.waits)) == (0, 3)
    await life.commit("b")
    await life.drive()
    assert life.published == ["a", "b"]


async def test_a_place_in_the_log_that_cannot_be_fixed_is_tried_again(life: Any, store: Troubled) -> None:
    store.losses = ["fault", "fault"]
    await life.begin(start_from="now")
    assert life.waits
    assert not store.losses
    await life.commit("a")
    await life.drive()
    assert life.published == ["a"]


async def test_a_position_that_is_lost_between_two_looks_is_fixed_anew(life: Any, store: Troubled) -> None:
    store.losses = ["", "position"]
    await life.commit("a")
    await life.begin()
    assert not store.losses
    assert life.published == ["a"]
    assert await store.position("kafka", 0) == life.shard.held.last


async def test_a_store_that_is_emptied_between_two_looks_is_believed_anew(life: Any, store: Troubled) -> None:
    store.losses = ["", "all"]
    await life.begin()
    assert not store.losses
    await life.commit("a")
    await life.drive()
    assert life.published == ["a"]
