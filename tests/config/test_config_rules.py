"""Rules between keys are tried as far as these are well, every bound is said, and files of certificates are read when the file is."""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import trustme
import yaml
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import BaseModel, TypeAdapter, ValidationError

from poller.config import Settings, load
from poller.errors import ConfigError
from poller.faults import models_in
from poller.kinds import KINDS
from poller.options import EndpointOptions, SinkOptions, SourceOptions, read_duration
from poller.quantities import Size
from poller.schema import config_schema
from poller.signing import hmac_text

ENV = {
    "KEY": hmac_text(b"a" * 32),
    "OTHER": hmac_text(b"b" * 32),
    "PASSWORD": "hunter2-geheim",
    "EMPTY": "",
}
SOURCE: dict[str, Any] = {
    "kind": "thulium",
    "base_url": "https://pbx.example/api",
    "username": "me",
    "password": {"env": "PASSWORD"},
    "endpoints": {"connections": {}},
}
HOOK: dict[str, Any] = {"kind": "webhook", "url": "https://crm.example/", "secrets": [{"env": "KEY"}]}
KAFKA: dict[str, Any] = {"kind": "kafka", "bootstrap_servers": ["127.0.0.1:1"]}


def faults(folder: Path, *, sources: Any = None, sinks: Any = None, env: dict[str, str] = ENV, **top: Any) -> list[str]:
    """Without lines."""
    whole = {
        "store": {"kind": "memory"},
        "sinks": sinks or {},
        "sources": {"fono": SOURCE} if sources is None else sources,
    }
    (folder / "poller.yaml").write_text(yaml.safe_dump(whole | top, sort_keys=False, allow_unicode=True))
    try:
        load(folder / "poller.yaml", env)
    except ConfigError as error:
        found = error
    else:
        return []
    assert not [secret for secret in env.values() if secret and secret in str(found)]
    split = (one.partition(": ") for one in found.faults)
    return [f"{place.partition(' (line')[0]}: {said}" for place, _, said in split]


def places(found: list[str]) -> list[str]:
    return [one.partition(":")[0] for one in found]


def hook_faults(folder: Path, **more: Any) -> list[str]:
    return faults(folder, sinks={"crm": HOOK | more})


# --- every fault at once -----------------------------------------------------------------------------------------------

TYPO = {"timeuot": "5s"}
"""A fault of its own beside the one that a rule is to find."""


@pytest.mark.parametrize(
    ("more", "place", "said"),
    [
        ({"url": "http://crm.example/"}, "url", "is http, so everybody on the way reads along"),
        ({"url": "https://10.0.0.1/"}, "url", "10.0.0.1 is not public (private)"),
        ({"url": "https://169.254.169.254/", "allow": ["*"]}, "url", "gives out a machine's credentials"),
        ({"secrets": [{"env": "KEY"}, {"env": "OTHER"}, {"env": "KEY"}]}, "secrets[2]", "1 and 3 are the same key"),
        ({"secrets": [{"env": "KEY"}, {"env": "NOT_THERE"}, {"env": "KEY"}]}, "secrets[2]", "1 and 3 are the same key"),
        ({"schedule": ["5m", "soon", "5s"]}, "schedule", "no wait may be shorter than the one before it"),
        ({"sources": ["fono", "fnoo", "b d"]}, "sources[1]", "`fnoo` is the id of no source (did you mean `fono`?)"),
        ({"renamed_from": "crm"}, "renamed_from", "is the sink's own name"),
        ({"renamed_from": "other"}, "renamed_from", "`other` is still a sink of its own"),
    ],
)
def test_a_rule_of_a_webhook_hides_behind_no_other_fault(
    more: dict[str, Any], place: str, said: str, tmp_path: Path
) -> None:
    found = faults(tmp_path, sinks={"crm": HOOK | more | TYPO, "other": {"kind": "ndjsn"}}, retention="soon")
    assert [one for one in found if one.startswith(f"sinks.crm.{place}: ") and said in one]
    assert {"sinks.crm.timeuot", "sinks.other.kind", "retention"} <= set(places(found))


