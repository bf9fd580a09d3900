"""Passes and slices: what is asked for, what is halved, what becomes a gap, and what may be claimed meanwhile."""

from collections.abc import Callable

import pytest
from polling_rig import Rig, later, poll_on
from polling_vendor import Listed, Query, lines

from poller import checkpoint as checkpoints
from poller import schedule
from poller.errors import BadAnswer, Malformed, Truncated
from poller.model import Window
from poller.poll import poll
from poller.track import Track

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("harness", ["memory"], indirect=True)]

LADDER = [{"back": "5m"}, {"back": "30m", "every": "5m"}]


def windows(rig: Rig) -> list[tuple[int, int]]:
    """What was asked, relative to the clock's beginning."""
    return [(one.window.begin - 1_700_000_000, one.window.end - 1_700_000_000) for one in rig.phones.asked]


def unreadable(rig: Rig, begin: int, end: int) -> Callable[[Query], bytes | None]:
    """Answers for windows that touch [begin, end] break off."""

    def say(query: Query) -> bytes | None:
        touches = query.window.begin <= end and begin <= query.window.end
        return rig.phones.whole(b'{"id": "half') if touches else None

    return say


async def poll_out(track: Track, polls: int = 60) -> BadAnswer | None:
    """Polls until one ends well or an outage is said; time stands still."""
    error = None
    for _ in range(polls):
        error = await schedule.poll_once(track, until=None)
        if error is None:
            return None
    assert isinstance(error, BadAnswer)
    return error


async def test_each_rung_is_read_when_it_is_due(rig: Rig) -> None:
    track = rig.track(ladder=LADDER, start="10m")
    await poll_on(track, 6)
    assert windows(rig) == [
        (-611, -10),  # the first pass counts for both rungs
        (-311, 50),
        (-251, 110),
        (-191, 170),
        (-131, 230),
        (-611, 290),  # `start` clips the long one
    ]


async def test_an_outage_widens_the_next_pass_by_itself(rig: Rig) -> None:
    track = rig.track(ladder=LADDER, start="10m")
    await poll_on(track, 2)
    later(rig.clock, 7_000)
    await rig.restart()
    rig.phones.asked.clear()
    track = rig.track(ladder=LADDER, start="10m")
    await poll_on(track)
    end = 120 + 7_000 - 10
    assert windows(rig) == [(end - 3_601, end), (-611, end - 3_600)], "the newest hour first, then the rest"
    assert await rig.complete(track) == 1_700_000_000 + end - 1_800


async def test_a_row_as_late_as_the_ladder_promises_is_found(rig: Rig) -> None:
    """To the second, by the rung's next pass."""
    track = rig.track(ladder=LADDER, start="2h")
    await poll_on(track)
    end = rig.clock.now() - 70
    rig.phones.add(end - 1, visible=end - 1 + 300 + 60, id="five minutes")
    rig.phones.add(end - 1, visible=end - 1 + 1_800, id="half an hour")
    await poll_on(track, 40)
    assert sorted(name for _, name, _ in await rig.told()) == ["five minutes", "half an hour"]


async def test_a_pass_that_fails_goes_on_where_it_was(rig: Rig) -> None:
    """Finished slices are kept through a crash, and the pass keeps the end that it was planned with."""
    listed = Listed(first_span=600)
    track = rig.track(listed, start="1h")
    await poll(track, until=rig.clock.mono())  # one slice
    assert windows(rig) == [(-3_611, -3_010)]
    later(rig.clock, 300)
    await rig.restart()
    track = rig.track(listed, start="1h")
    checkpoint = await track.load(track.target())
    assert [(one.done, one.end) for one in checkpoint.passes] == [
        ([Window(1_700_000_000 - 3_610, 1_700_000_000 - 3_010)], 1_700_000_000 - 10)
    ]
    await poll_on(track)
    assert windows(rig)[1] == (-3_011, windows(rig)[1][1])
    assert windows(rig)[1][1] > -3_010


