"""How long to wait before asking again. Pure."""

import random
import re
from datetime import UTC
from email.utils import parsedate_to_datetime

LONGEST_RETRY_AFTER = 86_400.0
"""Whatever the other side says, it is asked again after a day."""


def delay(attempt: int, *, first: float, limit: float, rnd: random.Random) -> float:
    """Seconds before the next try: exponential with full jitter.

    `attempt` counts the failures in a row, 1 after the first one; the result lies in [0, min(limit, first * 2 ** (attempt - 1))].
    """
    doublings = min(max(attempt, 1) - 1, 62)  # beyond that the power itself would overflow
    return rnd.uniform(0.0, min(limit, first * 2.0**doublings))


def http_date(value: str | None) -> float | None:
    """The epoch of an HTTP date (a `Date` or `Retry-After` header); None where it cannot be read."""
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def retry_after(value: str | None, *, now: float, limit: float = LONGEST_RETRY_AFTER) -> float | None:
    """Seconds that a `Retry-After` header asks for, in either form (seconds or a date); None where it cannot be read.

    `now` is the other side's clock where it is known (its Date header): the date form is written by that clock.
    `limit`: never more.
    """
    if not value:
        return None
    text = value.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return min(float(text), limit)
    at = http_date(text)
    return None if at is None else min(max(0.0, at - now), limit)
