"""Faults of the configuration are said before anything is asked."""

import pytest
from mor_support import mor_config
from pydantic import ValidationError


def shown(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())


@pytest.mark.parametrize(
    ("version", "endpoints", "says"),
    [
        ("8", {"user_calls": {}}, "users: MOR 8 answers for one user at a time"),
        ("8", {"user_calls": {"users": [1], "did": 4}}, "did: MOR 8 does not have this filter"),
        ("10", {"user_calls": {"only_did": True}}, "only_did: MOR 10 does not have this filter"),
        ("11", {"user_calls": {"reseller": 4}}, "reseller: MOR 11 does not have this filter"),
        (
            "9",
            {"user_calls": {"call_type": "no_answer"}},
            "call_type: MOR 9 knows all, answered, busy, failed, no answer",
        ),
        ("8", {"user_calls": {"users": [1], "call_type": "no answer"}}, "call_type: MOR 8 knows"),
        ("x12", {"local_calls": {"users": [1]}}, "local_calls: MOR has this list from x13 on"),
        ("x6", {"recordings": {}}, "recordings: MOR has this list from x7 on"),
        ("x13", {"local_calls": {}}, "users"),
        ("x13", {"user_calls": {"users": []}}, "users"),
        ("x13", {"user_calls": {"users": ["all"]}}, "users"),
        ("x2", {"user_calls": {}}, "version"),
        ("x13", {"calls": {}}, "calls"),
    ],
)
def test_refused(version: str, endpoints: dict[str, dict[str, object]], says: str) -> None:
    """An option that the version does not have would be ignored by the vendor and break the hash."""
    with pytest.raises(ValidationError) as caught:
        mor_config(endpoints, version=version)
    assert says in shown(caught.value)


def test_all_faults_at_once() -> None:
    """Not one after the other."""
    with pytest.raises(ValidationError) as caught:
        mor_config({"user_calls": {"did": 1, "hgc": 2}, "recordings": {}}, version="8")
    assert all(word in shown(caught.value) for word in ("did:", "hgc:", "users:", "recordings:"))


def test_zone_is_checked() -> None:
    """A name that no zone has."""
    with pytest.raises(ValidationError, match="IANA"):
        mor_config({"recordings": {}}, timezone="Europe/Nowhere")


def test_version_is_read_as_people_write_it() -> None:
    """A number in YAML, capital letters."""
    assert mor_config({"user_calls": {"users": [1]}}, version=8).version == "8"
    assert mor_config({"user_calls": {}}, version="X13").version == "x13"


def test_answers_may_be_large_and_slow() -> None:
    """MOR's defaults are its own: one document for a window, made in memory."""
    options = mor_config({"user_calls": {}}).endpoints.user_calls
    assert options is not None
    assert (options.timeout, options.max_body) == (300.0, 2 << 30)