async def test_slices_grow_again_after_they_were_halved(rig: Rig) -> None:
    def say(query: Query) -> bytes | None:
        return rig.phones.whole(b"") if query.window.span > 1_000 else None

    rig.phones.say = say
    track = rig.track(start="1h")
    assert await poll_out(track) is None
    spans = [one.window.span for one in rig.phones.asked]
    assert spans[:3] == [3_601, 1_801, 901]
    rig.phones.say = None
    await poll_on(track, 5)
    spans = [one.window.span for one in rig.phones.asked]
    assert spans[-1] > 3_000, "a good answer lets the next slice be longer"


async def test_a_slow_answer_lets_nothing_grow(rig: Rig) -> None:
    listed = Listed(first_span=600)
    track = rig.track(listed, start="1h")
    rig.phones.takes = 25.0  # of 30
    await poll(track, None)
    assert {one.window.span for one in rig.phones.asked[:5]} == {601}


async def test_three_bad_answers_end_a_poll_and_the_next_one_goes_on_shorter(rig: Rig) -> None:
    rig.phones.say = lambda _: rig.phones.whole(b"")
    track = rig.track(start="1h")
    for polls in (1, 2, 3):
        with pytest.raises(Truncated):
            await poll(track, None)
        assert len(rig.phones.asked) == 3 * polls
    spans = [one.window.span for one in rig.phones.asked]
    assert spans == sorted(spans, reverse=True)
    assert spans[-1] < 3_600 / 2**7


@pytest.mark.parametrize(
    ("body", "error"), [(b"<html>", Truncated), (b'{"id": "x"}\n=oops', Malformed), (b"x" * 300, BadAnswer)]
)
async def test_what_cannot_be_read_is_never_an_empty_list(rig: Rig, body: bytes, error: type[BadAnswer]) -> None:
    rig.phones.say = lambda _: rig.phones.whole(body)
    track = rig.track(start="1h", max_body="200B")
    with pytest.raises(error):
        await poll(track, None)
    assert await rig.store.checkpoints() == {}


async def test_an_answer_that_takes_too_long_is_halved(rig: Rig) -> None:
    """The timeout is real time: the vendor just keeps silent."""
    rig.phones.add(rig.clock.now() - 100, id="a")
    rig.phones.say = lambda query: b"" if query.window.span > 1_000 else None
    track = rig.track(start="1h", timeout="400ms")
    await poll_on(track)
    assert await rig.told() == [("call.new", "a", 1)]
    assert [one.window.span for one in rig.phones.asked][:2] == [3_601, 1_801]


# --- gaps -------------------------------------------------------------------------------------------------------------


async def test_one_bad_second_is_a_gap_and_its_neighbours_are_read(rig: Rig) -> None:
    now = 1_700_000_000
    for back in (103, 102, 101, 99, 98, 97):
        rig.phones.add(now - back, id=f"at {back}")
    rig.phones.say = unreadable(rig, now - 100, now - 100)
    track = rig.track(start="10m")
    assert await poll_out(track) is None
    assert [name for _, name, _ in await rig.told()] == sorted(
        (f"at {back}" for back in (103, 102, 101, 99, 98, 97)), key=lambda name: -int(name[3:])
    )
    checkpoint = track.checkpoint
    assert checkpoint is not None
    gaps = checkpoint.gaps
    assert gaps[0].begin <= now - 100 <= gaps[-1].end
    assert gaps[-1].end - gaps[0].begin <= 3
    assert {gap.reason for gap in gaps} == {"truncated"}
    assert checkpoint.rungs[0].last == now - 10, "the pass counts as done"


