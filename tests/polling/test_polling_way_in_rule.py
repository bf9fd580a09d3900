"""The ladder's rule as a state machine over the whole way in: the real poll line, planning and keeping, on the real stores.

For every user that was asked for and every rung: a row whose own time lies before (end of the rung's last pass minus `back`), and
that became visible no later than `back` after its own time, is in the log, in a state no older than it had then. What is claimed to be
complete is. Within one history of the store nothing is in the log twice. Nothing that happens in between may break that: outages,
broken answers, unreadable seconds, crashes between any two steps, a store exchanged for any earlier copy or emptied while it is
used, edited ladders, users and starts, clocks that jump, clock changes of the vendor's zone.

Where there is only one history at a time, the log is all that has to be judged: what sinks make of it is another rule.
"""

import asyncio
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest
from delivery_model import Crashed, Fuse, Fused
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from ladder_vendor import ASKS, MANNERS, USERS, Calls, Row, World
from stores_harness import harness_of
from structlog.testing import capture_logs

from poller import checkpoint as checkpoints
from poller import schedule, segment
from poller.checkpoint import Checkpoint
from poller.errors import Outdated
from poller.http import Vendor
from poller.identity import state_hash
from poller.keep import Keeper
from poller.metrics import Metrics
from poller.model import Event
from poller.options import EndpointOptions
from poller.shard import Shard
from poller.track import Setup, Track, claims

NAME, ID = "phones-1", "phones-main"
ORDINARY, AUTUMN, SPRING, MONTH = (
    int(datetime.fromisoformat(text).timestamp())
    for text in ("2023-11-14T22:13:20Z", "2024-10-27T01:00Z", "2024-03-31T01:00Z", "2024-05-01T00:00Z")
)
CHANGES = (AUTUMN, SPRING)
"""Of Warsaw's clock."""
LADDERS = [
    [(300, 0), (1_800, 300), (10_800, 1_800)],
    [(300, 0), (10_800, 1_800)],
    [(60, 0), (1_800, 600), (3_600, 900), (10_800, 3_600)],
    [(600, 0)],
]
BACKS = sorted({back for ladder in LADDERS for back, _ in ladder})
STATES = {state_hash(str(state)): state for state in range(4)}
SHM = Path("/dev/shm")


class Life:
    """One process: what it believes, and a track for each user."""

    def __init__(self, shard: Shard, tracks: dict[str, Track], fuse: Fuse) -> None:
        self.shard = shard
        self.tracks = tracks
        self.fuse = fuse


