"""Every fault fires, is counted, and does what its line says."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from simulate_asking import NOON, Asking, asking

from poller.simulate.faults import FAULTS, Faults, parse_rates
from poller.simulate.run import Simulation
from poller.simulate.site import Down
from poller.simulate.world import WorldOptions

Check = Callable[[httpx.Response], object]


@pytest.fixture(scope="module")
def asked() -> Iterator[Asking]:
    """All three vendors, a quarter of an hour of calls, the clock stands still."""
    world = WorldOptions(
        calls_per_minute=10,
        history=900,
        recording_share=1,
        usual_delay=(0, 1),
        recording_delay=(0, 1),
        file_delay=(0, 1),
    )
    with asking(Simulation(world=world, at=NOON, speed=0)) as asked:
        yield asked


@pytest.fixture(autouse=True)
def _calm(asked: Asking) -> Iterator[None]:
    """Each test begins without faults, with a token, and with connections that no fault has broken."""
    asked.fonouc()
    yield
    asked.http.close()
    asked.http = httpx.Client(timeout=60, verify=False)
    for site in asked.sims.sites.values():
        site.faults.calm()
        site.down = ""


def ask(asked: Asking, vendor: str, **more: Any) -> httpx.Response:
    """A plain request of the vendor's call list."""
    if vendor == "mor":
        return asked.calls(NOON - 900, NOON, **more)
    if vendor == "thulium":
        return asked.thulium(date_from="2024-03-15 12:45", date_to="2024-03-15 13:00", **more)
    return asked.fonouc(startDate=NOON - 900, endDate=NOON, pageSize=20, **more)


def records(response: httpx.Response) -> list[Any]:
    """The call records of a Thulium or FonoUC answer."""
    body = response.json()
    return [r for r in body.get("result", body.get("data")) if "next_start_key" not in r]


WHOLE: dict[str, Check] = {
    "html_200": lambda r: r.status_code == 200 and "<!DOCTYPE html>" in r.text,
    "empty_200": lambda r: r.status_code == 200 and not r.content,
    "error_200": lambda r: r.status_code == 200 and any(t in r.text for t in ("Elasticsearch", "100500", "upstream")),
    "http_500": lambda r: r.status_code == 500,
    "http_503_retry_after": lambda r: r.status_code == 503 and r.headers["retry-after"] == "1",
    "rate_limit_429": lambda r: r.status_code == 429 and "retry-after" not in r.headers,
    "rate_limit_429_seconds": lambda r: r.headers.get("retry-after") == "1",
    "rate_limit_429_date": lambda r: r.headers.get("retry-after", "").endswith("GMT"),
    "redirect_other_host": lambda r: r.status_code == 302 and ".invalid" in r.headers["location"],
    "doctype_bomb": lambda r: b"<!ENTITY" in r.content,
    "token_expired_early": lambda r: r.status_code == 401,
    "truncated": lambda r: r.status_code == 200 and not r.text.rstrip().endswith((">", "}")),
    "slow": lambda r: r.status_code == 200,
    "late": lambda r: r.elapsed.total_seconds() >= 2,
    "wrong_charset": lambda r: r.content[:2] in {b"\xff\xfe", b"\xfe\xff"},
    "invalid_utf8": lambda r: b"\xff\xfe\xc3(" in r.content,
    "content_length_too_short": lambda r: not r.text.rstrip().endswith((">", "}")),
    "date_header_missing": lambda r: "date" not in r.headers,
    "date_header_skewed": lambda r: r.headers["date"] == "Fri, 15 Mar 2024 11:56:00 GMT",
    "date_header_absurd": lambda r: "Foo" in r.headers["date"],
    "control_characters": lambda r: b"\x01" in r.content or b"\\u0001" in r.content,
    "extra_fields": lambda r: "zz_new" in r.text,
    "bad_record": lambda r: "simulated_fault" in r.text and "bad_record" in r.text,
    "absurd_dates": lambda r: "absurd_dates" in r.text,
    "echo_wrong": lambda r: "<period_start>2024-03-15 14:02:00" in r.text,
}
BROKEN: dict[str, Any] = {
    # A client that is still sending notices the reset there and then reads an end.
    "connection_reset": (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError),
    "reset_midway": (httpx.ReadError, httpx.RemoteProtocolError),
    "content_length_too_long": httpx.RemoteProtocolError,
}
TRANSPORT = [(name, vendor) for name in WHOLE for vendor in FAULTS[name].vendors]