async def test_a_gap_holds_the_claim_until_it_can_be_read_also_across_restarts(rig: Rig) -> None:
    now = 1_700_000_000
    rig.phones.add(now - 100, id="hidden")
    rig.phones.say = unreadable(rig, now - 100, now - 100)
    track = rig.track(start="10m", ladder=LADDER)
    assert await poll_out(track) is None
    for _ in range(3):
        later(rig.clock, 2_500)
        rig.phones.asked.clear()
        assert await poll_out(track) is None
        assert any(one.window.begin <= now - 100 <= one.window.end for one in rig.phones.asked), "tried again"
        later(rig.clock, 60)
        await poll_on(track)  # a pass whose last answer was bad is committed with the next good one
        complete = await rig.complete(track)
        assert complete is not None
        assert now - 103 <= complete <= now - 100, "complete_until stays below the gap"
        await rig.restart()
        track = rig.track(start="10m", ladder=LADDER)
    assert await rig.told() == []
    later(rig.clock, 4_000)
    rig.phones.say = None
    await poll_on(track)
    assert await rig.told() == [("call.new", "hidden", 1)]
    assert (await rig.checkpoint(track)).gaps == []
    assert await rig.complete(track) == rig.clock.now() - 60 - 10 - 1_800


async def test_a_gap_is_tried_again_with_room_on_both_sides(rig: Rig) -> None:
    """Bounds may be exclusive: as any slice, the window overlaps its neighbours."""
    now = 1_700_000_000
    rig.phones.say = unreadable(rig, now - 100, now - 100)
    track = rig.track(start="10m", ladder=LADDER)
    assert await poll_out(track) is None
    checkpoint = track.checkpoint
    assert checkpoint is not None
    gaps = [gap.window for gap in checkpoint.gaps]
    rig.phones.say = None
    later(rig.clock, 2_500)
    rig.phones.asked.clear()
    await poll_on(track)
    asked = [one.window for one in rig.phones.asked]
    assert {Window(gap.begin - 1, gap.end) for gap in gaps} <= set(asked)


async def test_an_open_gap_claims_nothing_while_its_pass_goes_on(rig: Rig) -> None:
    """Skipped slices count before they are gaps."""
    now = 1_700_000_000
    track = rig.track(Listed(first_span=20), start="10m", ladder=LADDER)
    await poll_on(track)
    later(rig.clock, 2_000)
    rig.phones.say = unreadable(rig, now + 1_000, now + 1_000)
    for _ in range(40):
        await schedule.poll_once(track, until=rig.clock.mono())
        complete = await rig.complete(track)
        assert complete is None or complete <= now + 1_000


async def test_a_long_pass_comes_to_its_bad_second_though_shorter_ones_are_read_in_between(rig: Rig) -> None:
    """What they read makes windows longer again, each poll as far as the three bad answers of a poll make them shorter."""
    now = int(rig.clock.now())
    track = rig.track(start="30m", ladder=LADDER)
    await poll_on(track)
    rig.phones.say = unreadable(rig, now - 900, now - 900)
    later(rig.clock, 300)
    polls = 0
    while track.checkpoint is None or not track.checkpoint.gaps:
        polls += 1
        assert polls < 30, "it never comes to the shortest windows"
        await schedule.poll_once(track, until=rig.clock.mono() + 60)
        later(rig.clock, 60)
    gaps = track.checkpoint.gaps
    assert gaps[0].begin <= now - 900 <= gaps[-1].end
    assert gaps[-1].end - gaps[0].begin <= 3
    read_until = checkpoints.read_until(track.checkpoint)
    assert read_until is not None
    assert read_until > rig.clock.now() - 200, "new time is read all the while"


async def test_an_outage_is_no_gap(rig: Rig) -> None:
    """Nothing between the slices could be read: it is the vendor, not a span."""
    track = rig.track(start="10m")
    await poll_on(track)
    later(rig.clock, 600)
    before = await rig.checkpoint(track)
    rig.phones.say = lambda _: rig.phones.whole(b"")
    error = await poll_out(track, polls=30)
    assert isinstance(error, Truncated)
    assert track.checkpoint is not None
    assert track.checkpoint.gaps == []
    assert (await rig.checkpoint(track)).rungs == before.rungs
    rig.phones.say = None
    rig.phones.add(rig.clock.now() - 300, id="during")
    assert await poll_out(track) is None
    assert await rig.told() == [("call.new", "during", 1)]
    assert track.checkpoint.gaps == []


