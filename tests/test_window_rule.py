"""The ladder's guarantee, held by the real planning code in random worlds.

For every user that is asked for and every rung: a row whose own time lies before (end of the rung's last pass minus `back`), and that
became visible no later than `back` after its own time, has been read. Nothing that happens in between (failures, crashes, edited
ladders, users and starts, restored or emptied stores, clocks that jump or change, a vendor ahead of us or behind) may break that,
and nothing else may be claimed.
"""

import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import Struct

from poller import checkpoint as checkpoints
from poller import window
from poller.checkpoint import Checkpoint, Step
from poller.model import Limits, Window

ORDINARY = 1_700_000_000
AUTUMN, SPRING = (int(datetime(2024, *day, 1, tzinfo=UTC).timestamp()) for day in ((10, 27), (3, 31)))
"""The clock changes of Warsaw and Vilnius."""
SETTLE = 10
LADDERS = (
    [Step(300, 0), Step(1_800, 300), Step(10_800, 1_800)],
    [Step(300, 0), Step(10_800, 1_800)],
    [Step(60, 0), Step(1_800, 600), Step(3_600, 900), Step(10_800, 3_600)],
    [Step(600, 0)],
)
USERS = (0, 1)


class Row(Struct, frozen=True):
    """One call of a user."""

    user: int
    own: int
    visible: int


