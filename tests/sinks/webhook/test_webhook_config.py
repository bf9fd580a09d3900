"""The keys of a webhook: every fault in a sentence, no secret in any of them, and what the filters let pass."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from delivery_events import call_event, hour_event
from hypothesis import given
from hypothesis import strategies as st
from webhook_case import HMAC, PRIVATE, PUBLIC, hook

from poller.config import Settings, load
from poller.errors import ConfigError
from poller.model import Event
from poller.redact import Redactor, secrets_of
from poller.signing import hmac_text
from poller.sinks.webhook import Config, build

TOKEN = "T0KEN-in-the-path"
URL = f"https://crm.example/hooks/{TOKEN}?key=QUERYT0KEN"
ENV = {
    "KEY": HMAC,
    "UNPADDED": HMAC.rstrip("="),
    "SIGNING": PRIVATE,
    "PUBLIC": PUBLIC,
    "SHORT": "whsec_c2hvcnQ=",
    "TORN": PRIVATE[:-8],
    "PASSWORD": "hunter2-geheim",
    "URL": URL,
    **{f"KEY{number}": hmac_text(bytes([number]) * 32) for number in range(11)},
    "FTP": "ftp://crm.example/T0KEN-in-the-path",
}


def loaded(folder: Path, **options: Any) -> Settings:
    whole = {
        "store": {"kind": "memory"},
        "sinks": {"crm": {"kind": "webhook", "url": URL, "secrets": [{"env": "KEY"}]} | options},
        "sources": {
            "fono": {
                "kind": "fonouc",
                "base_url": "https://pbx.example",
                "account_id": "a",
                "api_key": {"env": "PASSWORD"},
                "endpoints": {"cdrs": {}},
            }
        },
    }
    path = folder / "poller.yaml"
    path.write_text(yaml.safe_dump(whole))
    return load(path, ENV)


def config(**options: Any) -> Config:
    return Config.model_validate(
        {"kind": "webhook", "url": URL, "secrets": [{"env": "KEY"}]} | options, context={"env": ENV}
    )


def faults(folder: Path, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, **options)
    for secret in (*ENV.values(), TOKEN, "QUERYT0KEN", HMAC[6:], PRIVATE[5:]):
        assert secret not in str(caught.value)
    return [fault for fault in caught.value.faults if "sinks.crm" in fault]


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no url": ({"url": "crm"}, "begins with neither https:// nor http://"),
    "another scheme": ({"url": {"env": "FTP"}}, "begins with neither https:// nor http://"),
    "a user": ({"url": "https://u:hunter2-geheim@crm.example/"}, "holds a user or a password"),
    "http": ({"url": "http://crm.example/"}, "write https, or set allow_http: true"),
    "private": ({"url": "https://10.1.2.3/x"}, "10.1.2.3 is not public (private)"),
    "metadata": ({"url": "https://169.254.169.254/x", "allow": ["0.0.0.0/0"]}, "never allowed"),
    "mapped": ({"url": "https://[::ffff:10.0.0.1]/x"}, "is not public (private)"),
    "odd": ({"url": "https://0x7f.1/x"}, "read differently"),
    "localhost": ({"url": "https://localhost/x"}, "is not public (loopback)"),
    "letters": ({"url": "https://b\u00fccher.example/"}, "xn--"),
    "fragment": ({"url": "https://crm.example/#x"}, "fragment"),
    "port": ({"url": "https://crm.example:99999/"}, "has no valid port: it is a number from 1 to 65535"),
    "hidden": ({"url": "https://crm.example/…"}, "write the whole URL"),
    "number": ({"url": 7}, "must be a URL"),
    "variable": ({"url": {"env": "NOTHING"}}, "the environment variable NOTHING is not set"),
    "no keys": ({"secrets": []}, "must have at least 1"),
    "many keys": ({"secrets": [{"env": f"KEY{number}"} for number in range(11)]}, "at most 10"),
    "plain": ({"secrets": [HMAC]}, "never as plain text"),
    "no key": ({"secrets": [{"env": "KEY"}, {"env": "PASSWORD"}]}, "secrets[1] (line"),
    "no key, said so": ({"secrets": [{"env": "PASSWORD"}]}, "this is no webhook key"),
    "public": ({"secrets": [{"env": "PUBLIC"}]}, "a whpk_ key only verifies"),
    "short": ({"secrets": [{"env": "SHORT"}]}, "holds 24 to 64 bytes"),
    "torn": ({"secrets": [{"env": "TORN"}]}, "whsk_ key holds 64 bytes"),
    "twice": ({"secrets": [{"env": "KEY"}, {"env": "SIGNING"}, {"env": "UNPADDED"}]}, "1 and 3 are the same key"),
    "format": ({"format": "xml"}, "must be 'cloudevents', 'cloudevents-binary' or 'standard'"),
    "type": ({"events": ["telephony.call.deleted"]}, "'telephony.call.deleted' is no event type"),
    "kind of type": ({"events": ["telephony.fax.*"]}, "is no event type"),
    "no types": ({"events": []}, "must have at least 1"),
    "direction": ({"directions": ["sideways"]}, "must be 'inbound', 'outbound' or 'internal'"),
    "disposition": ({"dispositions": ["lost"]}, "must be 'answered'"),
    "unknown source": (
        {"sources": ["fono", "fonno"]},
        "sources[1] (line 8): `fonno` is the id of no source (did you mean `fono`?)",
    ),
    "schedule": ({"schedule": ["5m", "5s"]}, "no wait may be shorter than the one before it"),
    "no schedule": ({"schedule": []}, "must have at least 1"),
    "nothing": ({"schedule": ["0s"]}, "schedule[0] (line 5): must be from 100ms to 30d"),
    "jitter": ({"jitter": 0.6}, "must be from 0 to 0.5"),
    "rate": ({"max_per_second": 0}, "must be from 0.001 to 10000"),
    "concurrency": ({"concurrency": 0}, "must be from 1 to 64"),
    "timeout": ({"timeout": "6m"}, "must be from 10ms to 5m"),
    "allow": ({"allow": ["10.1.2.3/8"]}, "is no network"),
    "allow metadata": ({"allow": ["169.254.169.254"]}, "never allowed"),
    "key": ({"secret": "x"}, "did you mean `secrets`?"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_said(name: str, tmp_path: Path) -> None:
    options, said = FAULTS[name]
    found = faults(tmp_path, **options)
    assert len(found) == 1
    assert said in found[0]


def test_defaults(tmp_path: Path) -> None:
    found: Any = loaded(tmp_path).sinks["crm"]
    assert (found.vendor, found.mask_numbers, found.max_pending) == ("omit", False, 1 << 30)
    sink = build("crm", found, shards=1)
    assert list(sink.pace.schedule) == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    assert (sink.pace.concurrency, sink.pace.rate, sink.pace.in_flight, sink.pace.jitter) == (4, None, 8 << 20, 0.2)
    assert (sink.pace.ordered, sink.pace.probe, sink.pace.longest_retry_after) == (False, 300, 86400)


def test_the_pace_is_what_the_configuration_says() -> None:
    given = config(
        concurrency=9,
        max_per_second=50,
        in_flight="1MiB",
        schedule=["1s", "1s", "2s"],
        jitter=0,
        order="per_key",
        probe="1m",
        longest_retry_after="2d",
    )
    pace = build("crm", given, shards=1).pace
    assert (pace.concurrency, pace.rate, pace.in_flight, pace.schedule) == (9, 50, 1 << 20, (1, 1, 2))
    assert (pace.jitter, pace.ordered, pace.probe, pace.longest_retry_after) == (0, True, 60, 172_800)


@pytest.mark.parametrize("url", [URL, {"env": "URL"}])
def test_what_is_shown_holds_neither_keys_nor_path_nor_query(url: Any, tmp_path: Path) -> None:
    settings = loaded(tmp_path, url=url)
    sink = build("crm", config(url=url), shards=1)
    for shown in (
        repr(settings),
        settings.model_dump_json(),
        str(settings.model_dump()),
        repr(sink),
        repr(sink.__dict__),
    ):
        for secret in (HMAC[6:20], TOKEN, "QUERYT0KEN"):
            assert secret not in shown
    assert sink.place == "https://crm.example"
    shown = settings.model_dump(mode="json")["sinks"]["crm"]["url"]
    assert shown == (url if isinstance(url, dict) else "https://crm.example/…")


def test_keys_and_url_are_known_to_whoever_takes_secrets_out(tmp_path: Path) -> None:
    settings = loaded(tmp_path, secrets=[{"env": "KEY"}, {"env": "SIGNING"}])
    assert {HMAC, PRIVATE, URL} <= set(secrets_of(settings))
    redact = Redactor(*secrets_of(settings))
    for key in (HMAC, PRIVATE):
        bare = key.partition("_")[2]
        for spelled in (key, bare, bare.rstrip("="), bare.replace("/", "\\/"), bare.replace("+", "\\u002B")):
            assert bare[:12] not in redact(f'{{"key": "{spelled}"}}')
    assert TOKEN not in redact(f"POST {URL}")
    for signature in (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "v1a%2Cg0hM9SsE%2BOTPJTGt%2FtmIKtSyZlE3uFJELVlNI",
    ):
        assert "g0hM9SsE" not in redact(f"webhook-signature: {signature}")


# --- filters -----------------------------------------------------------------------------------------------------------


def event(kind: str = "telephony.call.new", source: str = "fono", **data: Any) -> Event:
    body = msgspec.json.encode({"data": {"from": {"number": "1"}, **data}})
    return msgspec.structs.replace(call_event("c", 1), type=kind, source=f"/poller/{source}/calls", body=body)


@pytest.mark.parametrize(
    ("options", "passes", "stays"),
    [
        ({}, [event(), event("telephony.recording.new")], []),
        (
            {"events": ["telephony.call.*"]},
            [event(), event("telephony.call.updated")],
            [event("telephony.recording.new"), event("telephony.caller.new")],
        ),
        ({"events": ["telephony.call.new"]}, [event()], [event("telephony.call.updated")]),
        (
            {"events": ["telephony.recording.*", "telephony.call.new"]},
            [event(), event("telephony.recording.updated")],
            [event("telephony.call.updated")],
        ),
        ({"sources": ["fono"]}, [event()], [event(source="fono-2"), event(source="mor")]),
        (
            {"directions": ["inbound"]},
            [event(direction="inbound"), event("telephony.recording.new")],
            [event(direction="outbound"), event(direction=None), event()],
        ),
        (
            {"dispositions": ["busy", "failed"]},
            [event(disposition="busy"), event("telephony.recording.new")],
            [event(disposition="answered")],
        ),
        (
            {"directions": ["inbound"], "dispositions": ["busy"], "sources": ["fono"]},
            [event(direction="inbound", disposition="busy")],
            [event(direction="inbound"), event(source="x", direction="inbound", disposition="busy")],
        ),
    ],
)
def test_filters(options: dict[str, Any], passes: list[Event], stays: list[Event]) -> None:
    sink = hook("https://crm.example/", **options)
    assert [one for one in passes if not sink.wants(one)] == []
    assert [one for one in stays if sink.wants(one)] == []


@pytest.mark.parametrize(
    ("options", "asks"),
    [
        ({}, False),
        ({"events": ["telephony.*"]}, False),
        ({"events": ["telephony.call.*"]}, False),
        ({"windows": True}, True),
        ({"windows": True, "events": ["telephony.call.new"], "directions": ["inbound"], "sources": ["fono-1"]}, True),
        ({"events": ["telephony.window.complete"]}, True),
        ({"events": ["telephony.call.new", "telephony.window.*"]}, True),
        ({"events": ["telephony.window.*"], "sources": ["another"]}, False),
    ],
)
def test_whole_hours_are_for_those_who_ask(options: dict[str, Any], asks: bool) -> None:
    """A sink from before there were such events goes on to get what it got."""
    assert hook("https://crm.example/", **options).wants(hour_event(1)) is asks
    assert config(**options).asks_windows is (asks or "sources" in options)


@given(st.binary(), st.text(), st.text())
def test_filters_never_raise_and_keep_nothing_back_that_they_cannot_read(body: bytes, source: str, kind: str) -> None:
    sink = hook("https://crm.example/", directions=["inbound"], sources=["fono"], events=["telephony.call.*"])
    strange = msgspec.structs.replace(call_event("c", 1), body=body, source=source, type=kind)
    assert sink.wants(strange) in {True, False}
    unread = msgspec.structs.replace(event(), body=b"{" + body)
    assert sink.wants(unread) is True


def test_a_url_is_sent_as_it_is_written() -> None:
    for url, target in {
        "https://crm.example": "/",
        "https://crm.example?a=b": "/?a=b",
        "https://crm.example/a%20b/c;d?x=%C3%B3&y": "/a%20b/c;d?x=%C3%B3&y",
        "https://crm.example/zażółć?q=ł": "/za%C5%BC%C3%B3%C5%82%C4%87?q=%C5%82",
    }.items():
        assert config(url=url).url.target == target
    assert config(url="https://CRM.example:443/").url.authority == "crm.example"
    assert config(url="https://crm.example:8443/").url.authority == "crm.example:8443"
    assert hmac_text(b"x" * 24) not in repr(config())


def test_the_library_for_the_other_kind_of_key_is_loaded_with_the_first_such_key() -> None:
    """It costs 7 MB, which a program without such keys does not pay."""
    program = "import sys, poller.cli, poller.app, poller.sinks.webhook as w; sys.exit('cryptography' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
