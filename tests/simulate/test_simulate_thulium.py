"""Thulium refuses what Thulium refuses; its lists are local, unordered and cut at 100."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from simulate_asking import NOON, Asking, asking

from poller.simulate.run import Simulation
from poller.simulate.things import State
from poller.simulate.thulium import ThuliumOptions
from poller.simulate.thulium_feed import local
from poller.simulate.world import WorldOptions


def thulium(world: WorldOptions | None = None, at: float = NOON, **options: Any) -> Simulation:
    still = WorldOptions(calls_per_minute=0)
    return Simulation(vendors=("thulium",), world=world or still, at=at, speed=0, thulium=ThuliumOptions(**options))


@pytest.fixture(scope="module")
def busy() -> Iterator[Asking]:
    """Two hours of calls, the clock stands still."""
    with asking(thulium(WorldOptions(calls_per_minute=10, history=7200, seed=3))) as asked:
        yield asked


@pytest.mark.parametrize(
    ("method", "query", "status", "code"),
    [
        ("nonsense", {}, 404, 100404),
        ("connections", {"limit": "many"}, 400, 100400),
        ("connections", {"offset": "-1"}, 400, 100400),
        ("connections", {"date_from": "15.03.2024"}, 400, 100400),
        ("connections", {"date_from": "2024-03-15 12:00:00"}, 400, 100400),
        ("recordings/download", {}, 400, 100400),
        ("recordings/download", {"filename": "../../etc/passwd"}, 404, 100404),
    ],
)
def test_refusals(busy: Asking, method: str, query: dict[str, Any], status: int, code: int) -> None:
    response = busy.thulium(method, **query)
    assert response.status_code == status
    assert [error["code"] for error in response.json()["errors"]] == [code]
    assert response.json()["request_id"]


@pytest.mark.parametrize("auth", [("api", "wrong"), ("other", "thulium secret")])
def test_a_wrong_password(busy: Asking, auth: tuple[str, str]) -> None:
    assert busy.thulium(auth=auth).status_code == 401
    assert busy.http.get(busy.sims.url("thulium") + "/connections").status_code == 401


def test_rights_are_per_method() -> None:
    with asking(thulium(rights=frozenset({"connections"}), over_limit="error")) as asked:
        assert asked.thulium("connections").status_code == 200
        assert asked.thulium("recordings").status_code == 403
        assert asked.thulium("connections", limit=101).status_code == 400


def test_limit_is_cut_at_100_and_count_ignores_it(busy: Asking) -> None:
    first = busy.thulium(limit=500).json()
    assert len(first["result"]) == 100 < first["count"]
    assert len(busy.thulium(limit=3, offset=first["count"] - 2).json()["result"]) == 2


def test_the_order_within_a_minute_changes(busy: Asking) -> None:
    orders = {tuple(row["connection_id"] for row in busy.thulium().json()["result"]) for _ in range(5)}
    assert len(orders) > 1


def test_both_hours_of_the_doubled_hour_answer_to_one_name() -> None:
    change = int(datetime(2024, 10, 27, 1, 0, tzinfo=ZoneInfo("UTC")).timestamp())
    with asking(thulium(at=change + 7200)) as asked:
        for at in (change - 1733, change + 1867):
            asked.add("thulium.connections", f"{at}.1", at, State(at, {"date": local(at), "connection_id": f"{at}.1"}))
        found = asked.thulium(date_from="2024-10-27 02:31", date_to="2024-10-27 02:32").json()
        assert [row["date"] for row in found["result"]] == ["2024-10-27 02:31"] * 2
        assert asked.thulium(date_from="2024-10-27 02:40", date_to="2024-10-27 02:10").json() == {
            "count": 0,
            "result": [],
        }


@pytest.mark.parametrize(("inclusive", "expected"), [("second", 0), ("minute", 1)])
def test_what_the_last_minute_means(inclusive: str, expected: int) -> None:
    with asking(thulium(to_inclusive=inclusive)) as asked:
        asked.add("thulium.connections", "1", NOON - 55, State(NOON, {"date": local(NOON - 55), "connection_id": "1"}))
        found = asked.thulium(date_from="2024-03-15 12:50", date_to="2024-03-15 12:59")
        assert found.json()["count"] == expected


@pytest.mark.parametrize(("meaning", "field"), [("created_at", "created_at"), ("date", "date")])
def test_what_the_recordings_filter_looks_at(meaning: str, field: str) -> None:
    world = WorldOptions(calls_per_minute=20, history=7200, recording_delay=(600, 3000))
    with asking(thulium(world, recordings_filter=meaning)) as asked:
        found = asked.thulium("recordings", date_from="2024-03-15 12:00", date_to="2024-03-15 12:30").json()["result"]
        assert found
        assert {"2024-03-15 12:00" <= row[field] <= "2024-03-15 12:30" for row in found} == {True}
        assert any(row["created_at"] > row["date"] for row in found)
        assert {row["disposition"] for row in found} == {"ANSWERED"}


def test_files_by_their_awkward_names(busy: Asking) -> None:
    files = [
        file for file in busy.sims.world.files.values() if file.whole_from <= NOON and " " in file.name.split("/")[1]
    ]
    name = files[0].name.removeprefix("thulium/")
    for method in ("recordings/download", "recordings/stream"):
        response = busy.thulium(method, filename=name)
        assert (response.status_code, len(response.content)) == (200, files[0].size)
        assert response.headers["content-type"] == files[0].content_type


def test_a_call_names_its_recording_only_when_it_exists(busy: Asking) -> None:
    rows = [row for row, _ in busy.sims.world.all("thulium.connections")]
    late = [row for row in rows if not row.states[0].fields["filename"] and row.states[-1].fields["filename"]]
    assert late
    assert all(
        state.mentions == ((name,) if (name := state.fields["filename"]) else ())
        for row in rows
        for state in row.states
    )
