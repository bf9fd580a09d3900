"""Rows of a thing that crosses a month's end show only in a window that spans it (BEHAVIOUR 3.4, month boundary)."""

from datetime import UTC, datetime

import pytest
from fake_clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st
from polling_rig import Rig, later, poll_on, polling
from polling_vendor import Listed, Query, lines

from poller import checkpoint as checkpoints
from poller import window
from poller.checkpoint import Step
from poller.model import DAY, Limits
from poller.poll import poll

MARCH = int(datetime(2024, 3, 1, tzinfo=UTC).timestamp())
LIMITS = Limits(max_span=31 * DAY, first_span=3_600, month_borders=True)
LADDER = [Step(300, 0), Step(1_800, 300), Step(10_800, 1_800), Step(172_800, 21_600)]


def crosses(rig: Rig) -> None:
    """Rows saved in March of calls that began in February show only in windows that begin in February."""

    def say(query: Query) -> bytes:
        found = rig.phones.visible(query)
        return rig.phones.whole(lines(row for row in found if query.window.begin < MARCH or not row.get("crossed")))

    rig.phones.say = say


@pytest.mark.anyio
async def test_a_row_that_crosses_is_found_by_every_rung_that_reaches_it() -> None:
    async with polling(clock=FakeClock(float(MARCH - 600))) as rig:
        crosses(rig)
        track = rig.track(
            Listed(month_borders=True, first_span=3_600),
            start="1h",
            ladder=[{"back": "5m"}, {"back": "30m", "every": "5m"}],
        )
        for own, late in ((0, 0), (200, 0), (500, 0), (500, 1_800), (1_000, 1_800), (1_790, 0)):
            rig.phones.add(float(MARCH + own), visible=float(MARCH + own + late), id=f"{own} {late}", crossed=True)
        await poll_on(track, 75)
        assert sorted(name for _, name, _ in await rig.told()) == sorted(
            row["id"] for _, _, row in rig.phones.rows["calls"]
        )
        later(rig.clock, DAY)
        rig.phones.asked.clear()
        await poll_on(track, 3)
        assert all(one.window.begin >= MARCH for one in rig.phones.asked[-2:]), "the border is left alone later on"


@pytest.mark.anyio
@pytest.mark.parametrize("slow", [0.0, 30.0])
async def test_a_border_is_paged_and_never_halved(slow: float) -> None:
    """Also where the vendor's Date says that its present lies before the pass's end."""
    async with polling(clock=FakeClock(float(MARCH + 200)), dated=True, page=2) as rig:
        for number in range(5):
            rig.phones.add(float(MARCH + number), id=str(number))
        track = rig.track(Listed(month_borders=True, first_span=50), start="10m", ladder=[{"back": "5m"}])
        for polls in range(3):
            rig.phones.skew = -slow * polls
            await poll(track, None)
            later(rig.clock, 60)
        borders = {one.window.begin for one in rig.phones.asked if one.window.span > 60 and one.window.end > MARCH + 60}
        assert MARCH - 1 in borders
        assert len(await rig.told()) == 5


def test_a_vendor_that_lags_during_a_border() -> None:
    """Its clock, as a slow answer shows it, lies before the pass's end: the pass ends earlier, and the border is done."""
    present = MARCH + 200
    checkpoint = checkpoints.begin(-600, present, LADDER[:1], 100_000)
    (item,) = window.plan(checkpoint, LADDER[:1], present, LIMITS)
    kinds = []
    while (part := window.next_slice(checkpoint, item, LIMITS)) is not None:
        kinds.append(part.kind)
        bound = present - 5 if part.kind == "border" else present
        window.read(checkpoint, item, part, LIMITS, bound=bound, easy=True)
    assert kinds == ["plain", "border"]
    assert checkpoint.passes == []
    assert checkpoint.rungs[0].last == present - 5


def test_an_unreadable_border_is_an_outage() -> None:
    present = MARCH + 200
    checkpoint = checkpoints.begin(-600, present, LADDER[:1], 100_000)
    (item,) = window.plan(checkpoint, LADDER[:1], present, LIMITS)
    part = window.next_slice(checkpoint, item, LIMITS)
    assert part is not None
    window.read(checkpoint, item, part, LIMITS, bound=None, easy=True)
    border = window.next_slice(checkpoint, item, LIMITS)
    assert border is not None
    assert border.kind == "border"
    assert not window.unreadable(checkpoint, item, border, LIMITS, reason="timeout", now=present)
    assert window.next_slice(checkpoint, item, LIMITS) == border


@settings(max_examples=120, deadline=None)
@given(
    begin=st.integers(MARCH - 4 * DAY, MARCH + DAY),
    steps=st.lists(st.sampled_from([60, 60, 300, 3_600, 40_000, 300_000]), min_size=5, max_size=25),
    data=st.data(),
)
def test_every_row_that_must_span_the_border_is_covered(begin: int, steps: list[int], data: st.DataObject) -> None:
    """A row with own time at most a rung's `back` after the month's first moment, as late as that rung promises, is asked for
    in a window that begins before it, by that rung's next pass.
    """
    now = begin
    checkpoint = checkpoints.begin(-3_600, now, LADDER, 3_600)
    rows = []
    for back in [step.back for step in LADDER]:
        owns = data.draw(st.lists(st.integers(MARCH, MARCH + back), max_size=3))
        rows += [(own, own + data.draw(st.integers(0, back))) for own in owns]
    seen: set[int] = set()
    for step in steps:
        now += step
        window.plan(checkpoint, LADDER, now, LIMITS)
        while (item := window.current(checkpoint)) is not None:
            part = window.next_slice(checkpoint, item, LIMITS)
            assert part is not None
            for index, (own, visible) in enumerate(rows):
                if part.asked.begin < MARCH <= own <= part.asked.end and visible <= now:
                    seen.add(index)
            window.read(checkpoint, item, part, LIMITS, bound=None, easy=True)
        for rung in checkpoint.rungs:
            for index, (own, visible) in enumerate(rows):
                if (
                    rung.last is not None
                    and checkpoint.start <= MARCH - 1
                    and own < rung.last - rung.back
                    and visible <= own + rung.back
                    and own <= MARCH + rung.back
                ):
                    assert index in seen, (own - MARCH, visible - own, rung)
