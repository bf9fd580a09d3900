"""Recordings that calls mention: whichever list is read first, fails, or is configured later."""

import pytest
from polling_rig import Rig, poll_on
from polling_vendor import Listed

pytestmark = pytest.mark.anyio


async def test_a_mention_comes_first_and_the_list_tells_all(rig: Rig) -> None:
    now = rig.clock.now()
    rig.phones.add(now - 100, id="a", caller="196", recordings=["r1", "r2"])
    calls, recordings = rig.track(), rig.track(Listed("recording"))
    await poll_on(calls, 2)
    rig.phones.add(now - 90, path="recordings", id="r1", call="a", state="63 s")
    await poll_on(recordings, 2)
    await poll_on(calls, 2)
    assert await rig.told() == [
        ("call.new", "a", 1), ("recording.new", "r1", 1), ("recording.new", "r2", 1), ("recording.updated", "r1", 2),
    ]  # fmt: skip
    mention, listed = [event for event in await rig.events() if event["subject"] == "r1"]
    assert [mention["data"]["partial"], listed["data"]["partial"]] == [True, False]
    assert mention["data"]["from"] == {"number": "196", "name": None}
    assert mention["source"] == listed["source"] == "/poller/phones-main/recordings"
    assert mention["partitionkey"] == listed["partitionkey"] == "a", "a call and its recordings share a partition"
    assert mention["id"] != listed["id"]


async def test_the_list_comes_first_and_a_mention_adds_nothing(rig: Rig) -> None:
    now = rig.clock.now()
    rig.phones.add(now - 100, id="a", state="one", recordings=["r"])
    rig.phones.add(now - 100, path="recordings", id="r", call="a")
    calls, recordings = rig.track(), rig.track(Listed("recording"))
    await poll_on(recordings)
    await poll_on(calls)
    rig.phones.rows["calls"][0][2].update(state="two")
    await poll_on(calls)
    await poll_on(recordings)
    assert await rig.told() == [("recording.new", "r", 1), ("call.new", "a", 1), ("call.updated", "a", 2)]


async def test_a_mention_never_makes_an_update(rig: Rig) -> None:
    now, track = rig.clock.now(), rig.track()
    rig.phones.add(now - 100, id="a", state="one", recordings=["r"])
    rig.phones.add(now - 100, id="b", caller="197", recordings=["r"])
    await poll_on(track)
    rig.phones.rows["calls"][0][2].update(state="two", caller="198")
    await poll_on(track)
    assert [event for event in await rig.told() if event[0].startswith("recording")] == [("recording.new", "r", 1)]


async def test_a_call_that_gains_its_recording_later_mentions_it(rig: Rig) -> None:
    now, track = rig.clock.now(), rig.track()
    rig.phones.add(now - 100, id="a", state="one")
    await poll_on(track)
    rig.phones.rows["calls"][0][2].update(state="two", recordings=["r"])
    await poll_on(track)
    assert await rig.told() == [("call.new", "a", 1), ("call.updated", "a", 2), ("recording.new", "r", 1)]


async def test_a_mention_of_the_day_before_is_the_same_recording(rig: Rig) -> None:
    """The call began before midnight, its recording's list shows the day after."""
    day = int(rig.clock.now() // 86_400)
    rig.phones.add(rig.clock.now() - 100, path="recordings", id="r", day=day + 1)
    await poll_on(rig.track(Listed("recording")))
    rig.phones.add(rig.clock.now() - 100, id="a", recordings=["r"])
    await poll_on(rig.track())
    assert await rig.told() == [("recording.new", "r", 1), ("call.new", "a", 1)]


async def test_mentions_can_be_turned_off(rig: Rig) -> None:
    rig.phones.add(rig.clock.now() - 100, id="a", recordings=["r"])
    await poll_on(rig.track(mentions=False))
    assert await rig.told() == [("call.new", "a", 1)]
