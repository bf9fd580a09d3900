"""The AsyncAPI document: what the reference parser says of it, and whether it tells what the Kafka sink sends."""

import json
from typing import Any

import msgspec
import pytest
from contract_checks import closed, faults
from golden_events import GoldenEvent, golden_events
from kafka_records import sent_headers
from node_programs import run_node

from poller import __version__
from poller.contract import document
from poller.contract.asyncapi import TOPICS, headers
from poller.contract.schemas import event_schema
from poller.model import Kind
from poller.sinks.kafka.config import Topics
from poller.sinks.kafka.records import Constants

BOTH: tuple[Kind, ...] = ("call", "recording")
DOCUMENT: dict[str, Any] = json.loads(document("asyncapi"))
GOLDEN = golden_events()


@pytest.mark.slow
@pytest.mark.node
def test_the_reference_parser_accepts_it() -> None:
    said = json.loads(run_node("asyncapi.mjs", document("asyncapi")))
    names = ["call", "recording", "window"]
    names += [
        name
        for kind in (*BOTH, "window")
        for name in (f"{kind}Webhook", f"{kind}WebhookBinary", f"{kind}WebhookStandard")
    ]
    assert said == {"accepted": True, "messages": names, "diagnostics": []}


@pytest.mark.slow
@pytest.mark.node
def test_the_reference_parser_refuses_a_wrong_one() -> None:
    wrong = json.loads(document("asyncapi"))
    wrong["operations"]["sendCalls"]["channel"]["$ref"] = "#/channels/nowhere"
    said = json.loads(run_node("asyncapi.mjs", json.dumps(wrong)))
    assert not said["accepted"]
    assert said["diagnostics"]


def test_topics_are_what_the_sink_writes_to() -> None:
    topics = Topics()
    for kind in BOTH:
        channel = DOCUMENT["channels"][f"{kind}s"]
        assert channel["address"] == channel["bindings"]["kafka"]["topic"] == TOPICS[kind] == getattr(topics, kind)
        assert topics.of(f"telephony.{kind}.new") == TOPICS[kind]
    assert DOCUMENT["info"]["version"] == __version__


@pytest.mark.parametrize("kind", BOTH)
def test_messages_hold_the_schemas(kind: Kind) -> None:
    """The same, but that AsyncAPI keeps definitions in a place of its own."""
    message = DOCUMENT["components"]["messages"][kind]
    assert message["payload"] == {"$ref": f"#/components/schemas/{kind.title()}Event"}
    assert message["headers"] == headers(kind)
    whole = event_schema(kind)
    text = json.dumps({f"{kind.title()}Event": whole, **whole["$defs"]}).replace("#/$defs/", "#/components/schemas/")
    for name, schema in json.loads(text).items():
        expected = {key: value for key, value in schema.items() if key not in {"$schema", "$id", "$defs"}}
        assert DOCUMENT["components"]["schemas"][name] == expected


def test_no_schema_is_left_over() -> None:
    text = document("asyncapi")
    for name in DOCUMENT["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text


@pytest.mark.parametrize("one", GOLDEN, ids=lambda one: f"{one.page.stem}-{one.event.id[:6]}")
def test_what_the_sink_sends_is_described(one: GoldenEvent) -> None:
    kind: Kind = "call" if ".call." in one.event.type else "recording"
    constants = Constants(Topics().of)
    topic, _ = constants.of(one.event.type, one.event.source)
    key = one.event.key.encode()
    sent = {name: value.decode() for name, value in sent_headers(constants, 7, one.event, key).items()}
    assert faults(closed(headers(kind)), sent) == []
    assert set(headers(kind)["properties"]) - set(sent) <= {"ce_time", "poller-replay"}
    message = DOCUMENT["components"]["messages"][kind]
    assert faults(message["bindings"]["kafka"]["key"], key.decode()) == []
    assert topic == DOCUMENT["channels"][f"{kind}s"]["address"]
    attributes = msgspec.json.decode(one.event.body)
    for name, value in sent.items():
        if name.startswith("ce_") and name != "ce_sequence":
            assert attributes[name.removeprefix("ce_")] == value


@pytest.mark.parametrize("kind", BOTH)
def test_a_replay_is_described(kind: Kind) -> None:
    event = next(one.event for one in GOLDEN if f".{kind}." in one.event.type)
    again = msgspec.structs.replace(event, replay=True)
    sent = {
        name: value.decode()
        for name, value in sent_headers(Constants(Topics().of), 7, again, event.key.encode()).items()
    }
    assert sent["poller-replay"] == "true"
    assert faults(closed(headers(kind)), sent) == []
