"""Webhooks in the AsyncAPI document: whether it tells what the sink sends, and what a public library reads in it."""

import json
from typing import Any, get_args
from urllib.parse import unquote

import msgspec
import pytest
from contract_checks import closed, faults
from golden_events import golden_events
from node_programs import run_node

from poller.contract import document
from poller.contract.webhooks import FORMATS, Format, headers
from poller.each import Attempt
from poller.metrics import EVENT_TYPES
from poller.model import Event, Kind
from poller.sinks.webhook.config import Config
from poller.sinks.webhook.config import Format as Configured
from poller.sinks.webhook.formats import Format as Maker

DOCUMENT: dict[str, Any] = json.loads(document("asyncapi"))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
GOLDEN = list({one.event.id: one.event for one in golden_events()}.values())
OF_HTTP = {"host", "user-agent", "accept", "accept-encoding", "content-length"}
SECRETS = [{"env": "SECRET"}, {"env": "PRIVATE"}]
KEYS = {
    "SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "PRIVATE": "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
}


def call(event: Event, form: Format, **options: Any) -> tuple[dict[str, str], bytes]:
    """What the sink sends of an event: promised headers, body."""
    values = {"kind": "webhook", "url": "https://crm.example/", "secrets": SECRETS, "format": form, **options}
    config = Config.model_validate(values, context={"env": KEYS})
    made = Maker(config, config.keys()).call(event, Attempt(number=3, at=1_700_000_005, first=1_700_000_000.25))
    found = {name.decode(): value.decode() for name, value in made.headers}
    return {name: value for name, value in found.items() if name not in OF_HTTP}, made.body


def kind_of(event: Event) -> Kind:
    return "call" if ".call." in event.type else "recording"


def message_of(event: Event, form: Format) -> dict[str, Any]:
    """What the document says of it, by way of the channel of its type."""
    channel = next(one for one in DOCUMENT["channels"].values() if one["title"].startswith(f"{event.type} "))
    name = list(channel["messages"])[FORMATS.index(form)]
    assert channel["messages"][name] == {"$ref": f"#/components/messages/{name}"}
    found: dict[str, Any] = DOCUMENT["components"]["messages"][name]
    return found


def test_there_is_a_channel_for_each_type_and_a_message_for_each_format() -> None:
    assert get_args(Configured) == FORMATS
    channels = {name: one for name, one in DOCUMENT["channels"].items() if name.startswith("webhook")}
    assert sorted(one["title"].partition(" ")[0] for one in channels.values()) == sorted(EVENT_TYPES)
    asked = {one["channel"]["$ref"] for one in DOCUMENT["operations"].values() if "http" in one.get("bindings", {})}
    assert asked == {f"#/channels/{name}" for name in channels}
    assert all(one["address"] is None and len(one["messages"]) == len(FORMATS) for one in channels.values())


@pytest.mark.parametrize("vendor", ["include", "omit"])
@pytest.mark.parametrize("form", FORMATS)
def test_what_the_sink_sends_is_described(form: Format, vendor: str) -> None:
    never = set(headers("call", form)["properties"]) | set(headers("recording", form)["properties"])
    for event in GOLDEN:
        sent, body = call(event, form, vendor=vendor)
        message = message_of(event, form)
        assert message["headers"] == headers(kind_of(event), form)
        assert faults(closed(message["headers"]), sent) == []
        assert sent["content-type"] == message["contentType"]
        assert sent["webhook-id"] == event.id
        payload = {**message["payload"], "components": {"schemas": SCHEMAS}}
        assert faults(closed(payload), json.loads(body)) == []
        never -= set(sent)
    assert never == {"poller-replay"}


@pytest.mark.parametrize("form", FORMATS)
def test_a_replay_is_marked(form: Format) -> None:
    sent, _ = call(msgspec.structs.replace(GOLDEN[0], replay=True), form)
    assert faults(closed(headers(kind_of(GOLDEN[0]), form)), sent) == []
    assert sent["poller-replay"] == "true"


@pytest.mark.parametrize("form", FORMATS)
def test_a_header_that_is_not_as_described_is_seen(form: Format) -> None:
    schema = headers("call", form)
    sent, _ = call(next(event for event in GOLDEN if kind_of(event) == "call"), form)
    for name in schema["required"]:
        assert faults(schema, {other: value for other, value in sent.items() if other != name}), name
    for name, wrong in (
        ("webhook-signature", "v1,a v1a,b "),
        ("webhook-signature", "v2,abc"),
        ("webhook-timestamp", "1.5"),
        ("webhook-id", "msg_1.2"),
        ("poller-attempt", "0"),
        ("poller-first-attempt", "1700000000"),
        ("poller-replay", "false"),
    ):
        assert faults(schema, sent | {name: wrong}), name


@pytest.mark.slow
@pytest.mark.node
@pytest.mark.parametrize("form", FORMATS[:2])
def test_the_public_library_for_node_reads_the_event(form: Format) -> None:
    """Each as it is in the log. That library leaves headers percent-encoded, and where an event has no time puts in the present one."""
    calls = [call(event, form, vendor="include") for event in GOLDEN]
    given = json.dumps([{"headers": sent, "body": body.decode()} for sent, body in calls])
    read = json.loads(run_node("cloudevents.mjs", given))
    assert len(read) == len(GOLDEN)
    for found, event in zip(read, GOLDEN, strict=True):
        wanted = msgspec.json.decode(event.body)
        found["time"] = found["time"].replace(".000Z", "Z") if "time" in wanted else None
        if form == "cloudevents-binary":
            found |= {name: unquote(value) for name, value in found.items() if isinstance(value, str)}
        assert found == {"time": None} | wanted
