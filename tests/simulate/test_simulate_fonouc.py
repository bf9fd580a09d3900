"""FonoUC refuses what FonoUC and Kazoo refuse, and pages as they page."""

import base64
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from simulate_asking import NOON, Asking, asking

from poller.simulate.fonouc import MAX_SPAN, SHAPES, FonoucOptions
from poller.simulate.fonouc_feed import GREGORIAN
from poller.simulate.run import Simulation
from poller.simulate.things import State
from poller.simulate.world import WorldOptions

MARCH = 1_709_251_200
"""2024-03-01 00:00:00 UTC."""


def fonouc(world: WorldOptions | None = None, at: float = NOON, **options: Any) -> Simulation:
    still = WorldOptions(calls_per_minute=0)
    return Simulation(vendors=("fonouc",), world=world or still, at=at, speed=0, fonouc=FonoucOptions(**options))


@pytest.fixture(scope="module")
def busy() -> Iterator[Asking]:
    """An hour of calls, the clock stands still."""
    with asking(fonouc(WorldOptions(calls_per_minute=20, history=3600, seed=5), shape="top")) as asked:
        yield asked


def add(asked: Asking, thing: str, saved: int, month: str) -> None:
    asked.add(
        "fonouc.cdrs",
        thing,
        saved,
        State(saved, {"id": f"{month}-{thing}", "call_id": thing}),
        id=f"{month}-{thing}",
        month=month,
    )


def walk(asked: Asking, size: int, begin: int, end: int, pages: int = 50) -> tuple[list[str], list[str]]:
    """Ids and keys of a walk by startKey."""
    ids: list[str] = []
    keys = [""]
    for _ in range(pages):
        more = dict[str, Any](startKey=keys[-1]) if keys[-1] else {}
        page = asked.fonouc(startDate=begin, endDate=end, pageSize=size, **more).json()
        ids.extend(record["call_id"] for record in page["data"])
        keys.append(page.get("next_start_key", ""))
        if not keys[-1]:
            break
    return ids, keys[1:]


def test_login(busy: Asking) -> None:
    good = busy.login()
    body = good.json()
    claims = json.loads(base64.urlsafe_b64decode(body["access_token"].split(".")[1] + "=="))
    assert (claims["type"], claims["exp"]) == ("access", NOON + 3600)
    assert body["refresh_token"]
    bad = busy.login(password="wrong")
    assert (bad.status_code, bad.headers["content-type"]) == (401, "text/plain; charset=utf-8")
    assert busy.http.post(busy.sims.url("fonouc") + "/login", content=b"{").status_code == 400
    assert busy.http.post(busy.sims.url("fonouc") + "/config/login", json={}).status_code == 404


@pytest.mark.parametrize(
    ("headers", "query", "status", "text"),
    [
        ({"Authorization": "Bearer x.y.z"}, {}, 401, "Authentication token is invalid\n"),
        ({"Authorization": ""}, {}, 401, "Authentication token is invalid\n"),
        ({"X-Account-ID": ""}, {}, 400, "X-Account-ID header is required\n"),
        ({"X-Account-ID": "other"}, {}, 403, "Forbidden\n"),
        ({"X-API-Key": "wrong"}, {}, 401, "Invalid API key\n"),
        ({}, {"startDate": NOON, "endDate": NOON - 1}, 400, "endDate is prior to startDate\n"),
        ({}, {"startDate": NOON - MAX_SPAN - 1, "endDate": NOON}, 400, "created_to is more than 2682000 seconds from created_from\n"),
        ({}, {"startDate": NOON - 60, "endDate": NOON * 1000}, 400, "created_to is more than 2682000 seconds from created_from\n"),
        ({}, {"startDate": "yesterday"}, 400, "startDate is not a number\n"),
        ({}, {"pageSize": 0}, 400, "pageSize must be positive\n"),
    ],
)  # fmt: skip
def test_refusals(busy: Asking, headers: dict[str, str], query: dict[str, Any], status: int, text: str) -> None:
    response = busy.fonouc(headers=headers, **query)
    assert (response.status_code, response.text) == (status, text)


