"""One transaction or none: what a failed commit leaves behind, and when a walk's commit is void."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import pytest
from polling_rig import NAME, Rig, later, poll_on, polling
from polling_vendor import Listed, Query, lines
from stores_content import dead_records

from poller import schedule
from poller.errors import Denied, Outdated, PollerError, StoreFault, StoreFull
from poller.log import SharedOutage, get_logger
from poller.model import Ask, Held, PageCommit
from poller.poll import poll
from poller.stores.memory import Config, MemoryStore

pytestmark = pytest.mark.anyio


class Failing(MemoryStore):
    """Refuses what it is told to, as a database would."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals: dict[str, PollerError] = {}
        self.commits = 0

    async def commit_page(self, held: Held, page: PageCommit) -> Held:
        self.commits += 1
        self._refuse("commit_page")
        return await super().commit_page(held, page)

    async def look_up(self, held: Held | None, keys: Sequence[Any]) -> Any:
        self._refuse("look_up")
        return await super().look_up(held, keys)

    async def hold(self, shard: int) -> Held:
        self._refuse("hold")
        return await super().hold(shard)

    async def checkpoints(self, source: str | None = None) -> Any:
        self._refuse("checkpoints")
        return await super().checkpoints(source)

    def _refuse(self, what: str) -> None:
        if what in self.refusals:
            raise self.refusals[what]


@pytest.fixture
async def failing() -> AsyncIterator[tuple[Rig, Failing]]:
    store = Failing()
    async with polling(store) as rig:
        yield rig, store


@pytest.mark.parametrize("error", [StoreFull("no room left"), StoreFault("the disk is busy")])
@pytest.mark.parametrize("where", ["commit_page", "look_up"])
async def test_nothing_is_published_counted_or_claimed_when_the_store_refuses(
    failing: tuple[Rig, Failing], error: PollerError, where: str
) -> None:
    rig, store = failing
    rig.phones.add(rig.clock.now() - 100, id="a")
    rig.phones.add(rig.clock.now() - 100, id="b", defect=1)
    track = rig.track()
    store.refusals[where] = error
    for _ in range(3):
        assert await schedule.poll_once(track, until=None) is error
        later(rig.clock, 60)
    assert await rig.log() == []
    assert rig.counted(track) == {}
    assert rig.metrics.record_dead_letters["phones.calls", "bad_record"].value == 0
    assert sum(rig.metrics.events[kind].value or 0 for kind in ("telephony.call.new", "telephony.call.updated")) == 0
    assert track.checkpoint is not None
    assert track.checkpoint.rungs[0].last is None, "the pass stays due"
    assert rig.metrics.polls[NAME, "phones.calls", "store"].value == 3
    store.refusals.clear()
    assert await schedule.poll_once(track, until=None) is None
    assert await rig.told() == [("call.new", "a", 1)]
    assert rig.counted(track) == {"new": 1, "invalid": 1}
    assert len(await dead_records(store)) == 1


async def test_a_full_store_goes_on_once_there_is_room() -> None:
    store = MemoryStore(Config.model_validate({"max_bytes": "50B"}))
    async with polling(store) as rig:
        track = rig.track()
        rig.phones.add(rig.clock.now() - 100, id="a")
        await poll_on(track)
        rig.phones.add(rig.clock.now() - 50, id="b")
        with pytest.raises(StoreFull):
            await poll(track, None)
        assert await rig.told() == [("call.new", "a", 1)]
        store._config = Config()
        await poll_on(track)
        assert await rig.told() == [("call.new", "a", 1), ("call.new", "b", 1)]


async def test_a_restored_store_is_believed_anew_and_read_again(rig: Rig) -> None:
    """Everything that the backup does not know is published again under the same ids; the sinks heal it."""
    now, track = rig.clock.now(), rig.track()
    rig.phones.add(now - 100, id="a")
    await poll_on(track)
    other = Rig(rig.phones, rig.clock, rig.store, rig.shard, rig.metrics, rig.setup)
    await other.restart()  # somebody else took the shard over
    rig.phones.add(now - 50, id="b")
    rig.setup.shard = track.setup.shard = rig.shard
    rig.shard.held = Held(0, rig.shard.held.epoch - 1, rig.shard.held.last)
    error = await schedule.poll_once(track, until=None)
    assert isinstance(error, Outdated)
    assert rig.metrics.store_rollbacks[()].value == 1
    assert await schedule.poll_once(track, until=None) is None
    assert await rig.told() == [("call.new", "a", 1), ("call.new", "b", 1)]


