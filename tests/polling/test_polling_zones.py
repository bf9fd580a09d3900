"""A vendor whose filter speaks local time, through both clock changes of a year: nothing missed, nothing asked backwards."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import anyio
import pytest
from fake_clock import FakeClock
from polling_rig import Rig, later, polling
from polling_vendor import Listed, Query, lines

from poller import schedule
from poller.errors import ClockChange, PollerError
from poller.track import Track

pytestmark = pytest.mark.anyio

WARSAW, VILNIUS = "Europe/Warsaw", "Europe/Vilnius"
CHANGES = {
    "spring": int(datetime(2024, 3, 31, 1, tzinfo=UTC).timestamp()),
    "autumn": int(datetime(2024, 10, 27, 1, tzinfo=UTC).timestamp()),
}
"""Both zones change at 01:00 UTC."""


def offset(at: int, zone: str) -> int:
    shift = datetime.fromtimestamp(at, ZoneInfo(zone)).utcoffset()
    assert shift is not None
    return int(shift.total_seconds())


def speaks_local(rig: Rig, zone: str, *, echoes: bool) -> list[Query]:
    """The filter compares local times; `echoes`: the answer shows how the period was understood, as MOR's does.

    Returns the list of what is asked backwards from now on.
    """
    backwards: list[Query] = []

    def say(query: Query) -> bytes:
        first, last = offset(query.window.begin, zone), offset(query.window.end, zone)
        begin, end = query.window.begin + first, query.window.end + last
        if echoes and first != last:
            return rig.phones.whole(lines([], clock_change=True, offset=last))
        backwards.extend([query] if begin > end else [])
        rows = rig.phones.rows.get("calls", [])
        found = [row for own, _, row in rows if begin <= int(own) + offset(int(own), zone) <= end and own <= query.at]
        return rig.phones.whole(lines(found, offset=last if echoes else None))

    rig.phones.say = say
    return backwards


async def to_the_end(track: Track, polls: int = 40) -> PollerError | None:
    """Polls until one ends well; the last error otherwise."""
    error: PollerError | None = None
    with anyio.fail_after(120):
        for _ in range(polls):
            error = await schedule.poll_once(track, until=track.setup.clock.mono() + 1)
            if error is None and track.checkpoint is not None and not track.checkpoint.passes:
                return None
            later(track.setup.clock, 1)
    return error


@pytest.fixture
async def around(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Rig, int]]:
    """A rig eight hours before a clock change, and the change."""
    change = CHANGES[request.param]
    async with polling(clock=FakeClock(float(change - 8 * 3_600))) as rig:
        for at in range(change - 7 * 3_600, change + 7 * 3_600, 300):
            rig.phones.add(float(at), id=str(at))
        for at in (change - 1, change, change + 1, change - 3_600, change + 3_599, change + 3_600):
            rig.phones.add(float(at), id=f"edge {at - change}")
        yield rig, change


async def all_found(rig: Rig, until: float) -> None:
    told = [name for _, name, _ in await rig.told()]
    expected = [row["id"] for own, _, row in rig.phones.rows["calls"] if own <= until]
    assert sorted(told) == sorted(expected)


@pytest.mark.parametrize("around", CHANGES, indirect=True)
@pytest.mark.parametrize("every", [60, 5_000, 60_000])
@pytest.mark.parametrize("zone", [WARSAW, VILNIUS])
async def test_a_configured_zone(around: tuple[Rig, int], every: int, zone: str) -> None:
    rig, _ = around
    backwards = speaks_local(rig, zone, echoes=False)
    track = rig.track(Listed(zone=zone, first_span=1_800), start="1h", ladder=[{"back": "5m"}])
    for _ in range(1 + min(15 * 3_600 // every, 60) if every > 60 else 20):
        assert await to_the_end(track) is None
        later(rig.clock, every if every > 60 else 2_700)
    later(rig.clock, 16 * 3_600)
    assert await to_the_end(track) is None
    await all_found(rig, rig.clock.now())
    assert track.checkpoint is not None
    assert track.checkpoint.gaps == []
    assert backwards == []


@pytest.mark.parametrize("around", CHANGES, indirect=True)
@pytest.mark.parametrize("every", [2_700, 60_000])
async def test_a_zone_that_the_answers_teach(around: tuple[Rig, int], every: int) -> None:
    rig, change = around
    speaks_local(rig, VILNIUS, echoes=True)
    listed = Listed(learns_offset=True, min_span_unknown_zone=3 * 3_600, first_span=1_800)
    track = rig.track(listed, start="1h", ladder=[{"back": "5m"}])
    for _ in range(16 * 3_600 // every + 1):
        assert await to_the_end(track) is None
        later(rig.clock, every)
    assert await to_the_end(track) is None
    await all_found(rig, rig.clock.now())
    assert track.checkpoint is not None
    assert track.checkpoint.changes == [change]
    assert track.checkpoint.offset == offset(change + 90_000, VILNIUS)
    assert (await rig.checkpoint(track)).changes == [change], "kept through a restart"


@pytest.mark.parametrize("around", CHANGES, indirect=True)
async def test_no_window_is_shorter_than_three_hours_while_the_zone_is_unknown(around: tuple[Rig, int]) -> None:
    rig, _ = around
    listed = Listed(learns_offset=True, min_span_unknown_zone=3 * 3_600, first_span=600)
    rig.phones.say = lambda _: rig.phones.whole(lines([]))  # shows no offset
    track = rig.track(listed, start="20m", ladder=[{"back": "5m"}])
    assert await to_the_end(track) is None
    assert min(one.window.span for one in rig.phones.asked) >= 3 * 3_600
    rig.phones.asked.clear()
    speaks_local(rig, VILNIUS, echoes=True)
    later(rig.clock, 600)
    assert await to_the_end(track) is None
    later(rig.clock, 600)
    assert await to_the_end(track) is None
    assert rig.phones.asked[-1].window.span < 3 * 3_600, "once it is known they may be"


@pytest.mark.parametrize("around", CHANGES, indirect=True)
async def test_a_first_poll_right_after_a_clock_change(around: tuple[Rig, int]) -> None:
    """The zone is not known, so windows are long, and the change is in every one of them: its answer teaches the zone."""
    rig, change = around
    later(rig.clock, 8 * 3_600 + 1_800)
    speaks_local(rig, VILNIUS, echoes=True)
    listed = Listed(learns_offset=True, min_span_unknown_zone=3 * 3_600, first_span=1_800)
    track = rig.track(listed, start="10m", ladder=[{"back": "5m"}])
    assert await to_the_end(track) is None
    told = {name for _, name, _ in await rig.told()}
    assert {str(at) for at in range(change + 1_500, change + 1_790, 300)} <= told


@pytest.mark.parametrize("around", CHANGES, indirect=True)
async def test_a_clock_change_in_a_window_that_cannot_be_shorter_does_not_spin(around: tuple[Rig, int]) -> None:
    rig, _ = around
    rig.phones.say = lambda _: rig.phones.whole(lines([], clock_change=True))
    listed = Listed(learns_offset=True, min_span_unknown_zone=3 * 3_600, first_span=1_800)
    track = rig.track(listed, start="10m", ladder=[{"back": "5m"}])
    with anyio.fail_after(120):
        assert isinstance(await schedule.poll_once(track, until=None), ClockChange)
    assert len(rig.phones.asked) == 1
