"""MOR refuses what MOR refuses, as MOR refuses it."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from lxml import etree
from simulate_asking import NOON, Asking, asking

from poller.simulate import mor_hash
from poller.simulate.mor_feed import local
from poller.simulate.mor_settings import MorOptions
from poller.simulate.run import Simulation
from poller.simulate.things import State
from poller.simulate.world import WorldOptions

STILL = WorldOptions(calls_per_minute=0)
BUSY = WorldOptions(calls_per_minute=20, history=3600, seed=7)


def mor(world: WorldOptions = STILL, at: float = NOON, **options: Any) -> Simulation:
    return Simulation(vendors=("mor",), world=world, at=at, speed=0, mor=MorOptions(**options))


@pytest.fixture(scope="module")
def busy() -> Iterator[Asking]:
    """An hour of calls, the clock stands still."""
    with asking(mor(BUSY)) as asked:
        yield asked


def tree(response: httpx.Response) -> etree._Element:
    parser = etree.XMLParser(recover=True)
    return etree.fromstring(response.content.translate(None, b"\x00\x01\x07\x0b\x1b"), parser)


def path(response: httpx.Response) -> str:
    """`status/error: text` of an error answer."""
    root = tree(response)
    error = next(root.iter("error"))
    tags = [element.tag for element in reversed(list(error.iterancestors()))]
    return "/".join([*tags, "error"]) + f": {error.text}"


@pytest.mark.parametrize(
    ("joined", "expected"),
    [
        ({"s_user": "123"}, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        ({"user_id": "123", "period_start": "1252454580", "calltype": "answered"}, "b93c35d5"),
    ],
)
def test_check_vectors_of_the_hash(joined: dict[str, str], expected: str) -> None:
    secret = "456789" if "s_user" in joined else "Very Sercet Key"
    assert mor_hash.calls_hash(joined, secret).startswith(expected)


def test_check_vectors_of_secret_alone_and_of_single_values() -> None:
    assert mor_hash.sha1("secret") == "e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4"
    assert mor_hash.sha1("5" + "1577836799" + "secret").startswith("3da29256")
    assert mor_hash.sha1("82878881" + "secret").startswith("85ef4ad4")
    assert mor_hash.local_hash({"from": "1", "till": "2", "s_user": "5"}, "123456", "secret").startswith("7c4a8d09ca")


def test_the_order_of_the_hash_is_the_servers_own() -> None:
    sent = {"s_user": "5", "period_end": "0020", "period_start": "10", "u": "admin", "nonsense": "x"}
    assert mor_hash.calls_hash(sent, "s") == mor_hash.sha1("10205s")
    assert mor_hash.calls_hash({**sent, "s_user": "all"}, "s") == mor_hash.sha1("1020s")
    assert mor_hash.calls_hash({"period_start": "1.0", "date": "d"}, "s") == mor_hash.sha1("ds")


def test_every_answer_is_200_and_html_to_be_saved(busy: Asking) -> None:
    response = busy.mor(hash="0" * 40)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["content-disposition"] == "attachment; filename=mor_api_response.html"
    assert path(response) == "status/error: Incorrect hash"


def test_wrong_hashes_are_seen_by_the_operator(busy: Asking) -> None:
    before = len(busy.sims.sites["mor"].wrong_hashes)
    busy.mor(hash=mor_hash.sha1("other").upper())
    assert len(busy.sims.sites["mor"].wrong_hashes) == before + 1


@pytest.mark.parametrize(
    ("options", "sent", "expected"),
    [
        ({"api_enabled": False}, {}, "status/error: API Requests are disabled"),
        ({}, {"verb": "GET"}, "status/error: GET Requests are disabled"),
        ({"secret": ""}, {}, "status/error: API must have Secret Key"),
        ({"version": "9"}, {"method": "user_calls", "hash": "bad"}, "error: Incorrect hash"),
        ({"version": "9"}, {"method": "user_calls", "p": "wrong"}, "error: User was not found"),
        ({}, {"u": "nobody"}, "error: User was not found"),
        ({}, {"s_user": "77", "hashed": "77"}, "error: User was not found"),
        ({"refuse_all_users": True}, {}, "error: User was not found"),
        ({}, {"u": "reseller", "s_user": "5", "hashed": "5"}, "error: User was not found"),
        ({"version": "8"}, {"method": "user_calls", "p": "secret password"}, "error: User was not found"),
        ({}, {"method": "recordings_get", "u": "nobody"}, "page/status/status/error: Access Denied"),
        ({}, {"method": "recordings_get", "date_from": 5, "date_till": 5}, "page/status/error: Date from is greater than date till"),
        ({}, {"method": "recordings_get", "date_from": 9999999999}, "page/status/error: Date from is incorrect format"),
        ({}, {"method": "recordings_get", "date_till": 9999999999}, "page/status/error: Date till is incorrect format"),
        ({}, {"method": "recordings_get"}, "page/status/error: No Recordings found"),
        ({}, {"method": "local_calls_get", "u": "nobody", "s_user": 5, "hashed": "5"}, "status/error: Access Denied"),
        ({}, {"method": "local_calls_get"}, "status/error: User was not found"),
        ({"local_hash": "secret"}, {"method": "local_calls_get", "s_user": 5, "hashed": "5"}, "status/error: Incorrect hash"),
    ],
)  # fmt: skip
def test_refusals(options: dict[str, Any], sent: dict[str, Any], expected: str) -> None:
    with asking(mor(**options)) as asked:
        assert path(asked.mor(**sent)) == expected


def test_an_old_version_redirects_and_then_refuses_get() -> None:
    with asking(mor(version="x3")) as asked:
        first = asked.mor("user_calls", s_user=5, hashed="5")
        assert first.status_code == 302
        assert first.headers["location"].startswith("/billing/api/user_calls_get?u=admin")
        second = asked.http.get(asked.sims.root("mor") + first.headers["location"])
        assert path(second) == "status/error: GET Requests are disabled"


@pytest.mark.parametrize(
    ("version", "method"), [("9", "user_calls_get"), ("x6", "recordings_get"), ("x12", "local_calls_get")]
)
def test_a_method_that_the_version_does_not_have(version: str, method: str) -> None:
    with asking(mor(version=version)) as asked:
        root = tree(asked.mor(method))
        assert (root.tag, root[0].tag, root[1].text) == ("error", "type", method)


def test_the_period_is_echoed_in_server_time_and_bounds_are_inclusive() -> None:
    begin = int(datetime(2024, 7, 1, 9, 0, tzinfo=ZoneInfo("UTC")).timestamp())
    with asking(mor(at=begin + 3600)) as asked:
        for at in (begin - 1, begin, begin + 60, begin + 61):
            asked.add("mor.user_calls", str(at), at, State(at, {"calldate2": local(at), "dst": "1", "dispod": "x", "did": "", "uniqueid": str(at)}),
                      user=2, callee=0, local=local(at))  # fmt: skip
        root = tree(asked.calls(begin, begin + 60))
        assert root.findtext("calls_stat/period/period_start") == "2024-07-01 12:00:00"
        assert [call.findtext("uniqueid") for call in root.iter("call")] == [str(begin), str(begin + 60)]
        assert root.findtext("total_calls") == "2"
        empty = tree(asked.calls(begin - 500, begin - 400))
        assert empty.findtext("total_calls") == "0"
        assert empty.find("calls_stat/calls") is None


def test_a_timestamp_that_is_no_integer_means_today(busy: Asking) -> None:
    response = busy.mor(period_start=f"{NOON - 60}.0", period_end="1e9")
    root = tree(response)
    assert root.findtext("calls_stat/period/period_start") == "2024-03-15 00:00:00"
    assert root.findtext("calls_stat/period/period_end") == "2024-03-15 23:59:59"
    assert len(list(root.iter("call"))) > 100


def test_local_text_is_compared_so_a_window_over_the_doubled_hour_runs_backwards() -> None:
    change = int(datetime(2024, 10, 27, 1, 0, tzinfo=ZoneInfo("UTC")).timestamp())
    with asking(mor(at=change + 7200)) as asked:
        at = change - 300
        fields = {"calldate2": local(at), "dst": "1", "dispod": "x", "did": "", "uniqueid": "a"}
        asked.add("mor.user_calls", "a", at, State(at, fields), user=2, callee=0, local=local(at))
        assert not list(tree(asked.calls(change - 1800, change + 600)).iter("call"))
        assert len(list(tree(asked.calls(change - 7200, change + 7200)).iter("call"))) == 1
        # The other hour of the same name sees it too.
        assert len(list(tree(asked.calls(change + 3000, change + 3590)).iter("call"))) == 1


def test_scopes_of_users(busy: Asking) -> None:
    everything = list(tree(busy.calls(NOON - 3600, NOON)).iter("call"))
    of_one = list(tree(busy.calls(NOON - 3600, NOON, s_user=2)).iter("call"))
    own = list(tree(busy.calls(NOON - 3600, NOON, u="shop")).iter("call"))
    assert len(everything) > len(of_one) == len(own) > 0
    assert own[0].find("provider_name") is None
    assert "(" not in (own[0].findtext("dispod") or "")
    assert "(" in (everything[0].findtext("dispod") or "")


def test_version_8_asks_one_direction_of_one_user_and_has_no_uniqueid() -> None:
    with asking(mor(BUSY, version="8")) as asked:
        counts = {}
        for direction in ("outgoing", "incoming"):
            sent = {"user_id": "2", "period_start": str(NOON - 3600), "period_end": str(NOON), "direction": direction}
            response = asked.mor(
                "user_calls", hash=mor_hash.calls_hash(sent, "mor secret"), p="secret password", **sent
            )
            counts[direction] = list(tree(response).iter("call"))
        assert len(counts["outgoing"]) > len(counts["incoming"]) > 0
        assert counts["outgoing"][0].find("uniqueid") is None
        assert all(thing["counted"] for thing in asked.sims.things() if thing["endpoint"] == "mor.user_calls")


def test_recordings_by_uniqueid_and_their_files(busy: Asking) -> None:
    found = tree(busy.mor("recordings_get", date_from=NOON - 3600, date_till=NOON))
    whole = [
        recording
        for recording in found.iter("recording")
        if (recording.findtext("mp3_url") or "").startswith("http://127")
    ]
    url, size = whole[0].findtext("mp3_url") or "", int(float(whole[0].findtext("size") or 0))
    data = busy.http.get(url).content
    assert len(data) == size > 0
    part = busy.http.get(url, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, data[100:200])
    uniqueid = url.rpartition("/")[2].removesuffix(".mp3")
    by_id = tree(busy.mor("recordings_get", uniqueid=uniqueid, source="ignored"))
    assert whole[0].findtext("id") in [recording.findtext("id") for recording in by_id.iter("recording")]
    assert busy.http.get(url.replace(uniqueid, "1.1")).status_code == 404


def test_a_recording_comes_before_its_call_and_is_enriched() -> None:
    world = WorldOptions(
        calls_per_minute=30,
        history=1800,
        usual_delay=(60, 90),
        recording_delay=(0, 1),
        recording_share=1,
        late_share=0,
        exact_share=0,
    )
    with asking(mor(world)) as asked:
        rows = [row for row, _ in asked.sims.world.all("mor.recordings")]
        first = [row.states[0].fields for row in rows]
        assert {(r["source"], r["destination"], r["user_id"], r["duration"]) for r in first} == {
            ("", "", "-1", "00:00:00")
        }
        assert all(row.states[-1].fields["source"] for row in rows)


def test_local_calls_have_halves_and_misspelt_tags(busy: Asking) -> None:
    joined = f"{NOON - 3600}{NOON}5"
    found = tree(
        busy.mor("local_calls_get", hashed=joined, **dict[str, Any]({"from": NOON - 3600, "till": NOON, "s_user": 5}))
    )
    channels = [call.findtext("orignator_channel") or "" for call in found.iter("call")]
    assert (
        sum(channel.endswith(";1") for channel in channels) == sum(channel.endswith(";2") for channel in channels) > 0
    )
    assert found.findtext("local_calls/call/calldate/timezone") == "GMT +0200"


def test_routing_attempts_share_their_uniqueid(busy: Asking) -> None:
    things = [thing for thing in busy.sims.things() if thing["endpoint"] == "mor.user_calls" and not thing["counted"]]
    several = [thing for thing in things if len({state["fields"]["provider_name"] for state in thing["states"]}) > 1]
    assert several
    rows = [row for row, _ in busy.sims.world.all("mor.user_calls") if row.id == several[0]["id"]]
    assert len({row.states[0].fields["uniqueid"] for row in rows}) == 1 < len(rows)
