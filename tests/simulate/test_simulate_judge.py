"""The judge finds nothing in a perfect run and every single flaw in any other."""

import copy
import itertools
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate_asking import NOON

from poller.simulate.judge import MADE_UP, judge, thing_id
from poller.simulate.run import Simulation, build
from poller.simulate.truth import DECLARED, plain
from poller.simulate.world import WorldOptions

LONG = 400_000


@cache
def run() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A truth, and what a program without fault publishes of it: read off the rows themselves."""
    # A ladder that finds everything at once, in Thulium's whole minutes too, so that no state may be missed.
    options = WorldOptions(
        seed=4, history=300, calls_per_minute=12, ladder=((300, 0), (LONG, 0)), slack=-60, exact_share=0
    )
    simulated = build(Simulation(world=options, at=NOON, speed=0))
    simulated.world.began = 0
    simulated.world.now()
    simulated.world.rate = 0
    simulated.world.clock.move(50_000)
    things = simulated.things()
    return things, list(perfect(simulated))


def perfect(simulated: Any) -> Any:
    serial = itertools.count()
    seen: dict[tuple[str, str], set[str]] = {}
    for endpoint in DECLARED:
        vendor = endpoint.split(".")[0]
        kind = "recording" if endpoint.endswith("recordings") else "call"
        for row, _ in simulated.world.all(endpoint):
            for state in row.states:
                declared = str({name: state.fields.get(name) for name in DECLARED[endpoint]})
                key = (endpoint, plain(row.id) if not row.counted else f"{next(serial)}")
                if row.counted:
                    key = (endpoint, f"{id(row)}")
                states = seen.setdefault(key, set())
                if declared not in states:
                    yield event(vendor, kind, row.id, state.fields, new=not states, serial=next(serial))
                states.add(declared)


def event(
    vendor: str, kind: str, thing: str, raw: dict[str, Any], *, new: bool, serial: int, partial: bool = False
) -> dict[str, Any]:
    data = {"vendor": raw, "partial": partial, **({"recording_id": thing} if kind == "recording" else {})}
    change = "new" if new else "updated"
    return {
        "id": f"e{serial}",
        "source": f"/poller/{vendor}-1/{kind}s",
        "type": f"telephony.{kind}.{change}",
        "subject": thing,
        "data": data,
    }


def test_a_perfect_run_has_no_findings() -> None:
    things, events = run()
    verdict = judge(things, events)
    assert verdict.ok, verdict.examples
    assert verdict.examples == []
    assert verdict.expected == verdict.published_once > 150
    assert verdict.updates_published >= verdict.updates_expected > 20
    assert {event["source"].split("/")[2] for event in events} == {"mor-1", "thulium-1", "fonouc-1"}


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_event_that_is_dropped_is_missed(data: st.DataObject) -> None:
    things, events = run()
    gone = data.draw(st.integers(0, len(events) - 1))
    verdict = judge(things, events[:gone] + events[gone + 1 :])
    assert not verdict.ok
    assert verdict.missing + verdict.updates_missing == 1
    assert verdict.twice == verdict.updates_repeated == verdict.unknown == 0


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_event_that_comes_again_is_found(data: st.DataObject) -> None:
    things, events = run()
    again = data.draw(st.sampled_from(events))
    verdict = judge(things, [*events, again])
    assert (verdict.ok, verdict.twice, verdict.missing) == (False, 1, 0)
    other_id = judge(things, [*events, {**again, "id": "another"}])
    assert not other_id.ok
    assert other_id.twice + other_id.updates_repeated >= 1
    assert other_id.missing == other_id.updates_missing == 0


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_state_that_never_was_is_found(data: st.DataObject) -> None:
    things, events = run()
    index = data.draw(
        st.sampled_from([n for n, e in enumerate(events) if "terminator_device" not in e["data"]["vendor"]])
    )
    wrong = copy.deepcopy(events[index])
    declared = {"mor": "nice_billsec", "thulium": "billsec", "fonouc": "caller_id_number"}[
        wrong["source"].split("/")[2][:-2]
    ]
    name = "duration" if wrong["type"].startswith("telephony.recording") else declared
    wrong["data"]["vendor"][name] = "424242"
    verdict = judge(things, [*events[:index], wrong, *events[index + 1 :]])
    assert (verdict.ok, verdict.unknown) == (False, 1)


def test_a_thing_that_never_was_is_found_and_one_that_a_fault_made_up_is_not() -> None:
    things, events = run()
    made = event("fonouc", "call", "zz", {"call_id": "zz"}, new=True, serial=10**6)
    assert judge(things, [*events, made]).unknown == 1
    made["data"]["vendor"][MADE_UP] = "bad_record"
    assert judge(things, [*events, made]).ok


def thing(*states: tuple[float, float | None, str], mention: bool = False) -> dict[str, Any]:
    shown = [
        {"visible_at": at, "gone_at": gone, "found_by": at + 5, "may_miss": False, "fields": {"duration": d}}
        for at, gone, d in states
    ]
    life = {"visible_at": 10, "gone_at": None, "found_by": 15, "may_miss": False, "own_time": 10, "by": "fonouc.cdrs"}
    return {"vendor": "fonouc", "endpoint": "fonouc.recordings", "kind": "recording", "id": "r", "own_time": 10, "counted": False,
            "states": shown, "mentions": [life] if mention else []}  # fmt: skip


def recording(duration: str, *, new: bool, serial: int, partial: bool = False) -> dict[str, Any]:
    return event("fonouc", "recording", "r", {"duration": duration}, new=new, serial=serial, partial=partial)


def test_a_mention_is_new_and_everything_else_an_update() -> None:
    truth = [thing((20, None, "7"), mention=True)]
    mentioned = recording("", new=True, serial=1, partial=True)
    assert judge(truth, [mentioned, recording("7", new=False, serial=2)]).ok
    assert judge(truth, [recording("7", new=True, serial=1)]).ok
    assert judge(truth, [mentioned]).updates_missing == 1
    assert judge(truth, [mentioned, recording("7", new=True, serial=2)]).twice == 1
    assert (
        judge(truth, [recording("7", new=True, serial=1), recording("", new=False, serial=2, partial=True)]).unknown
        == 1
    )


def test_a_mention_alone_is_asked_for_unless_mentions_are_off() -> None:
    truth = [thing(mention=True)]
    assert judge(truth, []).missing == 1
    assert judge(truth, [], mentions=False).ok
    assert judge(truth, [], endpoints={"fonouc.recordings"}).ok
    assert judge(truth, [], endpoints={"fonouc.cdrs"}).missing == 1


def test_what_is_not_due_may_be_there_or_not() -> None:
    truth = [thing((100, None, "7"))]
    for late in ({"due": 104}, {"own_after": 11}, {"endpoints": {"mor.recordings"}}):
        assert judge(truth, [], **late).ok
        published = judge(truth, [recording("7", new=True, serial=1)], **late)
        assert (published.ok, published.ahead, published.expected) == (True, 1, 0)
    assert judge(truth, [], due=105, own_after=10).missing == 1


def test_a_state_that_lasted_less_than_an_outage_may_be_missing() -> None:
    truth = [thing((20, 30, "7"), (30, None, "8"))]
    only_last = [recording("8", new=True, serial=1)]
    assert judge(truth, only_last).updates_missing == 1
    assert judge(truth, only_last, least_visible=11).ok


@pytest.mark.parametrize("shown", ["196", 196, 196.0, "196.0"])
def test_a_number_is_itself_in_every_notation(shown: object) -> None:
    truth = [thing((20, None, "196"))]
    assert judge(truth, [event("fonouc", "recording", "r", {"duration": shown}, new=True, serial=1)]).ok


@pytest.mark.parametrize("shown", ["0196", "+196", "196.5", "", None])
def test_another_number_is_another(shown: object) -> None:
    truth = [thing((20, None, "196"))]
    assert not judge(truth, [event("fonouc", "recording", "r", {"duration": shown}, new=True, serial=1)]).ok


def test_sources_are_told_apart_by_the_map() -> None:
    truth = [thing((20, None, "7"))]
    published = recording("7", new=True, serial=1)
    published["source"] = "/poller/pbx-in-riga/recordings"
    assert not judge(truth, [published]).ok
    assert judge(truth, [published], sources={"pbx-in-riga": "fonouc"}).ok


def test_other_event_types_are_passed_over() -> None:
    assert judge(
        [], [{"id": "w", "type": "telephony.window.complete", "source": "/poller/mor-1/windows", "data": {}}]
    ).ok


@pytest.mark.parametrize(
    "raw",
    [
        {"calldate": {"date": "2024-01-01 00:00:00"}, "orignator_channel": "Local/1@x;2", "terminator_device": "d"},
        {"calldate": {"date": "2024-01-01 00:00:00"}, "originator_channel": "Local/1@x;1", "terminator_device": "d"},
        {"calldate": "2024-01-01 00:00:00", "orignator_channel": "Local/1@x", "terminator_device": "d"},
    ],
)
def test_the_halves_of_a_local_call_are_one(raw: dict[str, Any]) -> None:
    assert thing_id("mor", "call", {"vendor": raw}) == "2024-01-0100:00:00|Local/1@x|d"


def test_a_composed_id_does_not_depend_on_what_xml_cannot_carry() -> None:
    raw = {"calldate2": "t", "src": "1", "dst": "2", "clid": "bell\x07 <1>", "uniqueid": ""}
    cleaned = {**raw, "clid": "bell\ufffd <1>", "uniqueid": None}
    assert thing_id("mor", "call", {"vendor": raw}) == thing_id("mor", "call", {"vendor": cleaned}) == "t|1|2|bell<1>"
