"""What an event holds: every attribute and field of the contract, absent ones as null."""

from datetime import datetime

import pytest
from polling_rig import Rig, later, poll_on
from polling_vendor import Listed

pytestmark = pytest.mark.anyio

ATTRIBUTES = {
    "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "partitionkey",
    "recordedtime", "sequence", "data",
}  # fmt: skip
IDS = {"uniqueid", "connection_id", "call_id", "cdr_id", "interaction_id"}
CALL = IDS | {
    "revision", "late", "started_at", "started_at_precision", "ended_at", "direction", "disposition", "hangup_cause",
    "q850_cause", "from", "to", "duration_seconds", "billable_seconds", "ringing_seconds", "agent", "queue", "cost",
    "recordings", "vendor",
}  # fmt: skip
RECORDING = IDS | {
    "recording_id", "revision", "partial", "late", "started_at", "created_at", "duration_seconds", "size_bytes",
    "content_type", "filename", "from", "to", "media_url", "vendor",
}  # fmt: skip


async def test_a_call_has_every_field_of_the_contract(rig: Rig) -> None:
    now = rig.clock.now()
    rig.phones.add(now - 100, id="a", caller="196", called="", more={"nested": [1.50, None]})
    await poll_on(rig.track())
    (event,) = await rig.events()
    assert event.keys() == ATTRIBUTES
    assert event["data"].keys() == CALL
    assert event["specversion"] == "1.0"
    assert (event["source"], event["type"]) == ("/poller/phones-main/calls", "telephony.call.new")
    assert (event["subject"], event["partitionkey"]) == ("a", "a")
    assert event["time"] == "2023-11-14T22:11:40Z"
    assert event["recordedtime"] == "2023-11-14T22:13:20.000Z"
    assert event["datacontenttype"] == "application/json"
    assert event["data"]["vendor"] == rig.phones.rows["calls"][0][2], "the raw record, whole"
    assert event["data"]["late"] is False
    assert (await rig.log())[0].key == event["partitionkey"]
    assert (await rig.log())[0].id == event["id"]


async def test_a_recording_has_every_field_and_points_at_its_file(rig: Rig) -> None:
    rig.phones.add(rig.clock.now() - 100, path="recordings", id="r", call="a", url="https://pbx.example/r.mp3")
    rig.phones.add(rig.clock.now() - 100, path="recordings", id="alone")
    await poll_on(rig.track(Listed("recording")))
    event, alone = await rig.events()
    assert event.keys() == ATTRIBUTES | {"dataref"}
    assert alone.keys() == ATTRIBUTES
    assert event["data"].keys() == RECORDING
    assert event["dataref"] == "https://pbx.example/r.mp3"
    assert (event["source"], event["type"]) == ("/poller/phones-main/recordings", "telephony.recording.new")
    assert (event["partitionkey"], alone["partitionkey"]) == ("a", "alone")


async def test_the_sequence_is_the_place_in_the_log_through_restarts(rig: Rig) -> None:
    now = rig.clock.now()
    for number in range(2_500):  # three commits of one answer
        rig.phones.add(now - 100, id=f"c{number}", recordings=["r"] if not number else [])
    await poll_on(rig.track())
    await rig.restart()
    rig.phones.add(now - 100, id="last")
    await poll_on(rig.track())
    events = await rig.events()
    assert [event["sequence"] for event in events] == [f"{number:020d}" for number in range(1, 2_503)]
    segments = await rig.store.segments_after(0, 0, 1 << 40)
    assert [(one.first, one.last) for one in segments] == [(1, 1_001), (1_002, 2_001), (2_002, 2_501), (2_502, 2_502)]


async def test_a_row_below_what_was_claimed_complete_is_late(rig: Rig) -> None:
    now = rig.clock.now()
    ladder = [{"back": "10m"}, {"back": "30m", "every": "10m"}]
    track = rig.track(start="2h", ladder=ladder)
    await poll_on(track)
    assert await rig.complete(track) == int(now) - 10 - 1_800
    end = int(now) - 10
    rig.phones.add(end - 1_801, visible=now + 50, id="beyond")  # slices overlap by a second, so it is seen after all
    rig.phones.add(end - 1_800, visible=now + 50, id="within")
    rig.phones.add(end + 20, id="fresh")
    later(rig.clock, 600)
    await poll_on(track)
    assert {event["subject"]: event["data"]["late"] for event in await rig.events()} == {
        "beyond": True,
        "within": False,
        "fresh": False,
    }


async def test_times_are_rfc_3339(rig: Rig) -> None:
    rig.phones.add(rig.clock.now() - 100.25)
    await poll_on(rig.track())
    (event,) = await rig.events()
    for text in (event["time"], event["recordedtime"], event["data"]["started_at"]):
        assert datetime.fromisoformat(text).utcoffset() is not None
        assert text.endswith("Z")
