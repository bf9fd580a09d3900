"""The world is a function of its seed and of time, and its truth says every state of every row."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from simulate_asking import NOON, asking

from poller.simulate.bulk import Bulk
from poller.simulate.clock import WorldClock
from poller.simulate.fonouc import FonoucOptions
from poller.simulate.mor_settings import MorOptions
from poller.simulate.run import Simulation, Simulators, build
from poller.simulate.things import Row, State
from poller.simulate.truth import load
from poller.simulate.world import WorldOptions

ENDPOINTS = ("mor.user_calls", "mor.local_calls", "mor.recordings", "thulium.connections", "thulium.recordings",
             "fonouc.cdrs", "fonouc.recordings")  # fmt: skip


def world(seed: int = 1, **options: Any) -> Simulators:
    settings = {"history": 1800, "calls_per_minute": 20, **options}
    simulated = build(Simulation(world=WorldOptions(seed=seed, **settings), at=NOON, speed=0))
    simulated.world.now()
    return simulated


def after(simulators: Simulators, *steps: float) -> list[str]:
    """The truth after the clock has moved by these steps."""
    for step in steps:
        simulators.world.clock.move(step)
        simulators.world.now()
    return sorted(simulators.truth.lines)


def test_the_same_seed_is_the_same_world_however_time_is_cut() -> None:
    assert after(world(), 600) == after(world(), 1, 9.5, 89.5, 500)
    assert after(world(), 600) != after(world(seed=2), 600)


def test_vendors_do_not_depend_on_each_other() -> None:
    alone = build(
        Simulation(vendors=("thulium",), world=WorldOptions(history=1800, calls_per_minute=20), at=NOON, speed=0)
    )
    together = [line for line in after(world(), 60) if '"thulium"' in line]
    assert after(alone, 60) == together


def test_rows_come_late_change_and_some_come_exactly_at_a_rungs_reach() -> None:
    simulated = world(history=7200)
    simulated.world.rate = 0
    after(simulated, 7200)
    for endpoint in ENDPOINTS:
        rows = [row for row, _ in simulated.world.all(endpoint)]
        late = [row.states[0].visible_at - row.own_time for row in rows]
        assert min(late) >= 0
        assert sum(delay > 120 for delay in late) > len(late) / 50, endpoint
        if endpoint != "mor.recordings":
            exact = Counter(delay for delay in late if delay in {300, 1800, 10_800})
            assert {300, 1800} <= set(exact), endpoint
        assert endpoint == "mor.local_calls" or any(len(row.states) > 1 for row in rows)
        assert all(
            a.visible_at <= b.visible_at for row in rows for a, b in zip(row.states, row.states[1:], strict=False)
        )


def test_a_row_is_seen_from_its_moment_on_and_not_a_moment_before() -> None:
    simulated = world(calls_per_minute=0)
    row = Row("fonouc.cdrs", "call", "x", NOON - 300, [State(NOON + 10, {"a": 1}), State(NOON + 20, {"a": 2})])
    simulated.world.add(row)
    seen = []
    for at in (NOON + 9.99, NOON + 10, NOON + 19.99, NOON + 20):
        simulated.world.clock.set_to(at)
        seen.append([state.fields["a"] for _, state in simulated.world.between("fonouc.cdrs", NOON - 300, NOON - 300)])
    assert seen == [[], [1], [1], [2]]
    assert len(simulated.truth.lines) == 1  # "a" is not declared: it is one state


@pytest.mark.parametrize(
    ("endpoint", "own_time", "lateness", "found_after"),
    [
        ("mor.user_calls", NOON + 1000, 0, 150),
        ("mor.user_calls", NOON + 1000, 300, 300 + 150),
        ("mor.user_calls", NOON + 1000, 301, 301 + 390),
        ("fonouc.cdrs", NOON + 1000, 172_800, 172_800 + 21_690),
        ("fonouc.cdrs", NOON + 1000, 172_801, None),
        # What happened before anybody read is found by the first passes.
        ("fonouc.cdrs", NOON - 1000, 0, 1000 + 150),
        # A minute of Thulium is readable once it has ended (1000 s are 16:40), in a pass of the minute after.
        ("thulium.connections", NOON + 1000, 0, 20 + 210),
        ("thulium.connections", NOON + 1000, 30, 30 + 210),
    ],
)
def test_when_a_reader_has_found_a_state(
    endpoint: str, own_time: float, lateness: float, found_after: float | None
) -> None:
    found_by = world(history=0).world.found_by(endpoint, own_time, own_time + lateness)
    assert found_by == (None if found_after is None else own_time + found_after)


def test_what_is_gone_before_it_is_found_may_be_missed() -> None:
    simulated = world(calls_per_minute=0)
    lives = [
        State(NOON, {"hangup_cause": "A"}),
        State(NOON + 149, {"hangup_cause": "B"}),
        State(NOON + 299, {"hangup_cause": "C"}),
    ]
    simulated.world.add(Row("fonouc.cdrs", "call", "x", NOON, lives))
    after(simulated, 400)
    (thing,) = simulated.things()
    assert [state["may_miss"] for state in thing["states"]] == [True, False, False]


def test_what_is_not_declared_makes_no_state() -> None:
    simulated = world(calls_per_minute=0)
    cdr = {"hangup_cause": "A", "notes": ""}
    states = [
        State(NOON, cdr),
        State(NOON + 50, {**cdr, "notes": "x"}),
        State(NOON + 999, {**cdr, "hangup_cause": "B"}),
    ]
    simulated.world.add(Row("fonouc.cdrs", "call", "x", NOON, states))
    after(simulated, 2000)
    (thing,) = simulated.things()
    assert [(s["visible_at"], s["gone_at"]) for s in thing["states"]] == [(NOON, NOON + 999), (NOON + 999, None)]


def test_the_file_grows_line_by_line_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "truth.ndjson"
    config = Simulation(world=WorldOptions(history=600, calls_per_minute=30), truth=path, at=NOON, speed=0)
    simulated = build(config)
    simulated.world.now()
    first = path.read_text().splitlines()
    after(simulated, 120)
    both = path.read_text().splitlines()
    assert both[: len(first)] == first
    assert len(both) > len(first) > 0
    assert load(path) == simulated.things()
    simulated.truth.close()
    assert set(json.loads(both[0])) >= {"vendor", "endpoint", "kind", "id", "own_time", "states"}


def test_mentions_name_recordings_that_exist() -> None:
    simulated = world()
    simulated.world.rate = 0
    after(simulated, 200_000)  # behind the longest lateness
    things = simulated.things()
    mentioned = [thing for thing in things if thing["mentions"]]
    assert {thing["endpoint"] for thing in mentioned} == {"thulium.recordings", "fonouc.recordings"}
    assert {mention["by"] for thing in mentioned for mention in thing["mentions"]} == {
        "thulium.connections",
        "fonouc.cdrs",
    }
    assert all(thing["states"] for thing in mentioned)


def test_equal_failures_of_one_second_are_as_many_calls() -> None:
    simulated = world(history=7200)
    counted = [thing for thing in (after(simulated, 60), simulated.things())[1] if thing["counted"]]
    equal = [
        thing for thing in counted if len(thing["states"]) > 1 and len({str(s["fields"]) for s in thing["states"]}) == 1
    ]
    assert equal


def test_the_rate_can_be_changed_while_it_runs() -> None:
    simulated = world(history=0, calls_per_minute=0)
    assert after(simulated, 600) == []
    simulated.world.rate = 60
    assert len(after(simulated, 600)) > 500


def test_a_clock_that_runs_faster() -> None:
    ticks = iter([0.0, 10.0, 10.0, 15.0])
    clock = WorldClock(at=1000, speed=60, mono=lambda: next(ticks))
    assert clock.now() == 1600
    clock.set_to(0)
    assert clock.now() == 300


def test_bulk_of_fonouc_is_whole_over_its_pages() -> None:
    bulk = Bulk(records=10_000, begin=NOON - 5000, end=NOON)
    config = Simulation(
        vendors=("fonouc",), world=WorldOptions(calls_per_minute=0), at=NOON, speed=0, fonouc=FonoucOptions(bulk=bulk)
    )
    ids: list[str] = []
    with asking(config) as asked:
        for begin, end in ((NOON - 6000, NOON - 2001), (NOON - 2000, NOON)):
            key = ""
            while True:
                page = asked.fonouc(
                    startDate=begin, endDate=end, pageSize=1000, **(dict[str, Any](startKey=key) if key else {})
                ).json()
                ids.extend(record["call_id"] for record in page["data"])
                key = page["next_start_key"]
                if not key:
                    break
    assert Counter(ids) == Counter({bulk.call_id(n): 1 for n in range(10_000)})
    assert 480 < len(bulk.fonouc(1)) < 620


def test_bulk_of_mor_is_streamed_and_whole() -> None:
    bulk = Bulk(records=20_000, begin=NOON - 5000, end=NOON)
    config = Simulation(
        vendors=("mor",), world=WorldOptions(calls_per_minute=0), at=NOON, speed=0, mor=MorOptions(bulk=bulk)
    )
    with asking(config) as asked:
        response = asked.calls(NOON - 5000, NOON)
        text = response.text
        empty = asked.calls(NOON - 9000, NOON - 8000).text
    assert response.headers.get("transfer-encoding") == "chunked"
    assert text.count("<call>") == 20_000
    assert "<total_calls>20000</total_calls>" in text
    assert text.rstrip().endswith("</page>")
    assert all(f"<uniqueid>{bulk.uniqueid(n)}</uniqueid>" in text for n in (0, 9_999, 19_999))
    assert "<calls>" not in empty
