"""The health of a sink: what may be tried, and that it always gets going again."""

import random
from typing import Any

import pytest
from each_life import PACE
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import structs

from poller.each import Answered
from poller.health import (
    ABORTED,
    FIRST,
    SLOWEST,
    Condition,
    Health,
    disabled,
    enabled,
    from_json,
    meta_name,
    to_json,
)
from poller.patience import BOUGHT, FAILURES, FORGOTTEN, MOST, Patience

TAKEN = Answered(outcome="delivered")
FAILED = Answered(outcome="later", reason="server_error", error="500 oops")
REFUSED = Answered(outcome="dead", reason="client_error", error="400")
SLOW = Answered(outcome="later", reason="rate_limited", error="429", slow_down=True)
GONE = Answered(outcome="later", reason="gone", error="410 gone", disable=True)
WEEK = 7 * 86_400.0


class Tried:
    """Attempts, one after the other unless `began` says otherwise."""

    def __init__(self, **pace: Any) -> None:
        self.health = Health(structs.replace(PACE, **pace))
        self.now = 1_000.0
        self.seq = 0

    def one(
        self,
        answer: Answered,
        *,
        seq: int | None = None,
        before: int = 0,
        took: float = 0.0,
        began: float | None = None,
    ) -> None:
        self.seq += 1
        begin = self.now if began is None else began
        probe = self.health.begin(begin) if began is None else False
        self.now += took
        which, rnd = self.seq if seq is None else seq, random.Random(1)
        self.health.answered(answer, which, before=before, began=begin, probe=probe, now=self.now, rnd=rnd)

    def down(self) -> None:
        for _ in range(FAILURES):
            self.one(FAILED)
        assert self.state == "down"

    @property
    def state(self) -> str:
        return self.health.condition.state

    @property
    def permit(self) -> str:
        return self.health.permit(self.now)


def test_five_different_events_that_fail_in_a_row_make_it_down() -> None:
    tried = Tried()
    for _ in range(FAILURES - 1):
        tried.one(FAILED)
    assert (tried.state, tried.permit) == ("up", "all")
    tried.one(FAILED)
    assert (tried.state, tried.permit) == ("down", "due")
    assert tried.health.condition.why == "500 oops"


def test_each_that_is_taken_at_its_second_try_buys_failures_of_others() -> None:
    tried = Tried()
    for _ in range(10):
        tried.one(TAKEN, before=1)
    for _ in range(FAILURES + 10 * BOUGHT - 1):
        tried.one(FAILED)
    assert tried.state == "up"
    tried.one(FAILED)
    assert tried.state == "down"


@pytest.mark.parametrize("before", [0, 2, 9])
def test_one_that_is_taken_at_another_try_buys_nothing(before: int) -> None:
    tried = Tried()
    for _ in range(10):
        tried.one(TAKEN, before=before)
    tried.down()


def test_each_that_fails_at_its_second_try_costs_what_was_bought() -> None:
    tried = Tried()
    for _ in range(10):
        tried.one(TAKEN, before=1)
    for _ in range(10 * BOUGHT):
        tried.one(FAILED, seq=7, before=1)
    tried.one(TAKEN)
    tried.down()


def test_what_was_bought_is_forgotten_and_no_clock_makes_it_last_longer() -> None:
    for seconds in (FORGOTTEN, -WEEK):
        tried = Tried()
        for _ in range(10):
            tried.one(TAKEN, before=1)
        tried.now += seconds
        tried.down()
    tried = Tried()
    for _ in range(10):
        tried.one(TAKEN, before=1)
    tried.now -= WEEK
    tried.health.set_back(WEEK)
    for _ in range(FAILURES):
        tried.one(FAILED)
    assert tried.state == "up", "it is the same moment"


