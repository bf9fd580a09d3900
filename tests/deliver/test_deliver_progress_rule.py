"""The progress rule as a state machine over the real delivery and the real stores.

Three sinks hang on one log: two keep progress, one does not. The process crashes at any await, the store is replaced by any
earlier copy (while the process runs or not) or emptied, sinks fail before and after they have committed, transactional id and
progress topic change back and forth at any moment. In the end every call has reached every sink; where progress is kept, no
event twice; where it is not, every id that the others have.
"""

import asyncio
import os
import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from delivery_events import SOURCE, call_event, seen_key
from delivery_model import Crashed, Fuse, Fused, ModelSink, ModelTopics, quiet, wake_next
from fake_clock import FakeClock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from stores_harness import harness_of
from structlog.testing import capture_logs

from poller.deliver import Delivery
from poller.errors import Outdated, PollerError, SinkFault
from poller.metrics import Metrics
from poller.model import CheckpointKey, Event, PageCommit, SeenKey
from poller.options import SinkOptions
from poller.route import Route
from poller.segment import pack
from poller.shard import Shard
from poller.stores.memory import MemoryStore
from poller.stores.sqlite import Config as SqliteConfig
from poller.stores.sqlite import open_store

SINKS = {"first": True, "second": True, "plain": False}
OPTIONS = SinkOptions(start_from="earliest")
NAMES = [("poller", "progress"), ("other", "progress"), ("other", "elsewhere"), ("third", "progress")]
"""transactional_id_prefix and progress_topic, as configurations of different times have them."""


class Memory:
    """The store in memory, and its copies."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.copies: list[MemoryStore] = []

    async def open(self) -> MemoryStore:
        return self.store

    async def shut(self) -> None:
        """The contents stay."""

    def remove(self) -> None:
        """Nothing is left."""

    async def backup(self) -> None:
        self.copies.append(self.store.copy())

    async def restore(self, number: int) -> None:
        self.store.restore(self.copies[number])

    async def empty(self) -> None:
        self.store.restore(MemoryStore())


class Sqlite:
    """The embedded store; copies are taken from the running store, restored when it is shut."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.copies: list[Path] = []
        self.store: Any = None

    async def open(self) -> Any:
        self.store = self.store or await open_store(SqliteConfig(path=self.folder / "s.db"))
        return self.store

    async def shut(self) -> None:
        if self.store is not None:
            await self.store.close()
            self.store = None

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    async def backup(self) -> None:
        await self.open()
        self.copies.append(self.folder / f"copy{len(self.copies)}")
        with closing(sqlite3.connect(self.folder / "s.db")) as live, closing(sqlite3.connect(self.copies[-1])) as copy:
            live.backup(copy)

    async def restore(self, number: int) -> None:
        await self.empty()
        shutil.copy(self.copies[number], self.folder / "s.db")

    async def empty(self) -> None:
        await self.shut()
        for path in self.folder.glob("s.db*"):
            path.unlink()


class Postgres:
    """The shared store; copies are other databases. As with a failover, the process goes on with whatever is in its place."""

    def __init__(self) -> None:
        self.harness = harness_of("postgres", Path())
        self.harness.shards = 1  # whatever the source is called
        self.copies: list[Any] = []
        self.store: Any = None

    async def open(self) -> Any:
        self.store = self.store or await self.harness.open()
        return self.store

    async def shut(self) -> None:
        for store in [self.store, *self.copies]:
            if store is not None:
                await store.close()
        self.store, self.copies = None, []

    def remove(self) -> None:
        self.harness.remove()

    async def backup(self) -> None:
        await self.open()
        self.harness.copy(f"copy{len(self.copies)}")
        self.copies.append(await self.harness.look(f"copy{len(self.copies)}"))

    async def restore(self, number: int) -> None:
        self.harness.restore(f"copy{number}")

    async def empty(self) -> None:
        await (await self.open()).close()
        self.store = None
        self.harness.empty()


Kept = Memory | Sqlite | Postgres


