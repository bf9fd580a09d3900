"""An import into 16 shards that is killed at every call of the store and of the sink, and run again: nothing shows of it."""

from pathlib import Path
from typing import Any

import pytest
from delivery_events import call_event
from delivery_model import Crashed, Fuse, Fused, ModelSink, ModelTopics
from fake_clock import FakeClock
from msgspec import structs
from stores_content import dead_event, dead_record, retry

from poller import segment
from poller.errors import StoreRefused
from poller.identity import shard_of
from poller.marks import IMPORTED, refuse_marked
from poller.model import CheckpointKey, Event, Position, Progress
from poller.moving.arrive import begin_of, fill
from poller.moving.frames import Checkpoints, Events, Header, Letters, Retries, Seen, SinkState, verified, writing
from poller.stores.memory import Config, MemoryStore

pytestmark = pytest.mark.anyio

SHARDS = 16
OLD = "poller.kafka.0 progress"
SETTLED = Position(90, b"c" * 16)
AT = 500.0


def call(number: int) -> Event:
    event = call_event(f"c{number}", number + 90, new=True, at=1000.0 + number)
    return structs.replace(event, source=f"/poller/office-{number % 5}/calls")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """100 numbers are in use; 9 events wait for both sinks, one for `hook` alone."""
    path = tmp_path / "calls.state"
    sinks = [SinkState("hook", Position(80, b"h" * 16), None, "{}"), SinkState("kafka", SETTLED, OLD)]
    with writing(path) as writer:
        writer.header(Header(id="abc", store="sqlite", at=AT, last=100, sinks=sinks))
        writer.part(Events(1000.0, [structs.replace(call(0), only=("hook",)), *(call(n) for n in range(1, 5))]))
        writer.part(Events(1001.0, [call(n) for n in range(5, 10)]))
        writer.part(Retries([structs.replace(retry(70 + n, sink="hook"), event=call(n)) for n in range(3)]))
        writer.part(Letters([dead_record(1)], [structs.replace(dead_event(2, sink="hook"), event=call(2))]))
        writer.part(Checkpoints([(CheckpointKey(f"office-{n}", "e"), b"c") for n in range(5)]))
        writer.part(Seen([key for n in range(-50, 10) if (key := call(n).seen) is not None]))
    return path


class World:
    def __init__(self, progress: Progress | None = None) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(Config(shards=SHARDS))
        self.topics = ModelTopics(self.clock)
        self.topics.progress[OLD] = progress or Progress(SETTLED, 400.0)
        self.prefix = "poller"

    async def bring(self, file: Path, fuse: Fuse | None = None) -> None:
        fuse = fuse or Fuse()
        sink: Any = ModelSink("kafka", self.topics, fuse)
        sink.prefix = self.prefix
        store: Any = Fused(self.store, fuse)
        store.shards = SHARDS
        await fill(store, {"kafka": sink}, file, (await verified(file))[0], self.clock)

    async def looks(self) -> dict[str, Any]:
        """Everything but the epochs, which every life raises."""
        found = vars(self.store._now) | {"epochs": None}
        return found | {"progress": {name: (one.position, one.moved) for name, one in self.topics.progress.items()}}


async def test_killed_anywhere_and_run_again(file: Path) -> None:
    whole = World()
    await whole.bring(file)
    wanted, killed = await whole.looks(), 0
    assert wanted["progress"] == {
        f"poller.kafka.{n} progress": (begin_of((await verified(file))[0], n), None) for n in range(SHARDS)
    }
    while True:
        world, fuse = World(), Fuse()
        fuse.set(killed, fuse.crash)
        try:
            await world.bring(file, fuse)
        except Crashed:
            killed += 1
        else:
            break
        if world.store._now.positions and await world.store.get_meta(IMPORTED) is None:
            with pytest.raises(StoreRefused, match="not finished"):
                await refuse_marked(world.store)
        await world.bring(file)
        assert await world.looks() == wanted
    assert killed > 150


async def test_each_shard_goes_on_above_every_number(file: Path) -> None:
    world = World()
    await world.bring(file)
    events = []
    for shard in range(SHARDS):
        begin = await world.store.position("kafka", shard)
        assert begin == await world.store.position("hook", shard)
        assert begin is not None
        assert begin.seq == 100
        for one in await world.store.segments_after(shard, 100, 1 << 30):
            events += [(event.subject, event.only, shard) for event in segment.unpack(one)]
    assert sorted(events) == [
        (f"c{n}", None if n else ("hook",), shard_of(f"office-{n % 5}", SHARDS)) for n in range(10)
    ]


async def test_another_prefix_is_led_to_from_the_old_one(file: Path) -> None:
    world = World()
    world.prefix = "moved"
    await world.bring(file)
    assert world.topics.epochs["poller.kafka.0"] == 1, "the old sender is fenced"
    assert world.topics.progress[OLD].moved == "moved.kafka.0 progress"
    header = (await verified(file))[0]
    for shard in range(SHARDS):
        assert world.topics.progress[f"moved.kafka.{shard} progress"].position == begin_of(header, shard)


async def test_what_was_published_since_the_export_ends_the_import(file: Path) -> None:
    world = World(Progress(Position(95, b"x" * 16), 600.0))
    with pytest.raises(StoreRefused, match="something was published under its name since the export"):
        await world.bring(file)
    world = World()
    world.topics.progress["poller.kafka.7 progress"] = Progress(Position(5, b"x" * 16), AT + 1)
    with pytest.raises(StoreRefused, match="something was published"):
        await world.bring(file)


async def test_progress_of_an_earlier_life_is_passed_over(file: Path) -> None:
    world = World()
    world.topics.progress["poller.kafka.7 progress"] = Progress(Position(5, b"x" * 16), AT - 1)
    await world.bring(file)
    assert world.topics.progress["poller.kafka.7 progress"].position == begin_of((await verified(file))[0], 7)


async def test_a_sink_that_is_missing_in_the_new_configuration_is_named(file: Path) -> None:
    store = MemoryStore(Config(shards=SHARDS))
    with pytest.raises(StoreRefused, match="published to kafka"):
        await fill(store, {}, file, (await verified(file))[0], FakeClock())
    assert await store.get_meta("state.importing") is None