@pytest.mark.parametrize("answer", [REFUSED, structs.replace(REFUSED, reason="refused", at_large=True)])
def test_nothing_buys_events_that_are_lost(answer: Answered) -> None:
    tried = Tried()
    for _ in range(100):
        tried.one(TAKEN, before=1)
    for _ in range(FAILURES - 1):
        tried.one(FAILED)
        tried.one(answer)
    assert tried.state == "up"
    tried.one(answer)
    assert tried.state == "down"


@given(
    st.lists(
        st.tuples(st.sampled_from(["taken", "failed", "lost"]), st.integers(0, 3), st.integers(0, 40)), max_size=300
    )
)
def test_no_more_is_wasted_than_was_made_good(answers: list[tuple[str, int, int]]) -> None:
    """Whatever it does: of different events that it fails with in a row, and of those that would be dead."""
    patience, bought = Patience(), 0
    failed, lost = set[int](), set[int]()
    for now, (answer, before, which) in enumerate(answers):
        if answer == "taken":
            patience.taken(before, now)
            bought += BOUGHT * (before == 1)
            failed, lost = set(), set()
        else:
            patience.failed(which, before, now, lost=answer == "lost")
            failed, lost = failed | {which}, lost | ({which} if answer == "lost" else set())
        assert FAILURES <= patience.borne(now) <= min(FAILURES + bought, MOST)
        assert patience.over(now) == (len(lost) >= FAILURES or len(failed) >= patience.borne(now))
        assert patience.over(now) or len(failed) < FAILURES + bought


def test_it_holds_a_row_in_little_memory() -> None:
    patience = Patience()
    for which in range(10 * MOST):
        patience.taken(1, 0.0)
        patience.failed(which, 0, 0.0, lost=False)
    assert patience.borne(0.0) == MOST
    for which in range(10 * MOST):
        patience.failed(which, 0, 0.0, lost=True)
    assert patience.over(0.0)
    assert len(patience._failed) <= MOST


def test_one_event_that_fails_again_and_again_says_nothing_about_the_sink() -> None:
    tried = Tried()
    for _ in range(50):
        tried.one(FAILED, seq=7)
    assert tried.state == "up"


@pytest.mark.parametrize("other", [TAKEN, REFUSED])
def test_only_a_success_ends_the_row(other: Answered) -> None:
    tried = Tried()
    for _ in range(FAILURES - 1):
        tried.one(FAILED)
    tried.one(other)
    tried.one(FAILED)
    assert (tried.state == "up") == (other is TAKEN)


def test_one_that_refuses_different_events_for_good_without_taking_any_is_down_and_one_that_takes_some_is_not() -> None:
    tried = Tried()
    for _ in range(50):
        tried.one(REFUSED, seq=7)
    for _ in range(50):
        tried.one(TAKEN)
        tried.one(REFUSED)
        tried.one(REFUSED)
    assert (tried.state, tried.health.another) == ("up", False)
    for _ in range(FAILURES - 2):
        tried.one(REFUSED)
    assert (tried.state, tried.permit, tried.health.condition.why) == ("down", "due", "400")


def test_while_events_are_refused_for_good_each_probe_is_another_event_and_soon() -> None:
    tried = Tried(probe=3600.0)
    for _ in range(FAILURES):
        tried.one(REFUSED)
    for _ in range(20):
        assert tried.health.another
        assert tried.health.opens(tried.now) == tried.now + FIRST
        tried.now += FIRST
        tried.one(REFUSED)
    tried.now += FIRST
    tried.one(FAILED)
    assert not tried.health.another, "it does not even answer"
    tried.now = tried.health.opens(tried.now)
    tried.one(TAKEN)
    assert (tried.state, tried.health.another) == ("up", False)


def test_events_that_are_said_to_be_unwanted_one_by_one_and_rate_limits_do_not_make_it_down() -> None:
    tried = Tried()
    for _ in range(50):
        tried.one(structs.replace(REFUSED, reason=ABORTED))
    assert tried.state == "up"
    for _ in range(50):
        tried.one(SLOW)
        tried.now = tried.health.condition.until
    assert tried.state == "slowed"