@pytest.mark.parametrize(("name", "vendor"), TRANSPORT)
def test_a_fault_that_one_answer_shows(asked: Asking, name: str, vendor: str) -> None:
    faults = asked.sims.sites[vendor].faults
    before = faults.fired[name]
    clean = ask(asked, vendor)
    faults.force(name)
    response = ask(asked, vendor)
    assert WHOLE[name](response), (response.status_code, response.headers, response.text[:500])
    assert faults.fired[name] == before + 1
    if name not in {"slow", "late"}:
        assert not WHOLE[name](clean)
    asked._token = asked.login().json()["access_token"] if name == "token_expired_early" else asked._token


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("vendor", ["mor", "thulium", "fonouc"])
def test_a_fault_that_breaks_the_connection(asked: Asking, name: str, vendor: str) -> None:
    faults = asked.sims.sites[vendor].faults
    faults.force(name)
    with pytest.raises(BROKEN[name]):
        ask(asked, vendor)
    assert faults.fired[name] >= 1
    assert ask(asked, vendor).status_code == 200


@pytest.mark.parametrize("name", ["endless_body", "gzip_bomb"])
def test_a_body_without_end(asked: Asking, name: str) -> None:
    asked.sims.sites["thulium"].faults.force(name)
    auth = ("api", "thulium secret")
    with asked.http.stream("GET", asked.sims.url("thulium") + "/connections", auth=auth) as response:
        size = 0
        for piece in response.iter_bytes():
            size += len(piece)
            if size > 40 << 20:
                break
    assert size > 40 << 20
    assert asked.sims.sites["thulium"].faults.fired[name] >= 1


def test_hang_answers_nothing(asked: Asking) -> None:
    asked.sims.sites["mor"].faults.force("hang")
    with pytest.raises(httpx.ReadTimeout):
        asked.http.post(asked.sims.url("mor") + "/user_calls_get", timeout=httpx.Timeout(60, read=0.3))
    assert asked.sims.sites["mor"].faults.fired["hang"] == 1


@pytest.mark.parametrize("vendor", ["thulium", "fonouc"])
def test_faults_of_records(asked: Asking, vendor: str) -> None:
    faults = asked.sims.sites[vendor].faults
    clean = records(ask(asked, vendor))
    faults.force("missing_fields", len(clean))
    assert {len(r) for r in records(ask(asked, vendor))}.isdisjoint({len(r) for r in clean})
    faults.force("numbers_as_strings", len(clean))
    assert not any(type(value) is int for r in records(ask(asked, vendor)) for value in r.values())
    faults.force("null_fields", len(clean))
    assert not any(value == "" for r in records(ask(asked, vendor)) for value in r.values())
    faults.force("duplicate_rows")
    ids = [r.get("connection_id") or r.get("call_id") for r in records(ask(asked, vendor))]
    assert len(ids) == 2 * len(set(ids))
    for name in ("missing_fields", "numbers_as_strings", "null_fields", "duplicate_rows"):
        assert faults.fired[name] > 0


def test_rows_in_no_order(asked: Asking) -> None:
    clean = [r["call_id"] for r in records(ask(asked, "fonouc"))]
    asked.sims.sites["fonouc"].faults.force("shuffled")
    mixed = [r["call_id"] for r in records(ask(asked, "fonouc"))]
    assert mixed != clean
    assert sorted(mixed) == sorted(clean)


