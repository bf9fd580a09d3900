"""When something is tried next, by the state of a webhook and by what waits."""

from typing import Any

import pytest

from poller.health import Condition
from poller.standing import _next_try, _Wait

NOW = 1_000.0
LOG = _Wait(log=3)
KEPT = _Wait(kept=2, next_retry=1_060.0)
BOTH = _Wait(log=3, kept=2, next_retry=1_060.0)
TURN = _Wait(kept=1)
"""Kept behind an earlier event of its call."""


@pytest.mark.parametrize(
    ("condition", "wait", "expected"),
    [
        ({}, _Wait(), None),
        ({}, LOG, NOW),
        ({}, KEPT, 1_060.0),
        ({}, BOTH, NOW),
        ({}, TURN, None),
        ({"state": "slowed", "until": 1_030.0}, LOG, 1_030.0),
        ({"state": "slowed", "until": 1_030.0}, KEPT, 1_060.0),
        ({"state": "slowed", "until": 1_030.0}, _Wait(), None),
        ({"state": "down", "probe_at": 1_005.0}, LOG, 1_005.0),
        ({"state": "down", "probe_at": 1_200.0}, BOTH, 1_060.0),
        ({"state": "down", "probe_at": 1_005.0, "until": 1_500.0}, BOTH, 1_500.0),
        ({"state": "disabled"}, BOTH, None),
    ],
)
def test_the_next_try(condition: dict[str, Any], wait: _Wait, expected: float | None) -> None:
    assert _next_try(Condition(**condition), wait, NOW) == expected
