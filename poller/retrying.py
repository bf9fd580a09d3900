"""Pure: when an event that a sink could not take is tried again."""

import random

from msgspec import structs

from poller.each import Answered, Attempt, Pace
from poller.kept import Retry


def wait(pace: Pace, step: int, asked: float | None, rnd: random.Random) -> float | None:
    """Seconds until the next attempt of an event that has used up `step` waits of its schedule; None: the schedule is over.

    `asked`: the Retry-After of the other side. The larger of the two counts: jitter never shortens what was asked for,
    and only `longest_retry_after` cuts it.
    """
    if step >= len(pace.schedule):
        return None
    return max(jittered(pace.schedule[step], pace.jitter, rnd), bounded(pace, asked))


def bounded(pace: Pace, asked: float | None) -> float:
    """What is waited of a Retry-After: all of it, up to the sink's own limit; 0 where nothing was asked for."""
    return min(max(asked or 0.0, 0.0), pace.longest_retry_after)


def doubled(times: int, *, first: float, limit: float, jitter: float, rnd: random.Random) -> float:
    """A wait that doubles from `first` to `limit`. `times`: how often it has doubled. The jitter comes on top of the limit."""
    return jittered(min(limit, first * 2.0 ** min(times, 62)), jitter, rnd)


def jittered(seconds: float, jitter: float, rnd: random.Random) -> float:
    """Shorter or longer by at most the part `jitter`."""
    return seconds * rnd.uniform(1.0 - jitter, 1.0 + jitter)


def longest(pace: Pace) -> float:
    """No wait of an event is longer; one that seems to be was written by a clock that has moved since."""
    return max(max(pace.schedule, default=0.0) * (1.0 + pace.jitter), pace.longest_retry_after)


def again(
    pace: Pace, retry: Retry, attempt: Attempt, answer: Answered, *, now: float, rnd: random.Random
) -> Retry | None:
    """An event that failed, as it is kept to be tried again; None: its schedule is over.

    What was tried before its own time, to see whether the sink is back, keeps its place in the schedule; so does what found that
    the sink wants no calls at all.
    """
    step, due = retry.step, now + bounded(pace, answer.retry_after)
    if retry.due is not None and retry.due > attempt.at:
        due = max(due, retry.due)
    elif not answer.disable:
        seconds, step = wait(pace, step, answer.retry_after, rnd), step + 1
        if seconds is None:
            return None
        due = now + seconds
    return structs.replace(
        retry,
        attempts=attempt.number,
        step=step,
        first=attempt.first,
        due=due,
        reason=answer.reason,
        error=answer.error,
    )