def test_records_without_a_vendors_id_are_never_doubled(asked: Asking) -> None:
    plain = ask(asked, "mor").text
    asked.sims.sites["mor"].faults.force("duplicate_rows")
    doubled = ask(asked, "mor").text
    assert doubled.count("<uniqueid></uniqueid>") == plain.count("<uniqueid></uniqueid>") > 0
    assert doubled.count("<call>") > plain.count("<call>") * 1.5


def test_faults_of_fonouc_pages(asked: Asking) -> None:
    faults = asked.sims.sites["fonouc"].faults
    first = ask(asked, "fonouc").json()
    key = first["data"][-1]["next_start_key"]
    faults.force("repeat_page")
    assert ask(asked, "fonouc", startKey=key).json() == first
    faults.force("repeat_key")
    assert ask(asked, "fonouc", startKey=key).json()["data"][-1]["next_start_key"] == key
    faults.force("empty_page_with_key")
    assert [len(r) for r in ask(asked, "fonouc").json()["data"]] == [2]
    faults.force("stuck_key", 2)
    stuck = ask(asked, "fonouc").json()["data"]
    again = ask(asked, "fonouc", startKey=stuck[-1]["next_start_key"]).json()["data"]
    assert again[-1] == stuck[-1] != first["data"][-1]
    assert stuck[0] in again
    faults.force("page_for_ever")
    everything = asked.fonouc(startDate=NOON - 900, endDate=NOON, pageSize=5000).json()["data"]
    assert everything[-1]["next_start_key"] != ""
    faults.force("missing_month")
    assert records(ask(asked, "fonouc")) == []
    for name in ("repeat_page", "repeat_key", "empty_page_with_key", "page_for_ever", "missing_month"):
        assert faults.fired[name] == 1


def test_faults_of_thulium_pages(asked: Asking) -> None:
    faults = asked.sims.sites["thulium"].faults
    count = ask(asked, "thulium").json()["count"]
    faults.force("shrinking_total")
    assert ask(asked, "thulium").json()["count"] == count // 2
    faults.force("repeat_page")
    assert len(records(ask(asked, "thulium", offset=count))) > 0
    faults.force("moving_offsets")
    dates = [r["date"] for r in records(ask(asked, "thulium"))]
    assert dates != sorted(dates, reverse=True)


@pytest.mark.parametrize("vendor", ["mor", "thulium", "fonouc"])
def test_a_filter_that_is_ignored(asked: Asking, vendor: str) -> None:
    far: dict[str, Callable[[], int]] = {
        "mor": lambda: asked.calls(NOON - 90_000, NOON - 89_000).text.count("<call>"),
        "thulium": lambda: asked.thulium(date_from="2024-03-10 00:00", date_to="2024-03-10 01:00").json()["count"],
        "fonouc": lambda: len(asked.fonouc(startDate=NOON - 90_000, endDate=NOON - 89_000).json()["data"]) - 1,
    }
    assert far[vendor]() == 0
    asked.sims.sites[vendor].faults.force("filter_ignored")
    assert far[vendor]() > 0


def test_an_unclosed_page(asked: Asking) -> None:
    asked.sims.sites["mor"].faults.force("unclosed_page")
    text = asked.mor("recordings_get", date_from=NOON - 900, date_till=NOON).text
    assert text.rstrip().endswith("</recordings></status>")


def test_faults_of_files(asked: Asking) -> None:
    file = next(f for f in asked.sims.world.files.values() if f.name.startswith("fonouc/") and f.whole_from <= NOON)
    path = f"/reports/recordings/{file.name.removeprefix('fonouc/')}"
    faults = asked.sims.sites["fonouc"].faults
    faults.force("file_json")
    assert asked.fonouc(path).headers["content-type"] == "application/json"
    faults.force("file_short")
    assert len(asked.fonouc(path).content) == file.size // 2