class World:
    """A vendor with calls, three sinks, a store, and at most one process."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.clock = FakeClock()
        self.states: list[int] = []
        self.topics = {name: ModelTopics(self.clock) for name in SINKS}
        self.metrics = Metrics()
        self.fuse = Fuse()
        self.names = NAMES[0]
        self.shard: Shard | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.sinks: dict[str, ModelSink] = {}
        self.polled: list[asyncio.Task[None]] = []

    # --- the process -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        if self.tasks:
            return
        self.fuse = Fuse()
        self.shard = Shard(Fused(await self.kept.open(), self.fuse), 0)
        await self.shard.believe()
        self.sinks = {
            name: ModelSink(name, self.topics[name], self.fuse, keeps_progress=progress)
            for name, progress in SINKS.items()
        }
        for name, sink in self.sinks.items():
            sink.prefix, sink.progress_topic = self.names
            if await self.is_strange(sink, self.kept.store):
                sink.take_name(next(iter(self.topics[name].progress)))
            others = [other for other in SINKS if other != name]
            unsettled = [other for other in others if not SINKS[other]]
            rnd = random.Random(1)
            route = Route(self.shard, sink, OPTIONS, self.clock, rnd, self.metrics, others, unsettled=unsettled)
            self.tasks.append(asyncio.create_task(Delivery(route).run()))

    async def is_strange(self, sink: ModelSink, store: Any) -> bool:
        """A store that knows nothing of a sink finds what was published only under a name that was used."""
        used = self.topics[sink.name].progress
        known = not sink.keeps_progress or await store.get_meta(f"sink.{sink.name}.0") is not None
        return not known and bool(used) and sink.identity(0) not in used

    async def kill(self) -> None:
        self.fuse.blown = True
        for task in [*self.tasks, *self.polled]:
            task.cancel()
        for task in self.tasks:
            with suppress(Crashed, asyncio.CancelledError):
                await task
        for task in self.polled:  # a planted fault ends a poll; the schedule would try it again
            with suppress(Crashed, asyncio.CancelledError, PollerError):
                await task
        self.tasks, self.polled, self.shard = [], [], None

    async def drive(self) -> None:
        """Lets everything run until it waits for new events, or has crashed."""
        with anyio.fail_after(60):
            while True:
                await quiet(self.fuse)
                if self.fuse.blown:
                    return await self.kill()
                for task in self.tasks:
                    if task.done():
                        await task
                if not self.clock.sleeping:
                    return None
                wake_next(self.clock)

    # --- the way in --------------------------------------------------------------------------------------------------

    async def poll(self) -> None:
        """As the way in does it: look up and commit under one lock, what is known by another state is an update."""
        shard = self.shard
        if shard is None or shard.paused:
            return
        try:
            async with shard.lock:
                await self._commit(shard)
            shard.tell()
        except Outdated:
            async with shard.lock:
                await shard.believe()

    async def _commit(self, shard: Shard) -> None:
        keys = [seen_key(f"c{number}", str(state)) for number, state in enumerate(self.states)]
        fresh = await shard.store.look_up(shard.held, keys) if keys else {}
        events: list[Event] = []
        seen: list[tuple[SeenKey, int]] = []
        for index, sighting in sorted(fresh.items()):
            seq = shard.held.last.seq + len(events) + 1
            state = str(self.states[index])
            events.append(call_event(f"c{index}", seq, state=state, new=not sighting.states, at=self.clock.now()))
            seen.append((SeenKey(sighting.day, keys[index].id, keys[index].state), seq))
        if events:
            commit = PageCommit(segment=pack(events, shard.held.last, self.clock.now()), seen=seen)
            commit.checkpoints = {CheckpointKey(SOURCE, "cdrs"): b"1"}
            shard.held = await shard.store.commit_page(shard.held, commit)

    # --- what is judged ----------------------------------------------------------------------------------------------

    async def judge(self) -> None:
        await self.start()
        await self.drive()
        if not self.tasks:  # the last fuse blew now
            await self.start()
        self.fuse.left = None
        await self.drive()
        await self.poll()
        await self.drive()
        await self.poll()
        await self.drive()
        wanted = {(seen_key(f"c{n}", str(s)).id, seen_key("", str(s)).state) for n, s in enumerate(self.states)}
        for name, progress in SINKS.items():
            events = self.topics[name].events
            found = Counter((event.seen.id, event.seen.state) for event in events if event.seen is not None)
            assert not wanted - set(found), f"{name} lacks {len(wanted - set(found))} of {len(wanted)}"
            if progress:
                assert not [key for key, count in found.items() if count > 1], f"{name} has a state twice"
                assert not [i for i, count in Counter(event.id for event in events).items() if count > 1], (
                    f"{name}: id twice"
                )
        told = {event.id for event in self.topics["plain"].events}
        kept = {event.id for name, progress in SINKS.items() for event in self.topics[name].events if progress}
        assert kept <= told, f"plain was never told of {len(kept - told)} ids"
        await self.kill()


def machine(kept: type[Kept]) -> type[RuleBasedStateMachine]:  # noqa: C901 its rules are short and flat
    class Schedule(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.quiet = ExitStack()
            self.quiet.enter_context(capture_logs())
            self.runner = asyncio.Runner()
            self.world = World(kept())

        def run(self, coroutine: Any) -> None:
            self.runner.run(coroutine)

        @rule(count=st.integers(1, 3))
        def new_calls(self, count: int) -> None:
            self.world.states += [0] * count
            self.run(self._polled())

        @rule(number=st.integers(0, 30))
        def a_call_changes(self, number: int) -> None:
            if self.world.states:
                self.world.states[number % len(self.world.states)] += 1
                self.run(self._polled())

        @rule(hours=st.integers(1, 20))
        def time_passes(self, hours: int) -> None:
            self.world.clock.wall += hours * 3600.0

        async def _polled(self) -> None:
            await self.world.start()
            with suppress(Crashed, SinkFault):  # a fault that was planted for a delivery
                await self.world.poll()
            if self.world.fuse.blown:
                await self.world.kill()

        @rule()
        def deliver(self) -> None:
            self.run(self._deliver())

        async def _deliver(self) -> None:
            await self.world.start()
            await self.world.drive()

        @rule(at=st.integers(0, 60))
        def crash_at_an_await(self, at: int) -> None:
            self.run(self._fused(at, "crash", 0))

        @rule(at=st.integers(0, 60), sink=st.sampled_from(sorted(SINKS)))
        def a_fault_at_an_await(self, at: int, sink: str) -> None:
            self.run(self._fused(at, sink, 0))

        @rule(at=st.integers(0, 60))
        def a_poll_at_an_await(self, at: int) -> None:
            self.run(self._fused(at, "poll", 0))

        @rule(at=st.integers(0, 60), copy=st.integers(0, 5), polled=st.booleans())
        def a_restore_at_an_await(self, at: int, copy: int, polled: bool) -> None:
            if kept is not Sqlite:
                self.run(self._fused(at, "restore and poll" if polled else "restore", copy))

        async def _fused(self, at: int, what: str, copy: int) -> None:
            world = self.world
            await world.start()

            async def action() -> None:
                if what == "crash":
                    await world.fuse.crash()
                elif what == "poll":
                    world.polled.append(asyncio.create_task(world.poll()))
                    await asyncio.sleep(0)
                elif what.startswith("restore") and world.kept.copies:
                    number = copy % len(world.kept.copies)
                    for sink in world.sinks.values():
                        if await world.is_strange(sink, world.kept.copies[number]):
                            return
                    await world.kept.restore(number)
                    if what.endswith("poll"):  # the way in is the first to notice, and goes on at once
                        for _ in range(2):
                            world.polled.append(asyncio.create_task(world.poll()))
                            await asyncio.sleep(0)
                elif what in SINKS:
                    raise SinkFault("planted")

            world.fuse.set(at, action)
            await world.drive()

        @rule()
        def backup(self) -> None:
            self.run(self.world.kept.backup())

        @rule(names=st.integers(0, len(NAMES) - 1))
        def configure(self, names: int) -> None:
            self.run(self._configured(names))

        async def _configured(self, names: int) -> None:
            await self.world.kill()
            self.world.names = NAMES[names]

        @rule(copy=st.integers(0, 5), crashed=st.booleans())
        def restore(self, copy: int, crashed: bool) -> None:
            if self.world.kept.copies:
                self.run(self._replaced(copy, crashed or kept is Sqlite))

        async def _replaced(self, copy: int, crashed: bool) -> None:
            copy %= len(self.world.kept.copies)
            for sink in self.world.sinks.values() if not crashed else ():
                crashed = crashed or await self.world.is_strange(sink, self.world.kept.copies[copy])
            if crashed:
                await self.world.kill()
            await self.world.kept.restore(copy)

        @rule(copy=st.integers(0, 5), names=st.integers(0, len(NAMES) - 1))
        def restore_with_a_configuration(self, copy: int, names: int) -> None:
            self.configure(names)
            self.restore(copy, crashed=True)

        @rule()
        def empty(self) -> None:
            self.run(self._emptied())

        async def _emptied(self) -> None:
            await self.world.kill()
            await self.world.kept.empty()

        def teardown(self) -> None:
            try:
                self.run(self.world.judge())
            finally:
                with suppress(PollerError):  # what ended the process was raised above
                    self.run(self.world.kill())
                self.run(self.world.kept.shut())
                self.runner.close()
                self.quiet.close()
                self.world.kept.remove()

    Schedule.__name__ = f"{kept.__name__}Schedule"
    return Schedule


TestMemory = machine(Memory).TestCase
TestMemory.settings = settings(
    max_examples=int(os.environ.get("SCHEDULES", "120")), stateful_step_count=20, deadline=None
)
TestSqlite = machine(Sqlite).TestCase
TestSqlite.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
TestPostgres = pytest.mark.postgres(pytest.mark.usefixtures("postgres_server")(machine(Postgres).TestCase))
TestPostgres.settings = settings(
    max_examples=int(os.environ.get("SCHEDULES", "8")), stateful_step_count=15, deadline=None
)
pytestmark = pytest.mark.timeout(300)


Step = tuple[str, dict[str, Any]]
CALL: Step = ("new_calls", {"count": 1})
CHANGE: Step = ("a_call_changes", {"number": 0})
EMPTY: Step = ("empty", {})
LATER: Step = ("time_passes", {"hours": 7})
BACKUP: Step = ("backup", {})
DELIVER: Step = ("deliver", {})
FAULT: Step = ("a_fault_at_an_await", {"at": 11, "sink": "first"})
OTHER_NAMES: Step = ("configure", {"names": 2})


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([DELIVER, CALL, EMPTY, CHANGE], id="the same id in another state has the same number again"),
        pytest.param([CALL, CHANGE, EMPTY, CHANGE], id="two first states, one polled before the other was read back"),
        pytest.param(
            [DELIVER, CALL, DELIVER, ("a_fault_at_an_await", {"at": 5, "sink": "plain"}), CHANGE, EMPTY, CALL],
            id="polled as a first state, published as an update, and who keeps no progress had neither",
        ),
        pytest.param(
            [DELIVER, BACKUP, CALL, DELIVER, LATER, CHANGE, ("restore", {"copy": 0, "crashed": False}), CHANGE, CHANGE],
            id="what was polled after the exchange tells nothing about when it happened",
        ),
        pytest.param(
            [
                DELIVER,
                BACKUP,
                OTHER_NAMES,
                CALL,
                DELIVER,
                ("restore_with_a_configuration", {"copy": 0, "names": 0}),
                CHANGE,
            ],
            id="a store from before a change of names, with the configuration of that time",
        ),
        pytest.param(
            [
                BACKUP,
                CALL,
                *[BACKUP] * 4,
                ("restore", {"copy": 0, "crashed": False}),
                ("a_restore_at_an_await", {"at": 1, "copy": 1, "polled": False}),
                CHANGE,
            ],
            id="exchanged for an empty one and back, and what is known was asked in between",
        ),
        *(
            pytest.param(
                [BACKUP, DELIVER, FAULT, CALL, ("a_restore_at_an_await", {"at": at, "copy": 0, "polled": polled})],
                id=f"exchanged while its progress is looked for, which is not foreign: {polled}",
            )
            for at, polled in ((15, False), (16, True))
        ),
    ],
)
def test_schedules_that_were_hard(steps: list[Step]) -> None:
    schedule = machine(Memory)()
    for name, arguments in steps:
        getattr(schedule, name)(**arguments)
    schedule.teardown()