@pytest.mark.parametrize(
    "keys", [{"ladder": [{"back": "30d"}]}, {"ladder": [{"back": "10s", "evry": "1m"}, {"back": "30d"}]}]
)
def test_a_ladder_is_held_against_what_is_remembered_whatever_else_is_wrong(
    keys: dict[str, Any], tmp_path: Path
) -> None:
    source = SOURCE | {"base_url": "pbx", "endpoints": {"connections": keys | {"intervall": "1m"}, "recordngs": {}}}
    found = faults(tmp_path, sources={"fono": source}, retention="soon", seen_ttl="31d")
    ladder = "sources.fono.endpoints.connections.ladder: reaches back 30d, and ids must be remembered 2 days longer: "
    assert ladder + "seen_ttl is 31d, but at least 32d is needed" in found
    assert {"retention", "sources.fono.base_url", "sources.fono.endpoints.recordngs"} <= set(places(found))


def test_rungs_that_do_not_climb_are_found_beside_one_that_is_not_well(tmp_path: Path) -> None:
    ladder = [{"back": "1h"}, {"back": "5m", "every": "no"}]
    found = faults(tmp_path, sources={"fono": SOURCE | {"endpoints": {"connections": {"ladder": ladder}}}})
    assert places(found) == [
        "sources.fono.endpoints.connections.ladder",
        "sources.fono.endpoints.connections.ladder[1].every",
    ]


@pytest.mark.parametrize(
    ("source", "place", "said"),
    [
        (
            {"version": "8", "endpoints": {"user_calls": {"did": 4, "typo": 1}}},
            "endpoints.user_calls.did",
            "MOR 8 does not have",
        ),
        ({"version": "8", "endpoints": {"user_calls": {"typo": 1}}}, "endpoints.user_calls.users", "list them"),
        ({"version": "x6", "endpoints": {"recordings": {"typo": 1}}}, "endpoints.recordings", "from x7 on"),
        (
            {"version": "9", "endpoints": {"user_calls": {"call_type": "lost"}}, "typo": 1},
            "endpoints.user_calls.call_type",
            "not 'lost'",
        ),
    ],
)
def test_what_a_version_lacks_stands_at_its_own_key(
    source: dict[str, Any], place: str, said: str, tmp_path: Path
) -> None:
    mor = {"kind": "mor", "base_url": "x", "username": "u", "api_secret": {"env": "PASSWORD"}} | source
    (found,) = [one for one in faults(tmp_path, sources={"m": mor}) if one.startswith(f"sources.m.{place}: ")]
    assert said in found


def test_ways_into_a_system_and_to_a_broker_are_judged_key_by_key(tmp_path: Path) -> None:
    fono = {
        "kind": "fonouc",
        "base_url": "x",
        "account_id": "a",
        "username": "u",
        "endpoints": {"cdrs": {"page_size": 9, "max_page_size": 3}},
    }
    security = {"protocol": "PLAINTEXT", "username": "u", "verify": False, "typo": 1}
    kafka = KAFKA | {"security": security, "transaction_timeout": "10s", "partitions": "x"}
    assert places(faults(tmp_path, sources={"f": fono}, sinks={"k": kafka})) == [
        "sinks.k.security.username",
        "sinks.k.security.verify",
        "sinks.k.security.typo",
        "sinks.k.transaction_timeout",
        "sinks.k.partitions",
        "sources.f.domain",
        "sources.f.password",
        "sources.f.base_url",
        "sources.f.endpoints.cdrs.max_page_size",
    ]