def test_down_probes_with_waits_that_double_up_to_the_longest() -> None:
    tried = Tried()
    tried.down()
    waits = []
    for _ in range(9):
        waits.append(round(tried.health.opens(tried.now) - tried.now))
        tried.now = tried.health.opens(tried.now)
        assert tried.permit == "probe"
        tried.one(FAILED)
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_a_success_makes_it_up_also_when_it_was_no_probe() -> None:
    tried = Tried()
    tried.down()
    tried.one(TAKEN)
    assert (tried.state, tried.permit, tried.health.condition.why) == ("up", "all", "")


def test_while_one_probe_is_under_way_there_is_no_other() -> None:
    tried = Tried()
    tried.down()
    tried.now += 5
    assert tried.health.begin(tried.now)
    assert tried.permit == "due"
    assert not tried.health.begin(tried.now)
    tried.health.given_up(probe=False)
    assert tried.permit == "due"
    tried.health.given_up(probe=True)
    assert tried.permit == "probe"


def test_a_probe_that_is_refused_for_itself_is_followed_by_another_soon() -> None:
    tried = Tried()
    tried.down()
    for _ in range(5):
        tried.now = tried.health.opens(tried.now)
        tried.one(FAILED)
    tried.now = tried.health.opens(tried.now)
    tried.one(REFUSED)
    assert tried.state == "down"
    assert tried.health.opens(tried.now) == tried.now + FIRST


def test_retry_after_is_kept_by_all_while_it_is_slowed_and_one_goes_first() -> None:
    tried = Tried()
    tried.one(structs.replace(SLOW, retry_after=1_000.0))
    assert (tried.state, tried.permit) == ("slowed", "nothing")
    tried.now += 999
    assert tried.permit == "nothing"
    tried.now += 1
    assert tried.permit == "probe"
    tried.health.begin(tried.now)
    assert tried.permit == "nothing"
    tried.health.given_up(probe=True)
    tried.one(TAKEN)
    assert (tried.state, tried.permit) == ("up", "all")


def test_slowed_without_retry_after_waits_ever_longer() -> None:
    tried = Tried()
    waits = []
    for _ in range(9):
        tried.one(SLOW)
        waits.append(round(tried.health.condition.until - tried.now))
        tried.now = tried.health.condition.until
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert waits[-1] == SLOWEST


def test_what_was_under_way_when_it_was_slowed_changes_no_wait() -> None:
    tried = Tried()
    tried.one(structs.replace(SLOW, retry_after=60.0), took=1)
    before = tried.health.condition
    tried.one(structs.replace(SLOW, retry_after=30.0), began=before.since - 0.5)
    tried.one(TAKEN, began=before.since - 0.5)
    assert tried.health.condition == before
    tried.one(structs.replace(SLOW, retry_after=90.0), began=before.since - 0.5)
    assert tried.health.condition.until == before.since + 90


def test_a_retry_after_of_nothing_does_not_make_it_hot() -> None:
    tried = Tried()
    tried.one(structs.replace(SLOW, retry_after=0.0))
    assert tried.permit == "probe"
    tried.one(structs.replace(SLOW, retry_after=0.0))
    assert tried.health.condition.until - tried.now >= FIRST


def test_down_keeps_what_was_asked_on_the_way_there() -> None:
    tried = Tried()
    tried.one(structs.replace(FAILED, retry_after=3_000.0))
    tried.down()
    assert tried.permit == "nothing"
    tried.one(TAKEN, began=tried.now - 1)
    assert (tried.state, tried.permit) == ("down", "nothing"), "it works, and asked to be left alone"
    tried.now += 3_000
    assert tried.permit == "probe"


