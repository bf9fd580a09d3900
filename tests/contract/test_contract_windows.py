"""What says that an hour is whole: its schemas, and what each kind of sink sends of it."""

import json
from typing import Any

import msgspec
import pytest
from contract_checks import closed, faults
from golden_events import GoldenEvent, golden_windows
from jsonschema import Draft202012Validator
from kafka_records import sent_headers

from poller.contract import document
from poller.contract.asyncapi import headers
from poller.contract.schemas import data_schema, event_schema
from poller.contract.webhooks import FORMATS, Format
from poller.contract.webhooks import headers as call_headers
from poller.each import Attempt
from poller.event import SCHEMAS
from poller.outgoing import Outgoing, renumbered
from poller.sinks.kafka.config import Topics
from poller.sinks.kafka.records import Constants
from poller.sinks.webhook.config import Config
from poller.sinks.webhook.formats import Format as Maker

WINDOWS = golden_windows()
DOCUMENT: dict[str, Any] = json.loads(document("asyncapi"))
EVENT = closed(event_schema("window"))
names = pytest.mark.parametrize("one", WINDOWS, ids=lambda one: one.endpoint)


def body(one: GoldenEvent) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(one.event.body)
    return found


def test_the_schemas_are_valid_and_open() -> None:
    for schema in (data_schema("window"), event_schema("window")):
        Draft202012Validator.check_schema(schema)
        assert "additionalProperties" not in json.dumps(schema)
    assert data_schema("window")["$id"] == SCHEMAS["window"] == "urn:telephony:schema:window:1"


@names
def test_events_are_valid_and_a_field_that_is_gone_or_wrong_is_seen(one: GoldenEvent) -> None:
    assert faults(EVENT, body(one)) == []
    for name in body(one):
        assert faults(EVENT, {key: value for key, value in body(one).items() if key != name}), name
        assert faults(EVENT, {**body(one), name: {"wrong": 1}}), name
    for name in body(one)["data"]:
        data = {key: value for key, value in body(one)["data"].items() if key != name}
        assert faults(EVENT, {**body(one), "data": data}), name
    assert faults(EVENT, {**body(one), "more": 1})


@names
@pytest.mark.parametrize(
    "outgoing", [Outgoing(vendor=False, mask_numbers=False), Outgoing(vendor=True, mask_numbers=True)]
)
def test_no_sink_leaves_out_or_masks_anything(one: GoldenEvent, outgoing: Outgoing) -> None:
    assert msgspec.json.decode(outgoing.body(one.event.body)) == body(one)
    shown = outgoing.event(one.event)
    assert (shown.subject, shown.key) == (one.event.subject, one.event.key)
    assert faults(EVENT, msgspec.json.decode(renumbered(one.event.body, 10**19))) == []


@names
def test_what_kafka_gets_is_described(one: GoldenEvent) -> None:
    constants = Constants(Topics().of)
    topic, _ = constants.of(one.event.type, one.event.source)
    sent = {
        name: value.decode() for name, value in sent_headers(constants, 7, one.event, one.event.key.encode()).items()
    }
    assert faults(closed(headers("window")), sent) == []
    channel = DOCUMENT["channels"]["windows"]
    assert topic == channel["address"] == "telephony.windows"
    message = DOCUMENT["components"]["messages"]["window"]
    assert faults(message["bindings"]["kafka"]["key"], one.event.key) == []


@names
@pytest.mark.parametrize("form", FORMATS)
def test_what_a_webhook_gets_is_described(one: GoldenEvent, form: Format) -> None:
    values = {"kind": "webhook", "url": "https://crm.example/", "secrets": [{"env": "SECRET"}], "format": form}
    config = Config.model_validate(values, context={"env": {"SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}})
    made = Maker(config, config.keys()).call(one.event, Attempt(number=1, at=1_700_000_005, first=1_700_000_000))
    of_http = {"host", "user-agent", "accept", "accept-encoding", "content-length"}
    sent = {name.decode(): value.decode() for name, value in made.headers if name.decode() not in of_http}
    assert faults(closed(call_headers("window", form)), sent) == []
    channel = DOCUMENT["channels"]["webhookWindowComplete"]
    message = DOCUMENT["components"]["messages"][list(channel["messages"])[FORMATS.index(form)]]
    payload = {**message["payload"], "components": {"schemas": DOCUMENT["components"]["schemas"]}}
    assert faults(closed(payload), json.loads(made.body)) == []
