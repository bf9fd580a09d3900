"""Whose clock a pass ends by: the vendor's where it shows one, ours where it does not and stands still."""

from collections.abc import Callable

import pytest
from polling_rig import Rig, later, poll_on
from polling_vendor import LinesReading, Listed

from poller import schedule
from poller.errors import ClockMoved
from poller.model import DAY, HOUR, Ask, Page, Window
from poller.poll import poll
from poller.track import Track

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("harness", ["memory"], indirect=True)]

LADDER = [{"back": "5m"}, {"back": "30m", "every": "5m"}]


async def end_of(rig: Rig, track: Track) -> int:
    """Where the store says that the lowest rung has come to."""
    last = (await rig.checkpoint(track)).rungs[0].last
    assert last is not None
    return last


@pytest.mark.parametrize("skew", [-240.0, 0.0, 240.0])
async def test_a_pass_never_ends_after_the_vendors_present(rig: Rig, skew: float) -> None:
    rig.phones.skew, rig.phones.dated = skew, True
    track = rig.track(start="10m", ladder=LADDER)
    for _ in range(4):
        await poll(track, None)
        present = rig.phones.now - 10
        assert await end_of(rig, track) <= present
        later(rig.clock, 60)
    assert await end_of(rig, track) >= rig.phones.now - 60 - 10 - 3, "and not far below it, once its clock is known"


OFF = [(-240.0, True), (0.0, True), (240.0, True), (0.0, False), (240.0, False)]
"""(vendor's clock minus ours, whether it shows a Date): nothing tells that a vendor without a Date is behind us."""