def test_of_a_kind_that_nobody_knows_the_shared_keys_are_checked(tmp_path: Path) -> None:
    sources = {
        "a": SOURCE | {"kind": "phone", "base_url": "x", "id": "b d"},
        "b": SOURCE | {"id": "same"},
        "c": SOURCE | {"id": "same"},
    }
    found = faults(tmp_path, sources=sources, sinks={"x": {"kind": "hook", "start_from": "tomorrow"}})
    assert places(found) == [
        "sinks.x.kind",
        "sinks.x.start_from",
        "sources.a.kind",
        "sources.a.base_url",
        "sources.a.id",
        "sources.c.id",
    ]


def test_a_source_whose_id_is_not_well_may_be_the_one_that_a_filter_means(tmp_path: Path) -> None:
    sinks = {"crm": HOOK | {"sources": ["office"]}}
    assert places(faults(tmp_path, sources={"fono": SOURCE | {"id": "offi ce"}}, sinks=sinks)) == ["sources.fono.id"]


@pytest.mark.parametrize("empty", [{}, None])
def test_without_work_there_is_nothing_to_run_which_hides_no_other_fault(empty: Any, tmp_path: Path) -> None:
    whole = {"store": {"kind": "memory"}, "retention": "soon", "sinks": empty, "sources": empty}
    (tmp_path / "poller.yaml").write_text(yaml.safe_dump(whole, sort_keys=False))
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "poller.yaml", ENV, to_run=True)
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "retention (line 3)",
        "sinks (line 4)",
        "sources (line 5)",
    ]
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "poller.yaml", ENV)
    assert len(caught.value.faults) == 1


# --- bounds ------------------------------------------------------------------------------------------------------------

NONSENSE = {
    "max_pending": "0B", "max_dead_letters": "0B", "in_flight": "0B", "probe": "1000d", "schedule": ["1ms"], "timeout": "10d",
    "concurrency": 0, "jitter": float("nan"), "max_per_second": float("inf"), "longest_retry_after": "0s",
}  # fmt: skip


@pytest.mark.parametrize("key", NONSENSE)
def test_nonsense_is_refused_with_the_bounds(key: str, tmp_path: Path) -> None:
    (found,) = hook_faults(tmp_path, **{key: NONSENSE[key]})
    assert found.startswith(f"sinks.crm.{key}")
    assert "must be from " in found


def models() -> Iterator[type[BaseModel]]:
    """All of the configuration."""
    left: list[type[BaseModel]] = [Settings, SinkOptions, SourceOptions, EndpointOptions]
    left += [
        found
        for package in (KINDS.sources, KINDS.sinks, KINDS.stores)
        for kind in KINDS.names(package)
        if (found := KINDS.model(package, kind)) is not None
    ]
    while left:
        model = left.pop()
        yield model
        left += [inner for field in model.model_fields.values() for inner in models_in(field.annotation)]


def bounded() -> Iterator[tuple[TypeAdapter[Any], Any, Any, bool]]:
    """Every key with bounds: what reads it, both bounds as the JSON Schema has them, whether it is a list."""
    for model in models():
        for name, field in model.model_json_schema()["properties"].items():
            choices = [field, *field.get("anyOf", []), field.get("items", {})]
            for choice in choices:
                least, most = (choice.get(f"x-{bound}", choice.get(bound)) for bound in ("minimum", "maximum"))
                if least is not None and most is not None:
                    adapter = TypeAdapter(model.model_fields[name].rebuild_annotation())
                    yield adapter, least, most, "items" in field


def outside(least: Any, most: Any) -> list[Any]:
    """What lies just below and just above."""
    if not isinstance(least, str):
        return [least - (0.0005 if isinstance(least, float) else 1), most + 1]
    if least.endswith("B"):
        size = TypeAdapter[int](Size).validate_python
        return [f"{size(least) - 1}B", f"{size(most) + 1024}B"]
    low, high = (read_duration(bound) * 1000 for bound in (least, most))
    return [f"{low - 1:.0f}ms"] * (low >= 1) + [f"{high + 1:.0f}ms"]


