"""A shard that may be another replica's: no vendor is asked for it, and nothing is said of a store that was set back."""

import pytest
from polling_rig import Rig

from poller import schedule
from poller.errors import Lost
from poller.model import Held
from poller.shard import Shard

pytestmark = pytest.mark.anyio


class Late:
    """As after a pause that was longer than the lease."""

    mine = True

    def __init__(self, held: Held) -> None:
        self.held = held

    def ours(self) -> bool:
        return self.mine

    async def take(self) -> Held:
        if not self.mine:
            raise Lost("another's")
        return self.held


async def test_no_vendor_is_asked_for_a_shard_that_is_lost(rig: Rig) -> None:
    owner = Late(await rig.store.hold(0))
    rig.shard = rig.setup.shard = Shard(rig.store, 0, owner=owner)
    await rig.setup.shard.believe()
    track = rig.track(start="1h")
    assert await schedule.poll_once(track, until=None) is None
    asked, owner.mine = len(rig.phones.asked), False
    rig.clock.time += 600
    rig.clock.wall += 600
    assert isinstance(await schedule.poll_once(track, until=None), Lost)
    assert len(rig.phones.asked) == asked


async def test_what_another_replica_took_is_no_store_that_was_set_back(rig: Rig) -> None:
    owner = Late(await rig.store.hold(0))
    rig.shard = rig.setup.shard = Shard(rig.store, 0, owner=owner)
    await rig.setup.shard.believe()
    track = rig.track(start="1h")
    await rig.store.hold(0)

    class Taken(Late):
        async def take(self) -> Held:
            raise Lost("another's")

    rig.setup.shard._owner = Taken(owner.held)
    assert (await schedule.poll_once(track, until=None)) is not None
    assert rig.metrics.store_rollbacks[()].value == 0
