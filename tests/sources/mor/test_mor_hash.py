"""The hash: the vendor's published examples, the server's order, and what takes part."""

import hashlib

import pytest
from mor_support import SECRET, mor_endpoint

from poller.model import Request, Window
from poller.sources.mor.params import hashed_values, sign


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def sent(request: Request) -> dict[str, str]:
    return dict(request.form or request.query)


@pytest.mark.parametrize(
    ("values", "secret", "expected"),
    [
        (["123"], "456789", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        ([], "secret", "e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4"),
        ([], "123456", "7c4a8d09ca3762af61e59520943dc26494f8941b"),
        (["5", "1577836799"], "secret", "3da29256.{24}.{4}077e"),
        (["82878881"], "secret", "85ef4ad4.{28}1cdd"),
        (["123", "1252454580", "answered"], "Very Sercet Key", "b93c35d5.{28}63b7"),
    ],
)
def test_published_vectors(values: list[str], secret: str, expected: str) -> None:
    """BEHAVIOUR 1.2 and the vendor's pages; where only the ends were published, the ends."""
    found = sign(values, secret)
    assert len(found) == 40
    assert (found[:8], found[-4:]) == (expected[:8], expected[-4:])


def test_order_is_the_servers() -> None:
    """Trap 13: the period comes before s_user, though MOR 9's page lists s_user first; the request's order does not matter."""
    params = {
        "only_did": "1",
        "s_user": "5",
        "s_device": "all",
        "period_end": "20",
        "s_call_type": "busy",
        "period_start": "010",
    }
    assert hashed_values(params) == ["10", "20", "5", "busy", "all", "1"]


@pytest.mark.parametrize(
    "params",
    [
        {"s_user": "all"},
        {"period_start": "1700000000.0"},
        {"period_end": "-1"},
        {"only_did": "yes"},
        {"s_did": "x1"},
        {"s_user": ""},
    ],
)
def test_what_does_not_pass_the_servers_check_is_not_hashed(params: dict[str, str]) -> None:
    """Trap 13: sent all the same, but no part of the hash."""
    assert hashed_values(params) == []


def test_user_calls_hash_covers_what_is_sent_and_nothing_else() -> None:
    """Integer times, no parameter beside the documented ones, `u` outside the hash, the reseller filter as well."""
    options = {"users": [7], "provider": "all", "destination": "3706", "only_did": True, "reseller": 3}
    endpoint = mor_endpoint("user_calls", options)
    request = endpoint.request(endpoint.asks[0], Window(1700000000, 1700003600), None)
    values = sent(request)
    assert values.pop("hash") == sha1("1700000000" + "1700003600" + "7" + "all" + "3706" + "1" + SECRET)
    assert values == {
        "u": "admin",
        "period_start": "1700000000",
        "period_end": "1700003600",
        "s_user": "7",
        "s_provider": "all",
        "s_destination": "3706",
        "only_did": "1",
        "s_reseller": "3",
    }
    assert (request.method, request.path, request.query) == ("POST", "user_calls_get", ())


def test_unhashed_says_which_parameters_the_vendor_leaves_out() -> None:
    """Versions differ, so it can be told."""
    options = {"reseller": 3, "reseller_did": "4", "did_pattern": "37%"}
    for unhashed, hashed in ((None, ""), ([], "4" + "37%" + "3"), (["s_reseller"], "4" + "37%")):
        endpoint = mor_endpoint("user_calls", options if unhashed is None else {**options, "unhashed": unhashed})
        values = sent(endpoint.request(endpoint.asks[0], Window(1, 2), None))
        assert values["hash"] == sha1("12" + hashed + SECRET)
        assert (values["s_reseller"], values["s_reseller_did"], values["s_did_pattern"]) == ("3", "4", "37%")


def test_mor_8_asks_each_user_in_both_directions() -> None:
    """MOR 8 knows user_id and one direction at a time, and asks for the password, which is not hashed."""
    endpoint = mor_endpoint(
        "user_calls", {"users": [5, 9], "call_type": "missed_inc", "device": 3}, version=8, password="pw"
    )
    assert [(ask.get("user_id"), ask.get("direction")) for ask in endpoint.asks] == [
        ("5", "outgoing"),
        ("5", "incoming"),
        ("9", "outgoing"),
        ("9", "incoming"),
    ]
    request = endpoint.request(endpoint.asks[1], Window(10, 20), None)
    values = sent(request)
    assert request.path == "user_calls"
    assert values.pop("hash") == sha1("5" + "10" + "20" + "incoming" + "missed_inc" + "3" + SECRET)
    assert values == {
        "u": "admin", "p": "pw", "user_id": "5", "period_start": "10", "period_end": "20",
        "direction": "incoming", "calltype": "missed_inc", "device": "3",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("version", "path", "password"),
    [
        ("9", "user_calls", True),
        ("11", "user_calls", True),
        ("x3", "user_calls", False),
        ("x4", "user_calls_get", False),
        ("x13", "user_calls_get", False),
    ],
)
def test_names_and_password_by_version(version: str, path: str, password: bool) -> None:
    """Trap 15: up to X3 the old name, which X4 and newer only redirect or alias."""
    endpoint = mor_endpoint("user_calls", version=version, password="pw")
    request = endpoint.request(endpoint.asks[0], Window(10, 20), None)
    assert request.path == path
    assert ("p" in sent(request)) is password
    assert "s_user" not in sent(request)


def test_each_user_is_an_ask_of_its_own() -> None:
    """Without a list one ask for everybody; with one a checkpoint for each, named twice or not."""
    assert [ask.key for ask in mor_endpoint("user_calls").asks] == [""]
    assert [ask.key for ask in mor_endpoint("user_calls", {"users": [5, 9, 5]}).asks] == ["s_user=5", "s_user=9"]


def test_get_puts_the_same_into_the_query() -> None:
    """Only where the vendor allows GET."""
    endpoint = mor_endpoint("user_calls", method="GET")
    request = endpoint.request(endpoint.asks[0], Window(10, 20), None)
    assert (request.method, request.form) == ("GET", None)
    assert sent(request)["hash"] == sha1("1020" + SECRET)


def test_recordings_hash_is_the_secrets() -> None:
    """Trap 13: whatever is asked for. Trap 14: the two dates must differ."""
    endpoint = mor_endpoint("recordings")
    values = sent(endpoint.request(endpoint.asks[0], Window(100, 100), None))
    assert values == {"u": "admin", "date_from": "100", "date_till": "101", "hash": sha1(SECRET)}


@pytest.mark.parametrize(("variant", "hashed"), [("from_till_user", "10205"), ("secret", ""), ("user", "5")])
def test_local_calls_hash_variants(variant: str, hashed: str) -> None:
    """Trap 13: the vendor's page and its example disagree, so the configuration says which; check probes all."""
    endpoint = mor_endpoint("local_calls", {"users": [5], "hash": variant})
    values = sent(endpoint.request(endpoint.asks[0], Window(10, 20), None))
    assert values == {"u": "admin", "from": "10", "till": "20", "s_user": "5", "hash": sha1(hashed + SECRET)}
    variants = endpoint.variants()  # type: ignore[attr-defined]
    assert next(iter(variants)) == f"hash: {variant}"
    assert set(variants) == {"hash: from_till_user", "hash: secret", "hash: user"}
    other = variants["hash: secret"]
    assert sent(other.request(other.asks[0], Window(10, 20), None))["hash"] == sha1(SECRET)


def test_nothing_secret_is_shown() -> None:
    """Neither a request nor a configuration shows its values."""
    endpoint = mor_endpoint("user_calls", version="9", password="p4ssw0rd")
    request = endpoint.request(endpoint.asks[0], Window(10, 20), None)
    shown = repr(request) + repr(vars(endpoint))
    assert "p4ssw0rd" not in shown
    assert SECRET not in shown
    assert sent(request)["hash"] not in shown
