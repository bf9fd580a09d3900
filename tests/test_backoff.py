"""Waiting before the next try."""

import random
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.backoff import LONGEST_RETRY_AFTER, delay, http_date, retry_after


@given(st.integers(-3, 10_000), st.floats(0.01, 60), st.floats(1, 3_600), st.integers())
def test_delay_stays_within_its_bounds(attempt: int, first: float, limit: float, seed: int) -> None:
    waited = delay(attempt, first=first, limit=limit, rnd=random.Random(seed))
    assert 0 <= waited <= min(limit, first * 2 ** min(max(attempt - 1, 0), 62))


def test_delay_is_jittered_over_its_whole_range_and_doubles() -> None:
    rnd = random.Random(7)
    third = [delay(3, first=1, limit=60, rnd=rnd) for _ in range(2_000)]
    assert min(third) < 0.1
    assert 3.9 < max(third) <= 4
    assert max(delay(50, first=1, limit=60, rnd=rnd) for _ in range(2_000)) > 59


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("0", 0.0),
        (formatdate(1_700_000_030, usegmt=True), 30.0),
        (formatdate(1_600_000_000, usegmt=True), 0.0),
        ("9" * 5_000, LONGEST_RETRY_AFTER),
        (formatdate(1_900_000_000, usegmt=True), LONGEST_RETRY_AFTER),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
        ("١٢", None),
        ("Fri, 99 Foo 2024 99:99:99 GMT", None),
    ],
)
def test_retry_after_in_both_forms(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, now=1_700_000_000) == seconds


@given(st.text())
def test_headers_never_raise(text: str) -> None:
    http_date(text)
    found = retry_after(text, now=0)
    assert found is None or 0 <= found <= LONGEST_RETRY_AFTER
