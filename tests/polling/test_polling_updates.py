"""New, updated, or known: what a poll makes of what the vendor shows again and again."""

import pytest
from polling_rig import Rig, later, poll_on
from polling_vendor import Listed

from poller.model import DAY
from poller.poll import poll

pytestmark = pytest.mark.anyio


async def test_a_call_is_new_once_and_every_other_state_is_an_update(rig: Rig) -> None:
    now, track = rig.clock.now(), rig.track()
    rig.phones.add(now - 100, id="a", state="ringing")
    await poll_on(track, 3)
    rig.phones.rows["calls"][0][2]["state"] = "answered"
    await poll_on(track, 2)
    rig.phones.rows["calls"][0][2]["state"] = "billed"
    await poll_on(track, 2)
    assert await rig.told() == [("call.new", "a", 1), ("call.updated", "a", 2), ("call.updated", "a", 3)]
    assert rig.counted(track) == {"new": 1, "updated": 2, "duplicate": 4}


async def test_a_state_that_returns_is_not_published_again(rig: Rig) -> None:
    now, track = rig.clock.now(), rig.track()
    rig.phones.add(now - 100, id="a", state="one")
    for state in ("one", "two", "one", "two", "three", "one"):
        rig.phones.rows["calls"][0][2]["state"] = state
        await poll_on(track)
    assert await rig.told() == [("call.new", "a", 1), ("call.updated", "a", 2), ("call.updated", "a", 3)]
    assert len({event.id for event in await rig.log()}) == 3


async def test_two_states_and_a_repetition_within_one_page(rig: Rig) -> None:
    now, track = rig.clock.now(), rig.track()
    for state in ("one", "two", "one", "two"):
        rig.phones.add(now - 100, id="a", state=state)
    rig.phones.add(now - 100, id="b", state="one")
    await poll_on(track, 2)
    assert await rig.told() == [("call.new", "a", 1), ("call.updated", "a", 2), ("call.new", "b", 1)]
    assert rig.counted(track) == {"new": 2, "updated": 1, "duplicate": 7}


