"""Two stores that may go on with one log: a copy from before a move, and one file that was imported twice. One of them ends."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from delivery_events import call_event, seen_key
from delivery_model import Fuse, ModelSink, ModelTopics, quiet, wake_next
from fake_clock import FakeClock

from poller.deliver import Delivery
from poller.errors import ForeignProgress
from poller.metrics import Metrics
from poller.model import PageCommit
from poller.moving.arrive import fill
from poller.moving.frames import Header, Seen, SinkState, verified, writing
from poller.options import SinkOptions
from poller.route import Route
from poller.segment import pack
from poller.shard import Shard
from poller.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio


class Daemon:
    """The way out of one store of one shard."""

    def __init__(self, world: "World", store: MemoryStore) -> None:
        self.world = world
        self.store = store
        self.shard = Shard(store, 0)
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.shard = Shard(self.store, 0)
        sink: Any = ModelSink("kafka", self.world.topics, self.world.fuse)
        options = SinkOptions.model_validate({"start_from": "earliest"})
        route = Route(self.shard, sink, options, self.world.clock, random.Random(1), Metrics(), (), None)
        self.task = asyncio.create_task(Delivery(route).run())
        self.world.tasks.append(self.task)
        await self.world.drive()

    async def poll(self, *calls: str) -> None:
        """What is not known yet is committed."""
        fresh = await self.store.look_up(None, [seen_key(call) for call in calls])
        events = [
            call_event(calls[index], seq) for seq, index in enumerate(sorted(fresh), self.shard.held.last.seq + 1)
        ]
        if events:
            packed = pack(events, self.shard.held.last, self.world.clock.now())
            seen = [(one.seen, seq) for seq, one in enumerate(events, packed.first) if one.seen is not None]
            self.shard.held = await self.store.commit_page(self.shard.held, PageCommit(segment=packed, seen=seen))
            self.shard.tell()
        await self.world.drive()

    def ended(self) -> bool:
        """By what it found in Kafka."""
        assert self.task is not None
        return self.task.done() and isinstance(self.task.exception(), ForeignProgress)


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.topics = ModelTopics(self.clock)
        self.fuse = Fuse()
        self.tasks: list[asyncio.Task[None]] = []

    async def drive(self) -> None:
        for _ in range(20):
            await quiet(self.fuse)
            if not self.clock.sleeping:
                break
            wake_next(self.clock)

    async def brought(self, file: Path) -> MemoryStore:
        """A store that the file was imported into."""
        store, sink = MemoryStore(), ModelSink("kafka", self.topics, self.fuse)
        keepers: Any = {"kafka": sink}
        await fill(store, keepers, file, (await verified(file))[0], self.clock)
        return store

    @property
    def published(self) -> list[str]:
        return [event.subject for event in self.topics.events]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    for task in made.tasks:
        task.cancel()
        with suppress(asyncio.CancelledError, ForeignProgress):
            await task


async def exported(world: World, path: Path) -> tuple[Path, MemoryStore]:
    """Of a store that has published two calls, and a copy of it."""
    old = Daemon(world, MemoryStore())
    await old.start()
    await old.poll("a", "b")
    assert world.published == ["a", "b"]
    assert old.task is not None
    old.task.cancel()
    copy, last = old.store.copy(), old.shard.held.last
    identity = "poller.kafka.0 progress"
    with writing(path) as writer:
        writer.header(
            Header(
                id="x", store="sqlite", at=world.clock.now(), last=last.seq, sinks=[SinkState("kafka", last, identity)]
            )
        )
        writer.part(Seen([seen_key("a"), seen_key("b")]))
    return path, copy


async def test_a_copy_from_before_the_move_takes_over_and_nothing_is_lost_or_twice(
    world: World, tmp_path: Path
) -> None:
    file, copy = await exported(world, tmp_path / "calls.state")
    new = Daemon(world, await world.brought(file))
    await new.start()
    await new.poll("a", "b", "c")
    assert world.published == ["a", "b", "c"]
    forgotten = Daemon(world, copy)
    await forgotten.start()
    await forgotten.poll("a", "b", "c", "d")
    assert world.published == ["a", "b", "c", "d"]
    await new.poll("a", "b", "c", "d", "e")
    assert new.ended()
    assert not forgotten.ended()
    await new.start()  # once the copy is ended, the new one goes on
    await new.poll("a", "b", "c", "d", "e")
    assert world.published == ["a", "b", "c", "d", "e"]
    await forgotten.poll("f")
    assert forgotten.ended()


async def test_of_two_stores_that_one_file_was_imported_into_one_ends(world: World, tmp_path: Path) -> None:
    file, _ = await exported(world, tmp_path / "calls.state")
    one, other = Daemon(world, await world.brought(file)), Daemon(world, await world.brought(file))
    await one.start()
    await one.poll("a", "b", "c")
    await other.start()
    await other.poll("a", "b", "c", "d")
    await one.poll("a", "b", "c", "d", "e")
    assert one.ended()
    assert not other.ended()
    await other.poll("e")
    assert world.published == ["a", "b", "c", "d", "e"]