def test_an_api_key_does_without_a_token(busy: Asking) -> None:
    assert busy.fonouc(headers={"X-API-Key": "fonouc api key", "Authorization": ""}).status_code == 200


def test_a_token_ends() -> None:
    with asking(fonouc()) as asked:
        assert asked.fonouc().status_code == 200
        asked.sims.world.clock.move(3601)
        assert asked.fonouc().status_code == 401


def test_the_longest_window_is_taken(busy: Asking) -> None:
    assert busy.fonouc(startDate=NOON - MAX_SPAN, endDate=NOON).status_code == 200


def test_the_window_is_that_of_the_saving_and_descends(busy: Asking) -> None:
    ids, _ = walk(busy, 60, NOON - 3600, NOON)
    rows = {row.id: row for row, _ in busy.sims.world.all("fonouc.cdrs")}
    assert set(ids) == {thing for thing, row in rows.items() if NOON - 3600 <= row.own_time <= NOON}
    saved = [rows[thing].own_time for thing in dict.fromkeys(ids)]
    assert saved == sorted(saved, reverse=True)
    # The key is inclusive: the row that it names comes first on the next page.
    assert len(ids) > len(set(ids))


def test_start_key_in_another_spelling_is_ignored(busy: Asking) -> None:
    first = busy.fonouc(pageSize=3).json()
    again = busy.fonouc(pageSize=3, start_key=first["next_start_key"]).json()
    assert first == again


def test_a_second_larger_than_a_page_is_stuck_unless_keys_are_opaque() -> None:
    for keys, stuck in (("second", True), ("opaque", False)):
        with asking(fonouc(shape="top", keys=keys)) as asked:
            for n in range(7):
                add(asked, f"c{n}", NOON - 10, "202403")
            ids, seen = walk(asked, 3, NOON - 60, NOON, pages=6)
            assert (seen[-1] == seen[-2] != "") is stuck
            assert (len(set(ids)) < 7) is stuck
            assert seen[0] == str(NOON - 10 + GREGORIAN) or not stuck


def test_a_call_over_a_months_end_appears_only_in_a_window_that_spans_it() -> None:
    with asking(fonouc(shape="top", at=MARCH + 900)) as asked:
        add(asked, "over", MARCH + 30, "202402")
        add(asked, "within", MARCH + 40, "202403")
        assert walk(asked, 10, MARCH, MARCH + 600)[0] == ["within"]
        assert walk(asked, 10, MARCH - 1, MARCH + 600)[0] == ["within", "over"]


def test_listing_by_month_repeats_the_older_month() -> None:
    with asking(fonouc(shape="top", listing="by_month", at=MARCH + 900)) as asked:
        for n in range(5):
            add(asked, f"old{n}", MARCH - 100 + n, "202402")
            add(asked, f"new{n}", MARCH + 100 + n, "202403")
        page = asked.fonouc(startDate=MARCH - 300, endDate=MARCH + 300, pageSize=3).json()
        assert [record["call_id"] for record in page["data"]] == ["old4", "old3", "old2", "new4", "new3", "new2"]
        ids, _ = walk(asked, 3, MARCH - 300, MARCH + 300)
        assert set(ids) == {f"{side}{n}" for side in ("old", "new") for n in range(5)}
        assert len(ids) > len(set(ids))


def found(shape: str, page: Any) -> list[str]:
    """Call ids of an answer, in the places where this shape has them."""
    places = {"data_tail": "data", "top": "data", "cdrs": "cdrs", "rows": "rows", "item_cdrs": "data"}
    if shape == "numeric_keys":
        items = [value for key, value in page.items() if key.isdigit()]
    else:
        items = page if shape == "bare" else page[places[shape]]
    if shape == "item_cdrs":
        items = items[0]["cdrs"]
    return [item["call_id"] for item in items if "call_id" in item]