def test_a_success_ends_what_was_asked_before_it() -> None:
    tried = Tried()
    tried.one(structs.replace(FAILED, retry_after=86_400.0))
    tried.one(TAKEN)
    tried.down()
    assert tried.permit == "due"
    assert tried.health.opens(tried.now) - tried.now <= FIRST


def test_disabled_tries_nothing_and_is_probed_when_it_is_enabled() -> None:
    tried = Tried()
    tried.one(GONE)
    assert (tried.state, tried.health.condition.why) == ("disabled", "410 gone")
    tried.now += WEEK
    assert (tried.permit, tried.health.opens(tried.now)) == ("nothing", float("inf"))
    tried.one(TAKEN, began=tried.now - 1)
    assert tried.state == "disabled"
    tried.health.condition = enabled(tried.health.condition, tried.now)
    assert (tried.state, tried.permit) == ("down", "probe")
    tried.one(TAKEN)
    assert tried.state == "up"


def test_disabling_keeps_the_first_reason_and_enabling_leaves_the_well_alone() -> None:
    first = disabled(Condition(), "410", 5.0)
    assert disabled(first, "by hand", 9.0) is first
    assert enabled(Condition(), 5.0) == Condition()
    slowed = Condition("slowed", 1.0, "429", until=99.0)
    assert enabled(slowed, 5.0) == Condition("down", 1.0, "429", probe_at=5.0)
    down = Condition("down", 1.0, "500", until=7.0, probe_at=99.0, waits=9)
    assert enabled(down, 5.0) == Condition("down", 1.0, "500", probe_at=5.0)


def test_who_asks_to_wait_is_asked_again_right_after_it_however_often() -> None:
    tried = Tried()
    for _ in range(20):
        began = tried.now
        tried.one(structs.replace(SLOW, retry_after=20.0))
        tried.now = tried.health.opens(tried.now)
        assert tried.now - began == pytest.approx(20.0)


def test_a_clock_that_is_set_back_delays_nothing() -> None:
    tried = Tried()
    tried.one(structs.replace(SLOW, retry_after=60.0))
    tried.now -= 365 * 86_400
    assert tried.permit == "nothing"
    tried.now += 60
    assert tried.permit == "probe"


@pytest.mark.parametrize("state", ["slowed", "down"])
def test_what_another_clock_wrote_is_waited_no_longer_than_anything_else(state: str) -> None:
    """It was ahead by a week, also as the state began or after that."""
    for since in (0.0, 1_000.0 + WEEK):
        written = Condition(state, since, "500", until=2_000.0 + WEEK, probe_at=3_000.0 + WEEK, waits=3)  # type: ignore[arg-type]
        health = Health(PACE, written)
        assert health.permit(1_000.0) == "nothing"
        assert health.permit(1_000.0 + PACE.longest_retry_after) in {"probe", "due"}
        assert health.permit(1_000.0 + PACE.longest_retry_after + PACE.probe) == "probe"


def test_a_clock_that_is_set_back_long_after_the_state_began_delays_nothing() -> None:
    tried = Tried()
    tried.down()
    tried.now += 6 * 3_600
    tried.one(FAILED)
    before = tried.health.opens(tried.now) - tried.now
    tried.now -= 5 * 3_600
    tried.health.set_back(5 * 3_600)
    assert tried.health.opens(tried.now) - tried.now == before


CONDITIONS = st.builds(
    Condition,
    st.sampled_from(["up", "slowed", "down", "disabled"]),
    st.floats(0, 1e10),
    st.text(max_size=20),
    until=st.floats(0, 1e10),
    probe_at=st.floats(0, 1e10),
    waits=st.integers(0, 99),
)


@given(CONDITIONS)
def test_it_is_kept_as_text(condition: Condition) -> None:
    assert from_json(to_json(condition)) == condition
    assert from_json(None) == Condition()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state":"asleep"}', '{"waits":"many"}'])
def test_what_cannot_be_read_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        from_json(text)


