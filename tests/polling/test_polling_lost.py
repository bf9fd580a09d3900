"""A shard that may be another replica's: no vendor is asked for it, and nothing is said of a store that was set back.

And what is known of a list, where others than its polls look at it, too.
"""

import pytest
from anyio import Event, create_task_group, fail_after
from anyio.lowlevel import checkpoint
from polling_rig import Rig, later, poll_on, polling
from polling_vendor import Query

from poller import schedule
from poller.errors import Lost, Outdated
from poller.model import CheckpointKey, Held
from poller.shard import Shard
from poller.stores.memory import MemoryStore

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


class Slow(MemoryStore):
    """Answers one who asks for checkpoints only once it may."""

    may: Event | None = None
    asked = False

    async def checkpoints(self, source: str | None = None) -> dict[CheckpointKey, bytes]:
        found, may = await super().checkpoints(source), self.may
        if may is not None and not self.asked:
            self.asked = True
            await may.wait()
        return found


async def test_one_who_looks_while_a_poll_begins_does_not_put_back_what_is_known() -> None:
    store = Slow()
    async with polling(store) as rig:
        await poll_on(rig.track(start="1h"))
        track, store.may, done = rig.track(start="1h"), Event(), Event()

        async def polls() -> None:
            await poll_on(track)
            done.set()

        with fail_after(30):
            async with create_task_group() as tasks:
                tasks.start_soon(track.load, track.target())
                while not store.asked:
                    await checkpoint()
                tasks.start_soon(polls)
                while not done.is_set() and not track.setup.loading.statistics().tasks_waiting:
                    await checkpoint()
                store.may.set()
        assert track.checkpoint == await rig.checkpoint(track)


async def test_what_was_read_of_a_store_that_is_not_believed_any_more_is_not_written_under_the_new_belief(
    rig: Rig,
) -> None:
    """Somebody looks at the list while a poll makes its windows shorter."""
    track = rig.track(start="1h")
    await poll_on(track)
    before = await rig.store.checkpoints()
    later(rig.clock, 600)
    async with create_task_group() as tasks:

        def say(_: Query) -> bytes | None:
            if rig.shard.generation > 1:
                return None
            rig.shard.void()
            tasks.start_soon(track.load, track.target())
            return rig.phones.whole(b"")

        rig.phones.say = say
        with pytest.raises(Outdated):
            await poll_on(track)
    assert await rig.store.checkpoints() == before
