"""One by one, through crashes at every step, faults of the store and backups in its place: all arrive, again only under the same id."""

import asyncio
import random
from collections import defaultdict
from typing import Any

import pytest
from delivery_events import call_event, seen_key
from each_life import PACE, REFUSED, TAKEN, EachLife, later
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from msgspec import structs
from stores_content import dead_events

from poller.each import Answered, Attempt
from poller.errors import Outdated, StoreFault
from poller.model import Event, PageCommit
from poller.segment import pack
from poller.shard import Shard
from poller.stores.memory import MemoryStore

SCHEDULE = (5.0, 60.0, 600.0)


class World:
    """Calls of a few keys that a vendor has, a sink with whims, and lives of a process that all end early."""

    def __init__(self, *, ordered: bool, seed: int = 1) -> None:
        self.life = EachLife(structs.replace(PACE, ordered=ordered, schedule=SCHEDULE, concurrency=2, probe=60.0))
        self.life.sink.answer = self.answer
        self.rnd = random.Random(seed)
        self.calls: list[tuple[str, str]] = []
        self.given_up: set[str] = set()
        """Dead letters of any life."""
        self.well = False
        self.attempts: dict[str, int] = defaultdict(int)

    def answer(self, event: Event, attempt: Attempt) -> Answered:  # noqa: ARG002 the script's arguments
        """Some are refused, some fail at first, and now and then nothing works."""
        self.attempts[event.subject] += 1
        if event.subject.endswith("refused"):
            return REFUSED
        if self.well or (event.subject.endswith("good") and self.rnd.random() < 0.7):
            return TAKEN
        whims = [later(), later(), TAKEN, later("rate_limited", slow_down=True, retry_after=20.0)]
        return self.rnd.choice(whims)

    async def poll(self) -> None:
        """As the way in does it: what the store does not know is committed."""
        shard = self.life.shard
        try:
            async with shard.lock:
                if not shard.held.epoch:
                    await shard.believe()
                keys = [seen_key(call) for call, _ in self.calls]
                fresh = sorted(await shard.store.look_up(None, keys)) if keys else []
                if fresh:
                    await self.commit(shard, fresh)
            shard.tell()
        except Outdated:
            async with shard.lock:
                await shard.believe()

    async def commit(self, shard: Shard, fresh: list[int]) -> None:
        events, seen = [], []
        for seq, index in enumerate(fresh, shard.held.last.seq + 1):
            call, key = self.calls[index]
            event = structs.replace(call_event(call, seq), key=key)
            assert event.seen is not None
            events.append(event)
            seen.append((event.seen, seq))
        segment = pack(events, shard.held.last, self.life.clock.now())
        shard.held = await shard.store.commit_page(shard.held, PageCommit(segment=segment, seen=seen))

    async def begin(self) -> None:
        """A new process."""
        await self.life.end()
        self.life.fuse.blown, self.life.fuse.left = False, None
        self.life.fused()
        await self.life.begin(max_pending="1GiB")

    async def crash_ended(self) -> None:
        """If the process is gone, another one begins."""
        if self.life.fuse.blown or self.life.ended:
            await self.begin()

    async def look(self) -> None:
        self.given_up |= {dead.event.subject for dead in await dead_events(self.life.store)}

    async def judge(self) -> None:
        """All is well from now on, and everything arrives."""
        await self.crash_ended()
        self.life.fuse.left = None
        await self.poll_until_known()
        self.well = True
        delivery = self.life.delivery
        assert delivery is not None
        await self.life.until(lambda: delivery.pending == 0, longest=1e6)
        await self.life.pass_time(10)
        await self.look()
        wanted = {call for call, _ in self.calls}
        assert wanted <= set(self.life.sink.taken) | self.given_up
        assert {call for call in wanted if call.endswith("refused")} <= self.given_up
        assert all(len(ids) == 1 for ids in self.life.sink.ids.values())
        last = self.life.shard.held.last
        assert await self.life.store.position("crm", 0) == last
        assert await self.life.store.retrying() == {}
        assert await self.life.store.done("crm", 0) == ()

    async def poll_until_known(self) -> None:
        for _ in range(3):
            await self.poll()
            await self.life.drive()


# --- a crash at every step ---------------------------------------------------------------------------------------------