def test_what_the_schema_says_of_bounds_is_what_is_refused() -> None:
    cases = list(bounded())
    assert len(cases) > 40
    for adapter, least, most, listed in cases:
        for good in (least, most):
            adapter.validate_python([good] if listed else good)
        for wrong in outside(least, most):
            with pytest.raises(ValidationError) as caught:
                adapter.validate_python([wrong] if listed else wrong)
            said = str(caught.value)
            assert f"from {least} to {most}" in said or "than or equal to" in said


def test_the_schema_refuses_numbers_beyond_their_bounds() -> None:
    validator = jsonschema.Draft202012Validator(config_schema())
    whole = {"store": {"kind": "memory"}, "sinks": {"crm": HOOK}, "sources": {"fono": SOURCE}}
    assert validator.is_valid(whole)
    for key, value in (("concurrency", 0), ("jitter", 0.6), ("max_per_second", 0), ("schedule", []), ("secrets", [])):
        assert not validator.is_valid(whole | {"sinks": {"crm": HOOK | {key: value}}}), key


@pytest.mark.parametrize(("key", "value"), [("start_from", "2099-01-01"), ("start_from", "9999-12-31T23:59:59+14:00")])
def test_a_start_in_the_far_future(key: str, value: str, tmp_path: Path) -> None:
    (found,) = hook_faults(tmp_path, **{key: value})
    assert found.startswith(f"sinks.crm.{key}: is more than a year from now (2")
    source = SOURCE | {"endpoints": {"connections": {"start": value}}}
    assert places(faults(tmp_path, sources={"f": source})) == ["sources.f.endpoints.connections.start"]
    assert hook_faults(tmp_path, start_from="2020-01-01") == []


# --- what people write ---------------------------------------------------------------------------------------------------