def test_all_shapes_say_the_same() -> None:
    with asking(fonouc(WorldOptions(calls_per_minute=20, history=600), shape="rotate")) as asked:
        pages = {shape: asked.fonouc(pageSize=5, startDate=NOON - 600, endDate=NOON).json() for shape in SHAPES}
        told = {tuple(found(shape, page)) for shape, page in pages.items()}
        assert len(told) == 1
        assert len(told.pop()) == 5
        assert set(pages["data_tail"]["data"][-1]) == {"next_start_key", "page_size"}
        every = asked.fonouc("/reports/cdrs/all", pageSize=1).json()
        assert {"msg_id", "fonoUC"} < set(every["cdrs"][0])
        assert every["new_start_key"]


def test_nothing_may_be_an_empty_body() -> None:
    with asking(fonouc(empty_body=True)) as asked:
        response = asked.fonouc(startDate=NOON - 60, endDate=NOON)
        assert (response.status_code, response.content) == (200, b"")


def test_legs_share_their_interaction_and_epochs_are_mixed(busy: Asking) -> None:
    records = [state.fields for _, state in busy.sims.world.all("fonouc.cdrs")]
    by_call = [len(list(group)) for _, group in itertools.groupby(sorted(r["interaction_id"] for r in records))]
    assert max(by_call) == 3
    magnitudes = {(type(r["timestamp"]), len(str(r["timestamp"]))) for r in records}
    assert magnitudes == {(str, 11), (int, 11), (int, 10), (str, 10), (int, 13)}


def test_files_are_under_the_plural_path(busy: Asking) -> None:
    files = [file for file in busy.sims.world.files.values() if file.whole_from <= NOON]
    key = files[0].name.removeprefix("fonouc/")
    whole = busy.fonouc(f"/reports/recordings/{key}", headers={"Accept": "application/json"})
    assert (whole.status_code, len(whole.content), whole.headers["content-type"]) == (200, files[0].size, "audio/mpeg")
    part = busy.fonouc(f"/reports/recordings/{key}", headers={"Range": f"bytes={files[0].size - 5}-"})
    assert (part.status_code, part.content) == (206, whole.content[-5:])
    assert part.headers["content-range"] == f"bytes {files[0].size - 5}-{files[0].size - 1}/{files[0].size}"
    assert busy.fonouc(f"/reports/recordings/{key}", headers={"Range": "bytes=9999999-"}).status_code == 416
    assert busy.fonouc(f"/reports/recording/{key}").status_code == 404
    assert busy.fonouc("/reports/recordings/202401-none").status_code == 404


def test_a_file_is_missing_first_then_empty_then_whole() -> None:
    world = WorldOptions(calls_per_minute=20, history=600, file_delay=(30, 60), file_never=0.2)
    with asking(fonouc(world, other_file_path="json")) as asked:
        coming = min(
            (f for f in asked.sims.world.files.values() if f.empty_from > NOON - 30 and f.whole_from < NOON + 1e6),
            key=lambda f: f.empty_from,
        )
        key = coming.name.removeprefix("fonouc/")
        lengths = []
        for at in (coming.empty_from - 1, coming.empty_from, coming.whole_from, coming.whole_from + 100):
            asked.sims.world.clock.set_to(max(at, NOON - 29))
            response = asked.fonouc(f"/reports/recordings/{key}")
            lengths.append(len(response.content) if response.status_code == 200 else response.status_code)
            coming.purged_at = coming.whole_from + 50
        assert lengths == [404, 0, coming.size, 404]
        assert asked.fonouc(f"/reports/recording/{key}").json()["recordings"][0]["_id"] == key
        assert any(file.whole_from == float("inf") for file in asked.sims.world.files.values())