class WayIn(RuleBasedStateMachine):
    """One endpoint, one vendor, one store, at most one process."""

    kind = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.closing = ExitStack()
        self.closing.enter_context(capture_logs())
        self.folder = Path(tempfile.mkdtemp(dir=SHM if self.kind == "sqlite" and SHM.is_dir() else None))
        self.closing.callback(shutil.rmtree, self.folder)
        self.runner = self.closing.enter_context(asyncio.Runner())
        self.harness = harness_of(self.kind, self.folder)
        self.closing.callback(self.harness.remove)
        self.store: Any = None
        self.life: Life | None = None
        self.copies: list[str] = []
        self.exchanged = False

    @initialize(
        manner=st.sampled_from(sorted(MANNERS)),
        seed=st.integers(0, 2**32),
        at=st.sampled_from([ORDINARY, MONTH, *CHANGES]),
        before=st.integers(-3_000, 3_000),
        skew=st.sampled_from([0, 240, -240]),
        dated=st.booleans(),
        settle=st.sampled_from([0, 10, 600]),
        start=st.integers(0, 7_200),
        open_ends=st.booleans(),
        ladder=st.integers(0, 3),
    )
    def begin(
        self,
        manner: str,
        seed: int,
        at: int,
        before: int,
        skew: int,
        dated: bool,
        settle: int,
        start: int,
        open_ends: bool,
        ladder: int,
    ) -> None:
        at = MONTH if at in CHANGES and not MANNERS[manner].local else at
        open_ends &= at not in CHANGES
        self.world = World(MANNERS[manner], at + before, random.Random(seed), open_ends=open_ends)
        self.world.dated = dated
        self.world.skew = skew if dated else max(0, skew)  # nothing tells that a vendor without a Date is behind us
        self.settle, self.start, self.ladder, self.users = settle, start, LADDERS[ladder], [USERS[0]]
        self.add_rows(self.world.now - 8_000, self.world.now)
        for own in (MONTH, MONTH + 50, MONTH + 200):
            self.world.add(own, own + 300)
        self.store = self.runner.run(self.harness.open())

    # --- the world ---------------------------------------------------------------------------------------------------

    def add_rows(self, begin: int, end: int) -> None:
        """Rows become visible at once, or anywhere up to a rung's reach, or exactly at it."""
        rnd = self.world.rnd
        for _ in range(min((end - begin) // 120, 30)):
            own = rnd.randint(begin, end)
            back = rnd.choice(BACKS)
            self.world.add(own, own + rnd.choice([0, back, rnd.randint(0, back)]))

    def add_critical_rows(self) -> None:
        """Rows that stay hidden as long as a rung promises to wait, to the second: dated about now, or about to appear."""
        world = self.world
        for back in BACKS:
            own = world.now + world.rnd.choice([-self.settle - 1, -self.settle, -1, 100])
            world.add(own, own + back - world.rnd.choice([0, 0, 1]))
            world.add(world.now - back + (later := world.rnd.randint(0, 3)), world.now + later)

    @rule(seconds=st.sampled_from([5, 60, 60, 60, 300, 3_600, 30_000]))
    def time_passes(self, seconds: int) -> None:
        self.add_rows(self.world.now, self.world.now + seconds)
        self.world.pass_time(seconds)
        self.world.clock.is_steady |= seconds >= 60

    @rule(pick=st.integers(0, 10), near=st.sampled_from([-1, 0, 1]))
    def a_row_is_about_to_appear(self, pick: int, near: int) -> None:
        """The worst moments to poll: right before and right after a row shows."""
        hidden = sorted({row.visible for row in self.world.rows if row.visible > self.world.now + 1})
        if hidden:
            self.world.pass_time(hidden[min(pick, len(hidden) - 1)] + near - self.world.now)

    @rule(skew=st.integers(-240, 240))
    def our_clock_jumps(self, skew: int) -> None:
        world = self.world
        skew = skew if world.dated else abs(skew)
        world.clock.jump(world.skew - skew)
        world.skew = skew

    @rule()
    def all_can_be_read(self) -> None:
        self.world.faults.unreadable = None

    # --- the process -------------------------------------------------------------------------------------------------

    async def live(self) -> Life:
        """The process that runs, or a new one."""
        if self.life is None:
            fuse = Fuse()
            shard = Shard(Fused(self.store, fuse), 0)
            await shard.believe()
            self.life, self.exchanged = Life(shard, self.tracks(shard), fuse), False
        return self.life

    def tracks(self, shard: Shard) -> dict[str, Track]:
        options = EndpointOptions.model_validate(
            {
                "start": f"{self.start}s",
                "settle": f"{self.settle}s",
                "timeout": "30m",  # so that an answer of a minute is a quick one
                "ladder": [
                    {"back": f"{back}s", "every": f"{every}s" if every else "poll"} for back, every in self.ladder
                ],
            }
        )
        metrics, clock, vendor = Metrics(), self.world.clock, cast(Vendor, self.world)
        endpoint = Calls(self.world.manner, self.users)
        metrics.declare(NAME, endpoint.name)
        setup = Setup(NAME, ID, vendor, shard, clock, metrics, random.Random(1), 30 * 86_400)
        found = {}
        for user in self.users:
            keeper = Keeper(ID, endpoint, options, shard, metrics=metrics, clock=clock, mentions=True, name=NAME)
            found[user] = Track(setup, endpoint, options, ASKS[user], keeper)
        return found

    async def poll(self, user: str, until: float | None, force: bool) -> None:
        """One poll as the schedule makes it; a crash ends the process."""
        life = await self.live()
        track = life.tracks.get(user) or next(iter(life.tracks.values()))
        deadline = None if until is None else self.world.clock.mono() + until
        try:
            error = await schedule.poll_once(track, until=deadline, force=force)
        except Crashed:
            await self.die()
            return
        finally:
            life.fuse.left = None
        assert "defect" not in str(error or ""), error
        self.exchanged &= not isinstance(error, Outdated)

    async def die(self) -> None:
        """Whatever was only in memory is gone."""
        self.life = None
        self.store = await self.harness.reopen()
        self.exchanged = False

    @rule(
        user=st.sampled_from(USERS),
        until=st.sampled_from([None, None, 0, 60]),
        force=st.booleans(),
        takes=st.sampled_from([0, 0, 1, 10, 50]),
    )
    def polls(self, user: str, until: float | None, force: bool, takes: int) -> None:
        self.add_critical_rows()
        self.world.takes = takes
        self.runner.run(self.poll(user, until, force))
        self.judge()

    @rule(user=st.sampled_from(USERS), times=st.integers(2, 4), every=st.sampled_from([10, 61, 305, 1_801]))
    def polls_go_on(self, user: str, times: int, every: int) -> None:
        for _ in range(times):
            self.polls(user, None, False, 0)
            self.world.pass_time(every)

    @rule(
        user=st.sampled_from(USERS),
        back=st.integers(0, 4_000),
        polls=st.sampled_from([1, 12]),
        waits=st.sampled_from([[0], [0], [0, 12_000]]),
    )
    def a_second_cannot_be_read(self, user: str, back: int, polls: int, waits: list[int]) -> None:
        """Windows around it are halved, a few at each poll, until it alone is left; claims stay below it."""
        self.world.faults.unreadable = at = self.world.now - back
        self.world.add(at, self.world.now)
        for wait in waits:
            self.world.pass_time(wait)
            for _ in range(polls):
                self.polls(user, None, False, 0)

    @rule(
        user=st.sampled_from(USERS),
        faults=st.lists(st.sampled_from(["away", "busy", 0, 50, 99]), min_size=1, max_size=5),
        good=st.integers(0, 4),
        force=st.booleans(),
    )
    def the_vendor_fails(self, user: str, faults: list[str | int], good: int, force: bool) -> None:
        self.world.faults.next = [*[100] * good, *faults]
        self.polls(user, None, force, 1)
        self.world.faults.next = []

    @rule(
        user=st.sampled_from(USERS),
        at=st.integers(0, 9),
        what=st.sampled_from(["crash", "crash", "restore", "empty"]),
        copy=st.integers(0, 20),
        wait=st.sampled_from([0, 61, 1_801]),
    )
    def cut_short(self, user: str, at: int, what: str, copy: int, wait: int) -> None:
        """Something happens at a step between the poll and the store, when some rows are as late as a rung promises."""
        self.add_critical_rows()
        self.world.pass_time(wait)

        async def action() -> None:
            if what == "crash":
                raise Crashed
            self.exchange(None if what == "empty" else copy)

        life = self.runner.run(self.live())
        life.fuse.set(at, action)
        self.polls(user, None, True, 1)

    # --- what people do ----------------------------------------------------------------------------------------------

    def exchange(self, copy: int | None) -> None:
        """Puts a copy, or nothing, in the place of the store; whoever uses it has to notice."""
        if copy is None:
            if not (self.exchanged and self.kind != "memory"):
                self.harness.empty()
                self.exchanged = True
        elif self.copies:
            self.harness.restore(self.copies[copy % len(self.copies)])
            self.exchanged = True

    @rule(copy=st.none() | st.integers(0, 20), running=st.booleans())
    def the_store_is_exchanged(self, copy: int | None, running: bool) -> None:
        self.exchange(copy)
        if not running:
            self.runner.run(self.die())
        self.judge()

    @rule()
    def back_up(self) -> None:
        if not self.exchanged:
            self.copies.append(f"copy{len(self.copies)}")
            self.harness.copy(self.copies[-1])

    @rule(
        ladder=st.none() | st.integers(0, 3),
        users=st.none() | st.sampled_from([list(USERS[:1]), list(USERS[1:]), list(USERS)]),
        start=st.none() | st.integers(0, 7_200),
    )
    def the_configuration_is_edited(self, ladder: int | None, users: list[str] | None, start: int | None) -> None:
        self.ladder = self.ladder if ladder is None else LADDERS[ladder]
        self.users = users or self.users
        self.start = self.start if start is None else start
        self.runner.run(self.die())
        self.judge()

    # --- what must hold ----------------------------------------------------------------------------------------------

    def judge(self) -> None:
        self.runner.run(self.check())

    async def check(self) -> None:
        try:
            log = [e for one in await self.store.segments_after(0, 0, 1 << 40) for e in segment.unpack(one)]
        except Outdated:  # a server's tables were dropped, and the process has not met it yet
            assert self.exchanged
            return
        published = self.published(log)
        for key, data in (await self.store.checkpoints()).items():
            user = key.ask.removeprefix("user=")
            checkpoint = checkpoints.load(data, tracks_ladder(self.ladder))
            for back, _ in self.ladder:
                last = checkpoint.rung(back).last
                if last is not None:
                    self.holds(published, user, checkpoint, last - back, back, rung=True)
            claim = checkpoints.complete_until(checkpoint)
            if claim is not None:
                self.holds(published, user, checkpoint, claim, self.ladder[-1][0])
        if self.life is not None and not self.exchanged:
            self.endpoint_claims(published, self.life)

    def published(self, log: list[Event]) -> dict[str, int]:
        """The newest state of each row in the log. Nothing comes twice, nothing is made up, the first one alone is new."""
        found: dict[str, list[int]] = {}
        rows = {row.id: row for row in self.world.rows}
        for event in log:
            assert event.seen is not None
            state, states = STATES[event.seen.state], found.setdefault(event.subject, [])
            assert state not in states, f"{event.subject} is in the log twice in state {state}"
            assert event.type == ("telephony.call.updated" if states else "telephony.call.new"), event.subject
            assert rows[event.subject].state(self.world.now) >= state, f"{event.subject} never was in state {state}"
            states.append(state)
        return {name: max(states) for name, states in found.items()}

    def endpoint_claims(self, published: dict[str, int], life: Life) -> None:
        """What an endpoint claims holds for every user that is configured; one of whom nothing is known claims nothing."""
        tracks = list(life.tracks.values())
        _, complete = claims(tracks)
        known = [track.checkpoint for track in tracks if track.checkpoint is not None]
        if len(known) < len(tracks):
            assert complete is None
        elif complete is not None:
            for user, checkpoint in zip(life.tracks, known, strict=True):
                self.holds(published, user, checkpoint, complete, self.ladder[-1][0])

    def holds(
        self, published: dict[str, int], user: str, checkpoint: Checkpoint, until: int, back: int, *, rung: bool = False
    ) -> None:
        """Rows in an open gap are excused from a rung's guarantee, never from what is claimed to be complete."""
        for row in self.due(user, checkpoint.start, until, back):
            excused = rung and any(gap.begin - 60 <= row.own <= gap.end + 60 for gap in checkpoint.gaps)
            assert excused or published.get(row.id, -1) >= row.state(row.own + back), (row, until, back)

    def due(self, user: str, start: int, until: int, back: int) -> Iterator[Row]:
        """The rows that a rung must have found; where the vendor tells no seconds, `start` means the next whole minute.

        What crossed a month's end longer ago than the rung reaches is another one's to find.
        """
        start += -start % self.world.manner.limits.resolution
        for row in self.world.rows:
            if user in row.users and start <= row.own < until and row.visible <= row.own + back and row.crossed <= back:
                yield row

    # --- in the end --------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if self.store is not None:
                self.runner.run(self.all_is_read())
        finally:
            if self.store is not None:
                self.runner.run(self.harness.close())
            self.closing.close()

    async def all_is_read(self) -> None:
        """Once nothing fails any more, every rung of every user gets its pass, and everything is claimed."""
        world = self.world
        world.faults.unreadable, world.faults.next, world.takes = None, [], 1
        world.clock.is_steady = True
        world.pass_time(self.ladder[-1][0] + self.settle + 600)
        for user in self.users:
            for _ in range(4):
                await self.poll(user, None, force=True)
            life = await self.live()
            checkpoint = life.tracks[user].checkpoint
            assert checkpoint is not None
            claim = checkpoints.complete_until(checkpoint)
            reach = world.now - world.skew * (not world.dated) - self.settle - self.ladder[-1][0] - 900
            assert checkpoint.start > reach or (claim or 0) >= reach, (user, claim, reach)
        await self.check()


def tracks_ladder(ladder: list[tuple[int, int]]) -> list[checkpoints.Step]:
    """As a track has it."""
    return [checkpoints.Step(back, every) for back, every in ladder]


class WayInSqlite(WayIn):
    """On the embedded store, its files in memory where the machine has such a folder."""

    kind = "sqlite"


class WayInPostgres(WayIn):
    """On the shared store."""

    kind = "postgres"


@pytest.mark.postgres
@pytest.mark.usefixtures("postgres_server")
def test_tables_are_dropped_before_a_process_has_read_its_checkpoints() -> None:
    """The process has polled in vain so far; the poll that meets it makes the tables anew, and the next ones go on."""
    way = WayInPostgres()
    way.begin(
        "fonouc", seed=0, at=ORDINARY, before=0, skew=0, dated=False, settle=0, start=0, open_ends=False, ladder=0
    )
    way.our_clock_jumps(0)
    way.polls(USERS[0], None, False, 0)
    way.the_store_is_exchanged(None, running=True)
    way.teardown()


TestMemory = WayIn.TestCase
TestMemory.settings = settings(
    max_examples=int(os.environ.get("SCHEDULES", "60")), stateful_step_count=30, deadline=None
)
TestSqlite = WayInSqlite.TestCase
TestSqlite.settings = settings(
    max_examples=int(os.environ.get("SCHEDULES", "15")), stateful_step_count=25, deadline=None
)
TestPostgres = pytest.mark.postgres(pytest.mark.usefixtures("postgres_server")(WayInPostgres.TestCase))
TestPostgres.settings = settings(
    max_examples=int(os.environ.get("SCHEDULES", "4")), stateful_step_count=20, deadline=None
)
pytestmark = pytest.mark.timeout(300)
