"""Which states nobody can have seen, because the demo's daemon was not there."""

from typing import Any

import pytest

from poller.demo_daemon import Presence
from poller.operations import Status
from poller.source_status import EndpointStatus


def status(started: float, *successes: float | None) -> Status:
    endpoints = [EndpointStatus(source="s", endpoint=str(i), last_success=at) for i, at in enumerate(successes)]
    return Status(
        version="0", running=True, started_at=started, store="sqlite", store_bytes=0, seen_ids=0, endpoints=endpoints
    )


def state(begin: float, end: float | None) -> dict[str, Any]:
    return {"visible_at": begin, "gone_at": end}


@pytest.fixture
def presence() -> Presence:
    """It starts at 100, has read every list at 130, is killed at 200, starts again at 220 and has read every list at 240."""
    found = Presence()
    found.looked(None, 90)
    found.looked(status(100, 110, None), 115)
    for now in range(130, 201, 5):
        found.looked(status(100, now, now), now)
    found.looked(None, 210)
    found.looked(status(220, 200, 199), 225)  # what its store remembers of the life before
    for now in range(240, 301, 5):
        found.looked(status(220, now, now), now)
    return found


@pytest.mark.parametrize(
    ("begin", "end", "missed"),
    [
        (0, 99, True),
        (0, 120, True),
        (0, 139, True),
        (0, 150, False),
        (120, None, False),
        (150, 160, False),
        (195, 239, True),
        (205, 220, True),
        (205, 270, False),
        (150, 230, False),
        (250, 260, False),
    ],
)
def test_a_state_that_came_and_went_unseen_need_not_be_published(
    presence: Presence, begin: float, end: float | None, missed: bool
) -> None:
    assert presence.missed(state(begin, end)) is missed
