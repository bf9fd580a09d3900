"""The schedule: bounded, monotone, jittered; Retry-After in full up to the sink's limit."""

import random
from itertools import pairwise

from each_life import PACE
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from poller.each import Answered, Attempt, Pace
from poller.kept import Retry
from poller.retrying import again, bounded, doubled, longest, wait

SEEDS = st.integers(0, 10_000)


@st.composite
def paces(draw: st.DrawFn) -> Pace:
    waits = draw(st.lists(st.floats(0.1, 1e6), max_size=12))
    return structs.replace(
        PACE,
        schedule=tuple(sorted(waits)),
        jitter=draw(st.floats(0.0, 1.0)),
        longest_retry_after=draw(st.floats(1.0, 1e6)),
    )


@given(paces(), st.integers(0, 20), st.none() | st.floats(0, 1e9), SEEDS)
def test_a_wait_is_bounded_and_over_after_the_last_one(pace: Pace, step: int, asked: float | None, seed: int) -> None:
    seconds = wait(pace, step, asked, random.Random(seed))
    assert (seconds is None) == (step >= len(pace.schedule))
    if seconds is not None:
        assert pace.schedule[step] * (1 - pace.jitter) - 1e-6 <= seconds <= longest(pace) + 1e-6


@given(paces(), st.floats(0, 1e9), SEEDS)
def test_what_is_asked_for_is_waited_in_full_up_to_the_limit(pace: Pace, asked: float, seed: int) -> None:
    for step in range(len(pace.schedule)):
        seconds = wait(pace, step, asked, random.Random(seed))
        assert seconds is not None
        assert seconds >= min(asked, pace.longest_retry_after)
        plain = wait(pace, step, None, random.Random(seed))
        assert seconds == max(plain or 0.0, min(asked, pace.longest_retry_after))


@given(paces(), SEEDS)
def test_later_steps_wait_longer(pace: Pace, seed: int) -> None:
    waits = [wait(pace, step, None, random.Random(seed)) or 0.0 for step in range(len(pace.schedule))]
    assert all(earlier <= later for earlier, later in pairwise(waits))


def test_waits_differ_by_the_jitter_and_no_more() -> None:
    pace, rnd = structs.replace(PACE, jitter=0.2), random.Random(3)
    waits = [wait(pace, 1, None, rnd) or 0.0 for _ in range(1000)]
    assert 240 <= min(waits) < 250
    assert 350 < max(waits) <= 360


@given(st.integers(0, 10_000), st.floats(0.1, 10), st.floats(10, 1e5), SEEDS)
def test_a_wait_doubles_up_to_its_limit(times: int, first: float, limit: float, seed: int) -> None:
    plain = doubled(times, first=first, limit=limit, jitter=0.0, rnd=random.Random(seed))
    assert plain <= limit
    assert plain >= doubled(max(0, times - 1), first=first, limit=limit, jitter=0.0, rnd=random.Random(seed))
    shaken = doubled(times, first=first, limit=limit, jitter=0.2, rnd=random.Random(seed))
    assert plain * 0.8 - 1e-6 <= shaken <= plain * 1.2 + 1e-6


def test_nothing_that_is_asked_for_makes_a_wait_negative() -> None:
    assert bounded(PACE, -5.0) == bounded(PACE, None) == 0.0


# --- an event that failed ----------------------------------------------------------------------------------------------

EVENT = Retry(sink="crm", shard=0, seq=1, event=None)  # type: ignore[arg-type]  # no event is looked at
FAILED = Answered(outcome="later", reason="server_error", error="500")


def failed(retry: Retry, answer: Answered = FAILED, *, at: float = 100.0) -> Retry | None:
    attempt = Attempt(number=retry.attempts + 1, at=at, first=retry.first or at)
    return again(PACE, retry, attempt, answer, now=at + 1, rnd=random.Random(1))


def test_each_failure_uses_up_one_step() -> None:
    retry, waits = EVENT, []
    at = 100.0
    while (kept := failed(retry, at=at)) is not None:
        retry = kept
        assert retry.due is not None
        waits.append(round(retry.due - at - 1))
        at = retry.due
    assert tuple(waits) == PACE.schedule
    assert (retry.attempts, retry.step, retry.first) == (9, 9, 100.0)
    assert (retry.reason, retry.error) == ("server_error", "500")


def test_a_probe_before_its_time_counts_as_attempt_and_leaves_the_schedule_alone() -> None:
    retry = structs.replace(EVENT, attempts=3, step=3, first=1.0, due=5_000.0)
    kept = failed(retry)
    assert kept is not None
    assert (kept.attempts, kept.step, kept.due, kept.first) == (4, 3, 5_000.0, 1.0)
    asked = failed(retry, structs.replace(FAILED, retry_after=9_000.0))
    assert asked is not None
    assert asked.due == 9_101.0


def test_a_sink_that_wants_no_calls_uses_up_nothing() -> None:
    last = structs.replace(EVENT, attempts=9, step=9, first=1.0, due=100.0)
    kept = failed(last, Answered(outcome="later", reason="gone", error="410", disable=True))
    assert kept is not None
    assert (kept.step, kept.due, kept.attempts) == (9, 101.0, 10)