WRITTEN: dict[str, tuple[dict[str, Any], str]] = {
    "unit apart": ({"timeout": "10 s"}, "'10 s' is no duration: write 10s"),
    "long unit": ({"timeout": "10 Minutes"}, "write 10m"),
    "no unit": ({"timeout": 10}, "10 is no duration: its unit is missing (ms, s, m, h, d, w), such as 10s or 10m"),
    "truth": ({"timeout": True}, "true is no duration: write a number with its unit"),
    "long": ({"timeout": "x" * 10_000}, "x… is no duration"),
    "size": ({"max_pending": "1 gb"}, "'1 gb' is no size: write 1GB"),
    "short size": ({"max_pending": "64M"}, "write 64MiB"),
    "no size": ({"max_pending": 64}, "64 is no size: its unit is missing (B, KiB, MiB, GiB), such as 64B or 64MiB"),
    "nothing": ({"timeout": None}, "is empty: give it a value, or remove it"),
    "one": ({"events": "telephony.call.new"}, "must be a list, such as [a, b]"),
    "day": ({"start_from": "tomorrow"}, "'tomorrow' is no start: write now, earliest, a duration such as 24h, or a date such as 2026-01-31"),
    "port 0": ({"url": "https://crm.example:0/"}, "has port 0, which nobody can listen at"),
    "port": ({"url": "https://crm.example:http/"}, "has no valid port: it is a number from 1 to 65535"),
    "user": ({"url": "https://me:hunter2-geheim@crm.example/"}, "holds a user or a password before the host"),
    "fragment": ({"url": "https://crm.example/#top"}, "holds a fragment (`#`)"),
    "space": ({"url": "https://crm.example/a b"}, "holds a space or a line break"),
    "backslash": ({"url": "https://crm.example\\a"}, "holds a backslash: write / instead"),
    "no brackets": ({"url": "https://2001:db8::1/x"}, "an IPv6 address stands in brackets: write [2001:db8::1]"),
    "brackets": ({"url": "https://[crm.example]/x"}, "has brackets, but not just an IPv6 address between them"),
    "brackets and more": ({"url": "https://[::1]x/"}, "has brackets, but not just an IPv6 address between them"),
    "no host": ({"url": "https:///x"}, "has no host"),
    "letters": ({"url": "https://b\u00fccher.example/"}, "write it in its form with xn--: xn--bcher-kva.example"),
    "other letters": ({"url": "https://stra\u00dfe.example/"}, "write it in its form with xn--. "),
    "scheme": ({"url": "crm.example/hooks"}, "begins with neither https:// nor http://"),
    "wildcard": ({"allow": ["*.internal"]}, "allow[0]: '*.internal' has a wildcard: write each name out"),
    "host and port": ({"allow": ["crm.internal:443"]}, "has a port: write crm.internal, which opens every port of it"),
    "url": ({"allow": ["https://crm.internal"]}, "is a URL: write its host alone"),
    "empty variable": ({"secrets": [{"env": "EMPTY"}]}, "the environment variable EMPTY is set, but empty"),
    "key for a name": ({"secrets": [{"env": ENV["KEY"]}]}, "env takes the name of a variable"),
    "issuers for http": ({"url": "http://crm.example/", "allow_http": True, "tls": {"ca_file": "ca.pem"}}, "tls.ca_file: is of no use with http"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_what_people_write(name: str, tmp_path: Path) -> None:
    more, said = WRITTEN[name]
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    (found,) = hook_faults(tmp_path, **more)
    assert said in found + ". "
    assert len(found) < 400


@pytest.mark.parametrize("content", ["{}", "\ufeff{}", "{}\n", "\ufeff{}\r\n", "\n{}\r\n\r\n", "{} \n"])
def test_a_key_file_as_editors_leave_it(content: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(content.format(ENV["KEY"]).encode())
    assert hook_faults(tmp_path, secrets=[{"file": "key"}]) == []


def test_a_key_file_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(ENV["KEY"].encode("utf-16"))
    assert hook_faults(tmp_path, secrets=[{"file": "key"}]) == [
        f"sinks.crm.secrets[0]: the secret file {tmp_path}/key is not UTF-8: save it in that encoding"
    ]


# --- certificates --------------------------------------------------------------------------------------------------------


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    """Issuers, a certificate with its key, and what people mistake for them."""
    issuer = trustme.CA()
    issuer.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name in ("one", "two"):
        made = issuer.issue_cert("crm.example")
        made.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        made.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    key = load_pem_private_key((tmp_path / "one.key").read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2-geheim"))
    (tmp_path / "locked.key").write_bytes(locked)
    text = (tmp_path / "ca.pem").read_text()
    (tmp_path / "torn.pem").write_text(text[:200] + text[300:])
    (tmp_path / "ca.der").write_bytes(b"\x30\x82\x01\x00\x00")
    (tmp_path / "both.pem").write_bytes((tmp_path / "one.pem").read_bytes() + (tmp_path / "one.key").read_bytes())
    (tmp_path / "empty.pem").write_text("\n")
    (tmp_path / "html.pem").write_text("<html>")
    (tmp_path / "folder").mkdir()
    return tmp_path


ISSUERS = {
    "nowhere.pem": "cannot be read: No such file or directory",
    "folder": "is no file",
    "empty.pem": "is empty",
    "html.pem": "holds no certificate in PEM form: it has no line -----BEGIN …-----",
    "one.key": "holds no certificate in PEM form: it holds ",
    "ca.der": "holds no certificate in PEM form: it looks like DER",
    "torn.pem": "holds a certificate that is damaged",
    "/dev/zero": "/dev/zero is no file",
}


@pytest.mark.parametrize("name", ISSUERS)
def test_issuers_that_cannot_be_used(name: str, papers: Path) -> None:
    tls = {"ca_file": name}
    secured = KAFKA | {"security": {"protocol": "SSL", "ca_file": name}}
    found = faults(
        papers, sources={"fono": SOURCE | {"tls": dict(tls)}}, sinks={"crm": HOOK | {"tls": tls}, "k": secured}
    )
    assert places(found) == ["sinks.crm.tls.ca_file", "sinks.k.security.ca_file", "sources.fono.tls.ca_file"]
    assert all(ISSUERS[name] in one for one in found)


@pytest.mark.parametrize(
    ("keys", "place", "said"),
    [
        ({"cert_file": "one.pem", "key_file": "one.key"}, None, ""),
        ({"cert_file": "both.pem"}, None, ""),
        ({"cert_file": "one.pem", "key_file": "locked.key", "key_password": {"env": "PASSWORD"}}, None, ""),
        ({"cert_file": "one.pem", "key_file": "two.key"}, "key_file", "belongs to another certificate than the one in"),
        ({"cert_file": "one.pem"}, "cert_file", "holds no private key in PEM form: it holds certificate"),
        ({"cert_file": "one.key", "key_file": "one.key"}, "cert_file", "holds no certificate in PEM form"),
        ({"cert_file": "one.pem", "key_file": "one.pem"}, "key_file", "holds no private key in PEM form"),
        ({"cert_file": "one.pem", "key_file": "gone.key"}, "key_file", "cannot be read: No such file"),
        ({"cert_file": "gone.pem", "key_file": "one.key"}, "cert_file", "cannot be read: No such file"),
        ({"cert_file": "one.pem", "key_file": "locked.key"}, "key_password", "is missing: the key in"),
        ({"cert_file": "one.pem", "key_file": "locked.key", "key_password": {"env": "KEY"}}, "key_password", "does not open the key in"),
        ({"cert_file": "torn.pem", "key_file": "one.key"}, "key_file", "cannot be used together"),
        ({"key_file": "one.key"}, "key_file", "needs cert_file"),
    ],
)  # fmt: skip
def test_our_own_certificate(keys: dict[str, Any], place: str | None, said: str, papers: Path) -> None:
    found = faults(papers, sinks={"k": KAFKA | {"security": {"protocol": "SSL"} | keys}})
    assert places(found) == ([] if place is None else [f"sinks.k.security.{place}"])
    assert all(said in one for one in found)


@pytest.mark.parametrize("kind", [{"kind": "memory"}, {"kind": "sqlite", "path": "poller.db"}])
def test_a_store_for_nothing_is_refused(kind: dict[str, Any], tmp_path: Path) -> None:
    (found,) = [said for said in faults(tmp_path, store=kind | {"max_bytes": "0B"}) if said.startswith("store")]
    assert found == "store.max_bytes: must be from 1B to 1048576GiB"


# --- the status page ---------------------------------------------------------------------------------------------------


def test_the_status_page_needs_a_token_that_cannot_be_guessed(tmp_path: Path) -> None:
    listen = {"listen": "127.0.0.1:9465"}
    (said,) = faults(tmp_path, admin=listen)
    assert said.startswith("admin.token: is needed with `listen`")
    (said,) = faults(tmp_path, admin=listen | {"token": {"env": "SHORT"}}, env=ENV | {"SHORT": "fifteen-letters"})
    assert said.startswith("admin.token: is too short")
    assert faults(tmp_path, admin=listen | {"token": {"env": "LONG"}}, env=ENV | {"LONG": "sixteen--letters"}) == []
    assert faults(tmp_path) == []


# --- the admin socket ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", ["a", "ż"])
def test_a_socket_whose_path_is_too_long_is_found_before_anything_runs(sign: str) -> None:
    """Judged by what the system says of it, in bytes, and with the folder of the file where it is relative."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # a short one: pytest names its own after the test
    try:
        for size in range(100, 112):
            name = (sign * size)[: (size - len(str(folder)) - 1) // len(sign.encode())]
            with socket.socket(socket.AF_UNIX) as there:
                try:
                    there.bind(str(folder / name))
                except OSError:
                    fits = False
                else:
                    fits = True
                    (folder / name).unlink()
            for given in (name, str(folder / name)):
                found = faults(folder, admin={"socket": given})
                assert (found == []) == fits, (size, found)
                if not fits:
                    (fault,) = found
                    assert "admin.socket" in fault
                    assert "choose a shorter one" in fault
    finally:
        shutil.rmtree(folder)