def test_what_is_missing_or_unknown_in_the_text_does_no_harm() -> None:
    assert from_json('{"state":"down","since":5,"shape":"round"}') == Condition("down", 5.0)
    assert meta_name("crm") == "sink.crm.health"


class HealthMachine(RuleBasedStateMachine):
    """Attempts begin where they may, end in any order and way, across restarts."""

    @initialize(seed=st.integers(0, 999), probe=st.floats(1, 1000), longest=st.floats(1, 100_000))
    def begin(self, seed: int, probe: float, longest: float) -> None:
        self.rnd = random.Random(seed)
        self.pace = structs.replace(PACE, probe=probe, longest_retry_after=longest, jitter=0.2)
        self.health = Health(self.pace)
        self.now = 1_700_000_000.0
        self.running: list[tuple[int, float, bool]] = []
        self.seq = 0
        self.closed = 0.0
        """Nobody may try before: the Retry-After of an answer that slowed it, or with which it went or was down."""

    def hold(self, answer: Answered) -> None:
        if answer.retry_after is not None and self.health.condition.state in {"slowed", "down"}:
            self.closed = max(self.closed, self.now + min(answer.retry_after, self.pace.longest_retry_after))

    @rule(seconds=st.floats(0, 1e5))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def wait_until_it_opens(self) -> None:
        at = self.health.opens(self.now)
        if at < float("inf"):
            self.now = at

    @rule(own=st.booleans())
    def attempt(self, own: bool) -> None:
        """`own`: a retry whose own time has come."""
        permit = self.health.permit(self.now)
        if permit in {"all", "probe"} or (permit == "due" and own):
            assert self.now >= self.closed - 1e-3
            assert self.health.condition.state != "disabled"
            self.seq += 1
            self.running.append((self.seq, self.now, self.health.begin(self.now)))

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(),
        answer=st.sampled_from([TAKEN, FAILED, FAILED, FAILED, FAILED, REFUSED, SLOW, GONE]),
        asked=st.none() | st.floats(0, 1e6),
    )
    def end(self, data: st.DataObject, answer: Answered, asked: float | None) -> None:
        seq, began, probe = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        if answer.outcome == "later":
            answer = structs.replace(answer, retry_after=asked)
        was = self.health.condition.state
        before = data.draw(st.integers(0, 2))
        self.health.answered(answer, seq, before=before, began=began, probe=probe, now=self.now, rnd=self.rnd)
        self.hold(answer)
        if answer.disable:
            assert self.health.condition.state == "disabled"
        if was == "down" and answer.outcome == "delivered" and self.now >= self.health.condition.until:
            assert self.health.condition.state == "up"
        if self.health.condition.state == "up":
            self.closed = 0.0

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        _, _, probe = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.health.given_up(probe=probe)

    @rule()
    def restart(self) -> None:
        self.running.clear()
        self.health = Health(self.pace, from_json(to_json(self.health.condition)))

    @rule(on=st.booleans())
    def command(self, on: bool) -> None:
        before = self.health.condition
        self.health.condition = enabled(before, self.now) if on else disabled(before, "by hand", self.now)
        if before.state != "up" and on:
            self.closed = 0.0

    @invariant()
    def one_probe_at_a_time(self) -> None:
        assert sum(probe for _, _, probe in getattr(self, "running", [])) <= 1

    @invariant()
    def it_gets_going_again(self) -> None:
        if not hasattr(self, "health") or self.health.condition.state == "disabled":
            return
        copy = Health(self.pace, self.health.condition)  # whatever was under way ends at some time
        now, spent = self.now, 0
        while copy.permit(now) not in {"all", "probe"}:
            now, spent = copy.opens(now), spent + 1
            assert spent < 5
        assert now - self.now <= max(self.pace.longest_retry_after, self.pace.probe * 1.2, SLOWEST * 1.2) + 1


TestHealth = HealthMachine.TestCase
TestHealth.settings = settings(max_examples=200, stateful_step_count=50)