@pytest.mark.parametrize(("skew", "dated"), OFF)
@pytest.mark.parametrize("back", [300, 1_800])
@pytest.mark.parametrize("takes", [0.0, 70.0])
async def test_a_row_exactly_as_late_as_promised_is_found_by_the_next_pass(
    rig: Rig, skew: float, dated: bool, back: int, takes: float
) -> None:
    """One rung, so each poll is its pass; several slices of `takes` seconds each. Nothing is given away by `settle`.

    Rows appear in the second in which a pass begins, right after it and while it lasts, each `back` after its own time.
    """
    rig.phones.skew, rig.phones.dated, rig.phones.takes = skew, dated, takes
    slices = Listed(first_span=back // 3, max_span=back // 3)
    track = rig.track(slices, start="1h", settle="0s", timeout="10m", ladder=[{"back": f"{back}s"}])
    await poll_on(track)
    appeared: list[tuple[float, str]] = []
    longest = 0.0
    for number in range(12):
        began = rig.phones.now
        for after in (0, 1, 2, 30, 60, 61, 150, 250):
            appeared.append((began + after, f"{number} {after}"))
            rig.phones.add(began + after - back, visible=began + after, id=appeared[-1][1])
        await poll(track, None)
        longest = max(longest, rig.phones.now - began)
        published = {name for _, name, _ in await rig.told()}
        assert {name for at, name in appeared if at <= began} <= published
        later(rig.clock, 61)
    assert longest >= 3 * takes, "passes that take minutes"


@pytest.mark.parametrize(("skew", "dated"), OFF)
async def test_every_rung_finds_what_is_as_late_as_it_promises(rig: Rig, skew: float, dated: bool) -> None:
    """By its next pass, between those of the other rung; some passes take minutes."""
    rig.phones.skew, rig.phones.dated = skew, dated
    track = rig.track(start="10m", ladder=LADDER, settle="10s")
    await poll_on(track)
    appears: dict[str, tuple[float, int]] = {}
    for number in range(40):
        own = rig.phones.now
        for back in (300, 1_800):
            appears[name := f"{number} {back}"] = (own + back, back)
            rig.phones.add(own, visible=own + back, id=name)
        rig.phones.takes = 100.0 if number % 5 == 2 else 0.0
        began, asked = rig.phones.now, len(rig.phones.asked)
        await poll_on(track, every=61)
        ran = 1_800 if any(one.window.span > 1_800 for one in rig.phones.asked[asked:]) else 300
        published = {name for _, name, _ in await rig.told()}
        assert {name for name, (at, back) in appears.items() if at <= began and back <= ran} <= published
    rig.phones.takes = 0.0
    later(rig.clock, 1_800)
    await poll_on(track)
    assert {name for _, name, _ in await rig.told()} == set(appears)


async def test_a_clock_that_is_days_ahead_is_not_followed(rig: Rig) -> None:
    rig.phones.skew, rig.phones.dated = 50_000.0, True
    track = rig.track(start="10m")
    await poll_on(track, 2)
    assert await end_of(rig, track) <= rig.clock.now() + 3_600


@pytest.mark.parametrize("skew", [-1.7e9, 2.3e9])
async def test_a_date_of_another_age_is_not_believed(rig: Rig, skew: float) -> None:
    """Neither does polling stop, nor is the future claimed; it is counted."""
    rig.phones.skew, rig.phones.dated = skew, True
    rig.phones.add(rig.clock.now() - 100, visible=-1e10, id="call")
    track = rig.track(start="10m")
    await poll_on(track, 2)
    assert [name for _, name, _ in await rig.told()] == ["call"]
    assert rig.clock.now() - 200 < await end_of(rig, track) <= rig.clock.now()
    assert rig.suspicions(track, "absurd_date") > 0


async def test_without_a_date_nothing_is_claimed_while_our_clock_moves(rig: Rig) -> None:
    track = rig.track(start="10m")
    await poll_on(track)
    before = await end_of(rig, track)
    rig.clock.jump(7_200)
    with pytest.raises(ClockMoved, match="no Date"):
        await poll(track, None)
    assert await end_of(rig, track) == before
    rig.clock.is_steady = True
    await poll_on(track)
    assert await end_of(rig, track) > before


async def test_with_a_date_our_clock_may_jump(rig: Rig) -> None:
    rig.phones.dated = True
    track = rig.track(start="6h", ladder=LADDER)
    await poll_on(track)
    rig.phones.skew = -7_200.0  # ours goes two hours ahead
    rig.clock.jump(7_200)
    rig.phones.add(rig.phones.now - 100, id="a")
    await poll_on(track, 2)
    assert await rig.told() == [("call.new", "a", 1)]
    assert await end_of(rig, track) <= rig.phones.now - 60 - 10
    rig.phones.skew = 0.0  # and comes back
    rig.clock.jump(-7_200)
    later(rig.clock, 60)
    rig.phones.add(rig.phones.now - 50, id="b")
    await poll_on(track, 2)
    assert [name for _, name, _ in await rig.told()] == ["a", "b"]


@pytest.mark.parametrize("far", [3 * HOUR, 3 * DAY, 365 * DAY])
@pytest.mark.parametrize("way", [1, -1], ids=["ahead", "back"])
async def test_with_a_date_calls_come_in_time_however_far_our_clock_jumps(rig: Rig, way: int, far: int) -> None:
    """And nothing is claimed that the vendor has not come to."""
    rig.phones.dated = True
    track = rig.track(start="10m", ladder=LADDER)
    await poll_on(track)
    for number, jump in enumerate((way * far, -way * far)):
        rig.phones.skew -= jump
        rig.clock.jump(jump)
        rig.phones.add(rig.phones.now - 50, id=f"{number} soon")
        await poll_on(track)
        later(rig.clock, 60)
        rig.phones.add(rig.phones.now - 50, id=f"{number} later")
        await poll_on(track)
        assert await end_of(rig, track) <= rig.phones.now - 10
        assert {f"{number} soon", f"{number} later"} <= {name for _, name, _ in await rig.told()}
    assert not rig.suspicions(track, "absurd_date")


class Interrupted(Listed):
    """While an answer is read, once, something happens."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens = [happens]

    def reading(self, ask: Ask, window: Window, cursor: str | None) -> LinesReading:  # noqa: ARG002 the protocol's
        return InterruptedReading(self._happens)


class InterruptedReading(LinesReading):
    """The head of the answer came before, its end comes after it."""

    def __init__(self, happens: list[Callable[[], None]]) -> None:
        super().__init__()
        self._happens = happens

    def close(self) -> Page:
        while self._happens:
            self._happens.pop()()
        return super().close()


async def test_our_clock_may_jump_while_an_answer_comes(rig: Rig) -> None:
    def jump() -> None:
        rig.clock.jump(-365 * DAY)
        rig.phones.skew += 365 * DAY

    rig.phones.dated = True
    track = rig.track(Interrupted(jump), start="10m", ladder=LADDER)
    await poll_on(track)
    later(rig.clock, 60)
    rig.phones.add(rig.phones.now - 50, id="a")
    await poll_on(track)
    assert [name for _, name, _ in await rig.told()] == ["a"]
    assert not rig.suspicions(track, "absurd_date")


async def test_a_date_that_was_wrong_once_stops_nothing_for_long(rig: Rig) -> None:
    """By it, the present lies before `start`, so nothing is left to ask for, and nothing more is heard of the vendor."""
    rig.phones.dated, rig.phones.skew = True, -20.0 * HOUR
    track = rig.track(start="10m", ladder=LADDER)
    await poll_on(track)
    rig.phones.skew = 0.0
    later(rig.clock, HOUR)
    rig.phones.add(rig.phones.now - 50, id="a")
    await poll_on(track)
    assert [name for _, name, _ in await rig.told()] == ["a"]


async def test_a_process_that_begins_with_a_clock_years_ahead_claims_no_future(rig: Rig) -> None:
    """What was read before shows that the vendor's Date may be right."""
    rig.phones.dated = True
    await poll_on(rig.track(start="10m", ladder=LADDER))
    rig.phones.skew = -365.0 * DAY
    rig.clock.jump(365 * DAY)
    rig.clock.is_steady = True
    await rig.restart()
    track = rig.track(start="10m", ladder=LADDER)
    for _ in range(3):
        later(rig.clock, 60)
        await poll_on(track)
    rig.phones.add(rig.phones.now - 20, id="a")
    later(rig.clock, 60)
    await poll_on(track)
    assert [name for _, name, _ in await rig.told()] == ["a"]
    assert await end_of(rig, track) <= rig.phones.now - 10


async def test_a_claim_of_a_clock_that_was_ahead_is_read_again(rig: Rig) -> None:
    """Without a Date our clock is all there is: an hour that was claimed too early is read once the clock is right."""
    track = rig.track(start="6h", ladder=LADDER)
    later(rig.clock, 3_600)  # wrong from the start
    await poll_on(track)
    later(rig.clock, -3_600)
    rig.phones.add(rig.clock.now() + 600, id="a")
    later(rig.clock, 700)
    await poll_on(track)
    assert await rig.told() == [("call.new", "a", 1)]
    assert await end_of(rig, track) == rig.clock.now() - 60 - 10


async def test_a_slow_answer_counts_from_when_it_began(rig: Rig) -> None:
    """Rows that appear while the answer is on its way are the next pass's, so the pass ends at what the first page saw."""
    rig.phones.dated, rig.phones.takes, rig.phones.page, rig.phones.skew = True, 50.0, 1, -100.0
    for number in range(4):
        rig.phones.add(rig.phones.now - 100 - number)
    track = rig.track(start="10m", timeout="10m")
    began = rig.phones.now
    await poll(track, None)
    assert await end_of(rig, track) <= began - 10


async def test_a_poll_is_counted_as_what_failed(rig: Rig) -> None:
    rig.clock.jump(1)
    track = rig.track()
    assert isinstance(await schedule.poll_once(track, until=None), ClockMoved)
    assert rig.phones.asked == []