@pytest.mark.parametrize("error", [StoreFault("no answer"), StoreFull("no room left")], ids=["StoreFault", "StoreFull"])
async def test_a_store_that_is_back_is_seen_although_the_vendor_is_away(
    failing: tuple[Rig, Failing], error: StoreFault
) -> None:
    rig, store = failing
    shown: list[bool] = []
    rig.shard._outage = SharedOutage(get_logger(), rig.clock, shown.append)
    track = rig.track()
    rig.phones.add(rig.clock.now() - 100, id="a")
    store.refusals["commit_page"] = error
    assert await schedule.poll_once(track, until=None) is error
    rig.phones.say = lambda _: rig.phones.whole(lines([], denied=True))
    assert isinstance(await schedule.poll_once(track, until=None), Denied)
    assert shown[-1:] == [True], "it refuses still"
    store.refusals.clear()
    assert isinstance(await schedule.poll_once(track, until=None), Denied)
    assert shown[-1:] == [False]
    commits = store.commits
    assert isinstance(await schedule.poll_once(track, until=None), Denied)
    assert store.commits == commits, "it is asked once"
    rig.phones.say = None
    await poll_on(track)
    assert await rig.told() == [("call.new", "a", 1)]


async def test_a_store_that_is_back_as_another_one_is_believed_anew_although_the_vendor_is_away(
    failing: tuple[Rig, Failing],
) -> None:
    rig, store = failing
    shown: list[bool] = []
    rig.shard._outage = SharedOutage(get_logger(), rig.clock, shown.append)
    track = rig.track()
    rig.phones.add(rig.clock.now() - 100, id="a")
    store.refusals["commit_page"] = StoreFault("no answer")
    await schedule.poll_once(track, until=None)
    store.refusals.clear()
    await store.hold(0)
    rig.phones.say = lambda _: rig.phones.whole(lines([], denied=True))
    assert isinstance(await schedule.poll_once(track, until=None), Denied)
    assert shown[-1:] == [False]
    assert rig.metrics.store_rollbacks[()].value == 1
    rig.phones.say = None
    await poll_on(track)
    assert await rig.told() == [("call.new", "a", 1)]


async def test_believing_anew_may_fail_too(failing: tuple[Rig, Failing]) -> None:
    rig, store = failing
    track = rig.track()
    rig.phones.add(rig.clock.now() - 100, id="a")
    await store.hold(0)
    store.refusals["hold"] = StoreFault("the disk is busy")
    for _ in range(2):
        error = await schedule.poll_once(track, until=None)
        assert isinstance(error, Outdated)
    assert await rig.log() == []
    store.refusals.clear()
    assert isinstance(await schedule.poll_once(track, until=None), Outdated)
    assert await schedule.poll_once(track, until=None) is None
    assert await rig.told() == [("call.new", "a", 1)]


async def test_a_store_believed_anew_during_a_walk_voids_its_commit(rig: Rig) -> None:
    """The checkpoint that the walk goes by may be one that the store has no more: it must not be written into it."""
    now, track = rig.clock.now(), rig.track()
    rig.phones.add(now - 100, id="a")
    await poll_on(track)
    before = (await rig.store.checkpoints())[track.key]
    rig.phones.add(now - 50, id="b")

    def say(_: Query) -> None:
        track.setup.shard.generation += 1

    rig.phones.say = say
    with pytest.raises(Outdated, match="read again"):
        await poll(track, None)
    assert (await rig.store.checkpoints())[track.key] == before
    assert await rig.told() == [("call.new", "a", 1)]
    rig.phones.say = None
    await poll_on(track)
    assert await rig.told() == [("call.new", "a", 1), ("call.new", "b", 1)]


async def test_nothing_is_written_where_nothing_changed(failing: tuple[Rig, Failing]) -> None:
    """Full chunks of known records, and of a dead letter that is known, cost a look-up and no transaction."""
    rig, store = failing
    for number in range(3_500):
        broken: dict[str, Any] = {"defect": 1} if number == 5 else {}
        rig.phones.add(rig.clock.now() - 100, id=f"c{number}", **broken)
    track = rig.track(Listed())
    await poll_on(track)
    assert store.commits == 4
    await poll_on(track)
    assert store.commits == 5, "the checkpoint alone"


async def test_two_tracks_never_both_call_one_id_new(rig: Rig) -> None:
    """Look-up and commit are one step: MOR shows one call to both of its users."""
    rig.phones.add(rig.clock.now() - 100, id="a")
    tracks = [rig.track(ask=Ask((("user", str(number)),))) for number in range(4)]
    async with anyio.create_task_group() as tasks:
        for track in tracks:
            tasks.start_soon(poll, track, None)
    assert await rig.told() == [("call.new", "a", 1)]
    assert rig.counted(tracks[0]) == {"new": 1, "duplicate": 3}