# --- long passes ------------------------------------------------------------------------------------------------------


async def test_a_long_pass_reads_its_newest_hour_first_and_new_time_meanwhile(rig: Rig) -> None:
    listed = Listed(first_span=3_600, max_span=3_600)
    track = rig.track(listed, start="10h", ladder=LADDER)
    now = 1_700_000_000
    rig.phones.add(now - 20_000, id="old")
    rig.phones.add(now - 60, id="newest")
    await poll(track, until=rig.clock.mono())
    assert [name for _, name, _ in await rig.told()] == ["newest"]
    later(rig.clock, 60)
    rig.phones.add(now + 30, id="meanwhile")
    await poll(track, until=rig.clock.mono())
    assert [name for _, name, _ in await rig.told()] == ["newest", "meanwhile"]
    assert (await rig.complete(track)) is None, "what was read meanwhile rests on the long pass"
    for _ in range(20):
        later(rig.clock, 60)
        await poll(track, until=rig.clock.mono())
    assert "old" in [name for _, name, _ in await rig.told()]
    await poll(track, None)
    assert await rig.complete(track) is not None
    oldest_first = [one.window.begin for one in rig.phones.asked if one.window.end < now - 3_600]
    assert oldest_first == sorted(oldest_first)


async def test_a_long_pass_ends_although_every_answer_lasts_a_whole_interval(rig: Rig) -> None:
    listed = Listed(first_span=3_600, max_span=3_600)
    track = rig.track(listed, start="10h", ladder=LADDER, timeout="10m")
    rig.phones.add(1_700_000_000 - 20_000, id="old")
    rig.phones.takes = 60.0
    for _ in range(40):
        await poll(track, until=rig.clock.mono() + 60)
    assert await rig.told() == [("call.new", "old", 1)]
    assert await rig.complete(track) is not None


async def test_windows_that_a_bad_second_shortened_grow_again_where_every_answer_is_slow(rig: Rig) -> None:
    now = int(rig.clock.now())
    rig.phones.say = unreadable(rig, now - 300, now - 300)
    rig.phones.takes = 20.0  # of 30
    track = rig.track(start="1h")
    while track.checkpoint is None or track.checkpoint.span > 1:
        await schedule.poll_once(track, until=rig.clock.mono() + 60)
    rig.phones.say = None
    for _ in range(60):
        await schedule.poll_once(track, until=rig.clock.mono() + 60)
    assert track.checkpoint.span > 600
    read_until = checkpoints.read_until(track.checkpoint)
    assert read_until is not None
    assert read_until > rig.clock.now() - 300


async def test_a_poll_ends_when_the_next_one_is_due(rig: Rig) -> None:
    listed = Listed(first_span=600, max_span=600)
    track = rig.track(listed, start="1h")
    rig.phones.takes = 20.0
    assert await poll(track, until=rig.clock.mono() + 60) is False
    assert len(rig.phones.asked) == 3
    assert await poll(track, until=None) is True


async def test_records_outside_the_window_alone_are_a_filter_that_was_not_used(rig: Rig) -> None:
    now = rig.clock.now()
    old = [{"id": f"o{number}", "own": now - 50_000} for number in range(20)]
    rig.phones.say = lambda _: rig.phones.whole(lines(old))
    track = rig.track(start="1h")
    error = await poll_out(track, polls=3)
    assert error is not None
    assert error.reason == "filter_ignored"
    assert rig.suspicions(track, "outside_window") > 0


async def test_some_records_outside_the_window_are_only_counted(rig: Rig) -> None:
    now = rig.clock.now()
    old = [{"id": f"o{number}", "own": now - 50_000} for number in range(20)]
    rig.phones.say = lambda _: rig.phones.whole(lines([*old, {"id": "in", "own": now - 100}]))
    track = rig.track(start="1h")
    await poll_on(track)
    assert await rig.told() == [("call.new", "in", 1)]
    assert rig.suspicions(track, "outside_window") == 1