CALLS = [("a good", "k"), ("b refused", "k"), ("c bad", "k"), ("d good", "x"), ("e bad", "x"), ("f good", "y")]


@pytest.mark.anyio
@pytest.mark.parametrize("ordered", [False, True])
async def test_a_crash_at_any_step_repeats_at_most_what_was_under_way(ordered: bool) -> None:
    step, fired = 0, True
    while fired:
        world = World(ordered=ordered, seed=7)
        await world.begin()
        world.life.fuse.set(step, world.life.fuse.crash)
        for begin in (0, 3):
            world.calls += CALLS[begin : begin + 3]
            if not world.life.fuse.blown:
                await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(polled(world))), 60)
            if not world.life.ended:
                await world.life.pass_time(2)
            await world.crash_ended()
        await world.life.pass_time(90)
        fired = bool(world.life.fuse.fired)
        await world.judge()
        await world.life.end()
        repeated = len(world.life.sink.taken) - len(set(world.life.sink.taken))
        assert repeated <= (4 if fired else 0), "what was taken and not committed"
        if ordered:
            taken = [call for call in dict.fromkeys(world.life.sink.taken) if call[0] in "abc"]
            assert taken == sorted(taken), "the events of one key"
        step += 1
    assert step > 60


async def polled(world: World) -> None:
    """A poll that may meet the crash or the fault itself; the schedule would try it again."""
    try:
        await world.poll()
    except StoreFault:
        pass
    except BaseException as error:  # noqa: BLE001 the crash of the fuse, which is none of the library's errors
        assert world.life.fuse.blown, error  # noqa: PT017 it has no message


# --- everything at once ------------------------------------------------------------------------------------------------


class Crashes(RuleBasedStateMachine):
    """Calls, time, crashes, faults, other writers and backups in any order."""

    @initialize(ordered=st.booleans(), seed=st.integers(0, 999))
    def open(self, ordered: bool, seed: int) -> None:
        self.runner = asyncio.Runner()
        self.world = World(ordered=ordered, seed=seed)
        self.backups: list[MemoryStore] = []
        self.do(self.world.begin())

    def do(self, what: Any) -> Any:
        return self.runner.run(what)

    @rule(
        kinds=st.lists(st.sampled_from(["good", "good", "bad", "refused"]), min_size=1, max_size=5),
        key=st.sampled_from("kxyz"),
    )
    def calls(self, kinds: list[str], key: str) -> None:
        world = self.world
        world.calls += [(f"c{len(world.calls) + number} {kind}", key) for number, kind in enumerate(kinds)]
        self.do(self.step(polled(world)))

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, 100.0, 1000.0]))
    def pass_time(self, seconds: float) -> None:
        self.do(self.step(self.world.life.pass_time(seconds)))

    @rule(steps=st.integers(0, 30))
    def crash(self, steps: int) -> None:
        self.world.life.fuse.set(steps, self.world.life.fuse.crash)

    @rule(steps=st.integers(0, 30))
    def fault(self, steps: int) -> None:
        async def fail() -> None:
            raise StoreFault("the disk does not answer")

        self.world.life.fuse.set(steps, fail)

    @rule(steps=st.integers(0, 30))
    def other_writer(self, steps: int) -> None:
        async def take() -> None:
            await self.world.life.store.hold(0)

        self.world.life.fuse.set(steps, take)

    @rule()
    def backup(self) -> None:
        self.backups.append(self.world.life.store.copy())

    @rule(data=st.data(), steps=st.none() | st.integers(0, 30))
    def restore(self, data: st.DataObject, steps: int | None) -> None:
        """At once, or at a later step."""
        if not self.backups:
            return
        copy = data.draw(st.sampled_from(self.backups))

        async def put() -> None:
            await self.world.look()
            self.world.life.store.restore(copy)

        if steps is None:
            self.do(put())
        else:
            self.world.life.fuse.set(steps, put)

    @rule()
    def stop(self) -> None:
        """SIGTERM, and a new start."""
        self.do(self.world.begin())

    async def step(self, what: Any) -> None:
        await what
        await self.world.life.drive()
        await self.world.look()
        await self.world.crash_ended()

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            try:
                self.do(self.world.judge())
            finally:
                self.do(self.world.life.end())
                self.runner.close()


PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Not made smaller: an example takes a second."""
TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, phases=PHASES)