@pytest.mark.parametrize("away", [-1, 1])
async def test_an_id_is_found_under_the_day_before_and_after(rig: Rig, away: int) -> None:
    now, track = rig.clock.now(), rig.track()
    day = int(now // DAY)
    rig.phones.add(now - 100, id="a", state="one", day=day)
    await poll_on(track)
    rig.phones.rows["calls"][0][2].update(day=day + away)
    await poll_on(track)
    rig.phones.rows["calls"][0][2].update(state="two")
    await poll_on(track)
    assert await rig.told() == [("call.new", "a", 1), ("call.updated", "a", 2)]


async def test_two_states_of_different_days_in_one_page_are_one_call(rig: Rig) -> None:
    now, track = rig.clock.now(), rig.track()
    day = int(now // DAY)
    rig.phones.add(now - 100, id="a", state="one", day=day)
    rig.phones.add(now - 100, id="a", state="two", day=day + 1)
    await poll_on(track, 2)
    assert await rig.told() == [("call.new", "a", 1), ("call.updated", "a", 2)]
    assert {event.seen.day for event in await rig.log() if event.seen} == {day}


async def test_two_days_apart_is_another_call(rig: Rig) -> None:
    """Vendors use ids again; the day keeps them apart."""
    now, track = rig.clock.now(), rig.track()
    rig.phones.add(now - 100, id="a", day=int(now // DAY))
    await poll_on(track)
    rig.phones.rows["calls"][0][2].update(day=int(now // DAY) + 2)
    await poll_on(track)
    assert [what for what, _, _ in await rig.told()] == ["call.new", "call.new"]


async def test_rows_make_every_state_an_event_of_its_own(rig: Rig) -> None:
    now, track = rig.clock.now(), rig.track(dedupe_by="row")
    for state in ("one", "two", "one"):
        rig.phones.add(now - 100, id="a", state=state)
    await poll_on(track, 2)
    assert await rig.told() == [("call.new", "a", 1), ("call.new", "a", 1)]
    assert len({event.id for event in await rig.log()}) == 2


async def test_equal_rows_without_an_id_are_told_apart(rig: Rig) -> None:
    """Two equal failed calls in one second are two calls, however often they are read and however pages are cut."""
    now, track = rig.clock.now(), rig.track()
    for _ in range(3):
        rig.phones.add(now - 100, id=None, caller="196")
    rig.phones.add(now - 100, id=None, caller="197")
    await poll_on(track, 2)
    rig.phones.page = 2
    await poll_on(track, 2)
    assert [what for what, _, _ in await rig.told()] == ["call.new"] * 4
    rig.phones.add(now - 100, id=None, caller="196")
    await poll_on(track)
    assert len(await rig.told()) == 5


async def test_a_known_id_with_a_vendor_id_is_never_counted(rig: Rig) -> None:
    now, track = rig.clock.now(), rig.track()
    for _ in range(3):
        rig.phones.add(now - 100, id="a")
    await poll_on(track)
    assert await rig.told() == [("call.new", "a", 1)]


async def test_ignored_changes_are_remembered_all_the_same(rig: Rig) -> None:
    now, track = rig.clock.now(), rig.track(on_change="ignore")
    rig.phones.add(now - 100, id="a", state="one")
    for state in ("one", "two", "three"):
        rig.phones.rows["calls"][0][2]["state"] = state
        await poll_on(track)
    assert await rig.told() == [("call.new", "a", 1)]
    assert rig.counted(track) == {"new": 1, "duplicate": 2}
    track = rig.track(on_change="publish")
    for state in ("one", "two", "three", "four"):
        rig.phones.rows["calls"][0][2]["state"] = state
        await poll_on(track)
    assert await rig.told() == [("call.new", "a", 1), ("call.updated", "a", 4)]


# --- what identifies a thing is changed -------------------------------------------------------------------------------


async def test_a_changed_dedupe_by_holds_for_records_dated_after_the_change(rig: Rig) -> None:
    now = rig.clock.now()
    for state in ("one", "two"):
        rig.phones.add(now - 100, id="old", state=state)
    await poll_on(rig.track())
    later(rig.clock, 600)
    track = rig.track(dedupe_by="row")
    await poll_on(track)
    for state in ("one", "two"):
        rig.phones.add(now + 700, id="young", state=state)
    rig.phones.add(now - 100, id="old", state="three")
    later(rig.clock, 600)
    await poll_on(track, 2)
    await rig.restart()
    await poll_on(rig.track(dedupe_by="row"), 2)
    assert await rig.told() == [
        ("call.new", "old", 1), ("call.updated", "old", 2), ("call.new", "young", 1), ("call.new", "young", 1),
        ("call.updated", "old", 3),
    ]  # fmt: skip


async def test_counted_rows_keep_their_numbers_when_dedupe_by_changes(rig: Rig) -> None:
    now = rig.clock.now()
    for state in ("one", "two"):
        rig.phones.add(now - 100, id=None, state=state, caller="196")
    await poll_on(rig.track())
    assert len(await rig.told()) == 2
    later(rig.clock, 600)
    await poll_on(rig.track(dedupe_by="row"), 2)
    assert len(await rig.told()) == 2


async def test_without_own_time_the_day_of_the_change_keeps_the_old_identity(rig: Rig) -> None:
    """Where a record shows no own time only its day is known: what was published on that day must not come again."""
    listed = Listed(shows_own_time=False)
    rig.phones.add(rig.clock.now() - 100, id="old")
    await poll_on(rig.track(listed))
    later(rig.clock, 600)
    await poll_on(rig.track(listed, dedupe_by="row"), 2)
    assert await rig.told() == [("call.new", "old", 1)]
    later(rig.clock, 3 * DAY)
    for state in ("one", "two"):
        rig.phones.add(rig.clock.now() - 100, id="young", state=state)
    await poll_on(rig.track(listed, dedupe_by="row"))
    assert [what for what, _, _ in await rig.told()] == ["call.new"] * 3


async def test_an_edited_start_changes_nothing(rig: Rig) -> None:
    now = rig.clock.now()
    rig.phones.add(now - 7_000, id="before")
    rig.phones.add(now - 100, id="in")
    await poll_on(rig.track(start="1h"))
    await poll(rig.track(start="3h"), None, force=True)
    assert await rig.told() == [("call.new", "in", 1)]
