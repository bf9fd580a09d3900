"""The ladder's guarantee, held by the real planning code in random worlds.

For every rung: a row whose own time lies before (end of the rung's last pass minus `back`), and that became visible no later than
`back` after its own time, has been read. Nothing that happens in between (failures, crashes, edited ladders, restored copies,
clocks that jump, a vendor ahead of us or behind) may break that, and nothing else may be claimed.
"""

import copy
import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from poller import checkpoint as checkpoints
from poller import window
from poller.checkpoint import Checkpoint, Step
from poller.model import Limits

BASE = 1_700_000_000
SETTLE = 10
LADDERS = (
    [Step(300, 0), Step(1_800, 300), Step(10_800, 1_800)],
    [Step(300, 0), Step(10_800, 1_800)],
    [Step(60, 0), Step(1_800, 600), Step(3_600, 900), Step(10_800, 3_600)],
    [Step(600, 0)],
)


class Ladder(RuleBasedStateMachine):
    """One endpoint, one vendor, one store."""

    @initialize(
        seed=st.integers(0, 2**32),
        skew=st.sampled_from([0, 240, -240]),
        resolution=st.sampled_from([1, 60]),
        start=st.integers(-7_200, 0),
    )
    def begin(self, seed: int, skew: int, resolution: int, start: int) -> None:
        self.rnd = random.Random(seed)
        self.skew = skew
        self.limits = Limits(resolution=resolution, min_span=resolution, max_span=20_000, first_span=1_800)
        self.now = BASE
        self.start = start
        self.ladder = LADDERS[0]
        self.rows: list[tuple[int, int]] = []
        self.seen: set[int] = set()
        self.checkpoint: Checkpoint | None = None
        self.dated = False
        self.backups: list[tuple[bytes | None, set[int]]] = []
        self.saved: bytes | None = None
        self.begun_at: int | None = None
        self.add_rows(BASE - 8_000, BASE)

    def add_rows(self, begin: int, end: int) -> None:
        """Rows become visible at once, or anywhere up to a rung's reach, or exactly at it."""
        for _ in range((end - begin) // 120):
            own = self.rnd.randint(begin, end)
            back = self.rnd.choice([step.back for step in self.ladder])
            self.rows.append((own, own + self.rnd.choice([0, back, self.rnd.randint(0, back)])))

    def add_critical_rows(self) -> None:
        """Rows dated about now that stay hidden as long as a rung promises to wait, to the second."""
        for step in self.ladder:
            for own in (self.now - SETTLE - 1, self.now - SETTLE, self.now - 1, self.now + 100):
                self.rows.append((own, own + step.back - self.rnd.choice([0, 0, 1])))

    @rule(seconds=st.sampled_from([5, 60, 60, 60, 300, 3_600, 30_000]))
    def time_passes(self, seconds: int) -> None:
        self.add_rows(self.now, self.now + seconds)
        self.now += seconds

    @rule(pick=st.integers(0, 10), near=st.sampled_from([-1, 0, 1]))
    def a_row_is_about_to_appear(self, pick: int, near: int) -> None:
        """The worst moments to poll: right before and right after a row shows."""
        hidden = sorted({visible for _, visible in self.rows if visible > self.now + 1})
        if hidden:
            self.now = hidden[min(pick, len(hidden) - 1)] + near

    def load(self, target: int) -> Checkpoint:
        if self.checkpoint is None:
            if self.saved is not None:
                self.checkpoint = checkpoints.load(self.saved, self.ladder)
            else:
                self.checkpoint = checkpoints.begin(self.start, target, self.ladder, 1_800)
        return self.checkpoint

    @rule(
        slices=st.integers(0, 12),
        slow=st.sampled_from([0, 1, 30]),
        outcomes=st.lists(st.sampled_from(["ok", "ok", "ok", "halve", "fail", "crash"]), min_size=12, max_size=12),
        force=st.booleans(),
    )
    def poll(self, slices: int, slow: int, outcomes: list[str], force: bool) -> None:
        ours = self.now + self.skew
        self.add_critical_rows()
        target = (self.now if self.dated else ours) - SETTLE
        checkpoint = self.load(target)
        window.plan(checkpoint, self.ladder, target, self.limits, force=force)
        for outcome in outcomes[:slices]:
            item = window.current(checkpoint)
            if item is None:
                return
            part = window.next_slice(checkpoint, item, self.limits)
            assert part is not None
            if outcome == "crash":
                self.checkpoint = None
                return
            if outcome == "fail":
                return
            if outcome == "halve":
                if not window.unreadable(checkpoint, item, part, self.limits, reason="timeout", now=self.now):
                    return
                continue
            answered = self.now
            for index, (own, visible) in enumerate(self.rows):
                if part.asked.begin <= own <= part.asked.end and visible <= answered:
                    self.seen.add(index)
            draft = checkpoints.load(checkpoints.dump(checkpoint), self.ladder)
            same = next(other for other in draft.passes if other.top == item.top)
            window.read(draft, same, part, self.limits, bound=answered - SETTLE, easy=self.rnd.random() < 0.5)
            self.dated = True
            self.checkpoint = checkpoint = draft
            self.saved = checkpoints.dump(draft)
            self.begun_at = draft.start if self.begun_at is None else min(self.begun_at, draft.start)
            self.add_rows(self.now, self.now + slow)
            self.now += slow

    @rule(index=st.integers(0, 3))
    def edit_ladder(self, index: int) -> None:
        self.ladder = LADDERS[index]
        self.checkpoint = None

    @rule()
    def back_up(self) -> None:
        self.backups.append((self.saved, copy.copy(self.seen)))

    @rule(pick=st.integers(0, 20))
    def restore(self, pick: int) -> None:
        if self.backups:
            self.saved, seen = self.backups[pick % len(self.backups)]
            self.seen = copy.copy(seen)
            self.checkpoint = None

    @invariant()
    def every_claim_holds(self) -> None:
        if not hasattr(self, "rnd") or self.saved is None:
            return
        checkpoint = checkpoints.load(self.saved, self.ladder)
        open_gaps = [gap.window for gap in checkpoint.gaps]
        for step in self.ladder:
            last = checkpoint.rung(step.back).last
            if last is None:
                continue
            for index, (own, visible) in enumerate(self.rows):
                in_gap = any(gap.begin - 60 <= own <= gap.end + 60 for gap in open_gaps)
                if checkpoint.start <= own < last - step.back and visible <= own + step.back and not in_gap:
                    assert index in self.seen, (own, visible, step, last)
        claim = checkpoints.complete_until(checkpoint)
        if claim is not None:
            reach = self.ladder[-1].back
            for index, (own, visible) in enumerate(self.rows):
                if checkpoint.start <= own < claim and visible <= own + reach:
                    assert index in self.seen, (own, visible, claim)


Ladder.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestLadder = Ladder.TestCase