def test_no_fault_is_left_out() -> None:
    """A fault that nobody checks is a defect: this list is the rest of what the tests above name."""
    by_name = {
        "hang", "endless_body", "gzip_bomb", "missing_fields", "null_fields", "numbers_as_strings", "duplicate_rows", "shuffled",
        "filter_ignored", "unclosed_page", "repeat_page", "repeat_key", "stuck_key", "page_for_ever", "missing_month", "empty_page_with_key",
        "shrinking_total", "moving_offsets", "file_json", "file_short",
    }  # fmt: skip
    assert set(WHOLE) | set(BROKEN) | by_name == set(FAULTS)


@pytest.mark.parametrize("down", ["503", "hang", "reset", "refuse"])
def test_a_vendor_that_is_away_comes_back(asked: Asking, down: Down) -> None:
    url = asked.sims.root("thulium") + "/_control"
    if down == "refuse":
        asked.sims.sites["thulium"].down = down
    else:
        assert asked.http.post(url, json={"down": down}).json()["down"] == down
    outcome = _until_away(asked, down)
    away: dict[str, set[object]] = {
        "503": {503},
        "hang": {"ReadTimeout"},
        "reset": {"ReadError", "RemoteProtocolError"},
        "refuse": {"ConnectError"},
    }
    assert outcome in away[down]
    asked.sims.sites["thulium"].down = ""
    assert _until_back(asked) == 200


def _until_away(asked: Asking, down: str) -> object:
    """Where the port is closed it takes the server a moment to notice: asks again until it has, for 5 s at most."""
    outcome: object = None
    for _ in range(100):
        outcome = _outcome(asked, 0.5 if down == "hang" else 60)
        if outcome != 200 and (down != "refuse" or outcome == "ConnectError"):
            break
    return outcome


def _until_back(asked: Asking) -> object:
    outcome: object = None
    for _ in range(1000):
        outcome = _outcome(asked, 60)
        if outcome == 200:
            break
    return outcome


def _outcome(asked: Asking, read: float) -> object:
    url, auth = asked.sims.url("thulium") + "/connections?limit=1", ("api", "thulium secret")
    try:
        return httpx.get(url, auth=auth, timeout=httpx.Timeout(60, read=read)).status_code
    except httpx.HTTPError as fault:
        return type(fault).__name__


def test_control_shows_and_sets_rates(asked: Asking) -> None:
    url = asked.sims.root("mor") + "/_faults"
    state = asked.http.post(url, json={"rates": {"html_200": 1}, "force": {"empty_200": 2}}).json()
    assert state["rates"] == {"html_200": 1, "empty_200": 0}
    assert "It works" in ask(asked, "mor").text
    assert asked.http.post(url, json={"calm": True}).json()["rates"] == {}
    assert "<page>" in ask(asked, "mor").text
    assert asked.http.post(url, json={"rates": {"nonsense": 1}}).status_code == 400
    assert asked.http.post(asked.sims.root("mor") + "/_control", json={"nonsense": 1}).status_code == 400


def test_the_log_names_parameters_and_never_their_values(asked: Asking) -> None:
    ask(asked, "mor")
    last = asked.http.get(asked.sims.root("mor") + "/_log").json()[-1]
    assert last["parameters"] == ["hash", "period_end", "period_start", "u"]
    assert "hash" not in str(last.values()).replace("'hash'", "")


def test_the_same_seed_fires_the_same() -> None:
    def fired(seed: int) -> list[bool]:
        faults = Faults("mor", {"slow": 0.3}, seed)
        return [faults.fires("slow") for _ in range(50)]

    assert fired(1) == fired(1) != fired(2)
    assert 5 < sum(fired(1)) < 25


def test_rates_from_the_command_line() -> None:
    assert parse_rates(["slow=0.1", "hang=1"]) == {"slow": 0.1, "hang": 1.0}
    for wrong in ("slow", "slow=often", "nonsense=0.1"):
        with pytest.raises(ValueError, match="fault"):
            parse_rates([wrong])
    with pytest.raises(ValueError, match="between 0 and 1"):
        Faults("mor", {"slow": 2})
    assert not Faults("mor", {"missing_month": 1}).fires("missing_month")