class Ladder(RuleBasedStateMachine):
    """One endpoint, one vendor, one store. A vendor with a zone filters by its local time without an offset."""

    worlds: tuple[tuple[str | None, int], ...] = ((None, ORDINARY),)

    @initialize(
        seed=st.integers(0, 2**32),
        skew=st.sampled_from([0, 240, -240]),
        resolution=st.sampled_from([1, 60]),
        start=st.integers(-7_200, 0),
        base=st.integers(0, 1),
        before=st.integers(-3_000, 3_000),
    )
    def begin(self, seed: int, skew: int, resolution: int, start: int, base: int, before: int) -> None:
        zone, self.now = self.worlds[base % len(self.worlds)]
        self.now += before
        self.rnd = random.Random(seed)
        self.skew = skew
        self.limits = Limits(resolution=resolution, min_span=resolution, max_span=20_000, first_span=1_800, zone=zone)
        self.zone = ZoneInfo(zone) if zone else None
        self.start = start
        self.ladder = LADDERS[0]
        self.rows: list[Row] = []
        self.users: set[int] = {USERS[0]}
        self.forget_everything()
        self.backups: list[tuple[dict[int, bytes], set[Row]]] = []
        self.dated = False
        self.add_rows(self.now - 8_000, self.now)

    def forget_everything(self) -> None:
        self.seen: set[Row] = set()
        self.saved: dict[int, bytes] = {}
        self.held: dict[int, Checkpoint] = {}

    # --- the world ---------------------------------------------------------------------------------------------------

    def add_rows(self, begin: int, end: int) -> None:
        """Rows become visible at once, or anywhere up to a rung's reach, or exactly at it."""
        for _ in range((end - begin) // 120):
            own = self.rnd.randint(begin, end)
            back = self.rnd.choice([step.back for step in self.ladder])
            self.rows.append(
                Row(self.rnd.choice(USERS), own, own + self.rnd.choice([0, back, self.rnd.randint(0, back)]))
            )

    def add_critical_rows(self) -> None:
        """Rows dated about now that stay hidden as long as a rung promises to wait, to the second."""
        for step in self.ladder:
            for own in (self.now - SETTLE - 1, self.now - SETTLE, self.now - 1, self.now + 100):
                self.rows += [Row(user, own, own + step.back - self.rnd.choice([0, 0, 1])) for user in USERS]

    def answer(self, user: int, asked: Window) -> None:
        """What the vendor shows right now: minutes are whole, and local times carry no offset."""

        def text(at: int) -> object:
            at -= at % self.limits.resolution
            return at if self.zone is None else datetime.fromtimestamp(at, self.zone).replace(tzinfo=None)

        low, high = text(asked.begin), text(asked.end)
        shown = (row for row in self.rows if row.user == user and row.visible <= self.now)
        self.seen |= {row for row in shown if low <= text(row.own) <= high}  # type: ignore[operator]

    @rule(seconds=st.sampled_from([5, 60, 60, 60, 300, 3_600, 30_000]))
    def time_passes(self, seconds: int) -> None:
        self.add_rows(self.now, self.now + seconds)
        self.now += seconds

    @rule(pick=st.integers(0, 10), near=st.sampled_from([-1, 0, 1]))
    def a_row_is_about_to_appear(self, pick: int, near: int) -> None:
        """The worst moments to poll: right before and right after a row shows."""
        hidden = sorted({row.visible for row in self.rows if row.visible > self.now + 1})
        if hidden:
            self.now = hidden[min(pick, len(hidden) - 1)] + near

    # --- the reader --------------------------------------------------------------------------------------------------

    def load(self, user: int, target: int) -> Checkpoint:
        if user not in self.held:
            saved = self.saved.get(user)
            fresh = checkpoints.begin(self.start, target, self.ladder, 1_800)
            self.held[user] = fresh if saved is None else checkpoints.load(saved, self.ladder)
        return self.held[user]

    @rule(
        slices=st.integers(0, 12),
        slow=st.sampled_from([0, 1, 30]),
        outcomes=st.lists(st.sampled_from(["ok", "ok", "ok", "halve", "fail", "crash"]), min_size=12, max_size=12),
        force=st.booleans(),
        pick=st.sampled_from(USERS),
    )
    def poll(self, slices: int, slow: int, outcomes: list[str], force: bool, pick: int) -> None:
        self.add_critical_rows()
        user = pick if pick in self.users else min(self.users)
        target = self.now + (0 if self.dated else self.skew) - SETTLE
        checkpoint = self.load(user, target)
        window.plan(checkpoint, self.ladder, target, self.limits, force=force)
        for outcome in outcomes[:slices]:
            item = window.current(checkpoint)
            if item is None or outcome == "fail":
                return
            if outcome == "crash":
                self.held.clear()
                return
            part = window.next_slice(checkpoint, item, self.limits)
            assert part is not None
            if outcome == "halve":
                if not window.unreadable(checkpoint, item, part, self.limits, reason="timeout", now=self.now):
                    return
                continue
            answered = self.now
            self.answer(user, part.asked)
            draft = checkpoints.load(checkpoints.dump(checkpoint), self.ladder)
            same = next(other for other in draft.passes if other.top == item.top)
            window.read(draft, same, part, self.limits, bound=answered - SETTLE, easy=self.rnd.random() < 0.5)
            self.dated = True
            self.held[user] = checkpoint = draft
            self.saved[user] = checkpoints.dump(draft)
            self.add_rows(self.now, self.now + slow)
            self.now += slow

    # --- what people do ----------------------------------------------------------------------------------------------

    @rule(index=st.integers(0, 3))
    def edit_ladder(self, index: int) -> None:
        self.ladder = LADDERS[index]
        self.held.clear()

    @rule(start=st.integers(-7_200, 0))
    def edit_start(self, start: int) -> None:
        self.start = start
        self.held.clear()

    @rule(users=st.sampled_from([{0}, {1}, {0, 1}]))
    def edit_users(self, users: set[int]) -> None:
        self.users = set(users)
        self.held.clear()

    @rule()
    def back_up(self) -> None:
        self.backups.append((dict(self.saved), set(self.seen)))

    @rule(pick=st.integers(0, 20))
    def restore(self, pick: int) -> None:
        if self.backups:
            saved, seen = self.backups[pick % len(self.backups)]
            self.saved, self.seen = dict(saved), set(seen)
            self.held.clear()

    @rule()
    def empty_the_store(self) -> None:
        self.forget_everything()

    # --- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def every_claim_holds(self) -> None:
        for user, saved in getattr(self, "saved", {}).items():
            checkpoint = checkpoints.load(saved, self.ladder)
            for step in self.ladder:
                last = checkpoint.rung(step.back).last
                if last is not None:
                    self.check(user, checkpoint, last - step.back, step.back)
            claim = checkpoints.complete_until(checkpoint)
            if claim is not None:
                self.check(user, checkpoint, claim, self.ladder[-1].back, gaps=False)

    def check(self, user: int, checkpoint: Checkpoint, until: int, back: int, *, gaps: bool = True) -> None:
        """Rows in an open gap are excused from a rung's guarantee, never from what is claimed to be complete."""
        for row in self.rows:
            if row.user != user or not checkpoint.start <= row.own < until or row.visible > row.own + back:
                continue
            excused = gaps and any(gap.begin - 60 <= row.own <= gap.end + 60 for gap in checkpoint.gaps)
            assert excused or row in self.seen, (row, until, back)


class ClockChanges(Ladder):
    """Around the clock changes of a vendor with local times."""

    worlds = (("Europe/Warsaw", AUTUMN), ("Europe/Warsaw", SPRING))


for machine in (Ladder, ClockChanges):
    machine.TestCase.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)
TestLadder = Ladder.TestCase
TestClockChanges = ClockChanges.TestCase
