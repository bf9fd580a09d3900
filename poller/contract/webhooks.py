"""The webhooks' part of the AsyncAPI document: one channel for each type of event, one message for each format."""

from typing import Any, Literal, TypeAlias, get_args

from poller.contract.schemas import WITHIN, Schema, envelope, types_of
from poller.event import CONTENT_TYPE, SCHEMAS
from poller.model import Topic

Format: TypeAlias = Literal["cloudevents", "cloudevents-binary", "standard"]
FORMATS: tuple[Format, ...] = get_args(Format)
_JSON = "application/json"
_CONTENT: dict[Format, str] = {"cloudevents": CONTENT_TYPE.lower(), "cloudevents-binary": _JSON, "standard": _JSON}
_NAMES: dict[Format, str] = {
    "cloudevents": "Webhook",
    "cloudevents-binary": "WebhookBinary",
    "standard": "WebhookStandard",
}
_BODIES: dict[Format, str] = {
    "cloudevents": "The body is the CloudEvent in structured JSON, the same as in Kafka.",
    "cloudevents-binary": "The body is the event's `data`; its attributes are headers `ce-…`, which the signature does not cover.",
    "standard": "The body is `{type, timestamp, data}`, as Standard Webhooks suggests it; the event's id is the `webhook-id`.",
}
_BINDING = "0.3.0"

CHANNEL = """\
Calls to the `url` of a webhook, which its configuration names (`events` says which types it gets, `format` what their body is). Each is \
signed after Standard Webhooks. Answer with 2xx once the event is kept; anything else is tried again, or says that it need not be. The \
same `webhook-id` may come more than once."""


def channels(kind: Topic) -> dict[str, Any]:
    """A channel for each type of a kind. What it is called at is known to nobody but the configuration."""
    return {
        f"webhook{kind.title()}{name.rpartition('.')[2].title()}": {
            "address": None,
            "title": f"{name} by webhook",
            "description": CHANNEL,
            "messages": {one: {"$ref": f"#/components/messages/{one}"} for one in _names(kind)},
        }
        for name in types_of(kind)
    }


def operations(kind: Topic) -> dict[str, Any]:
    """An operation for each channel."""
    return {
        f"call{channel[:1].upper()}{channel[1:]}": {
            "action": "send",
            "channel": {"$ref": f"#/channels/{channel}"},
            "summary": f"One signed call for each event `{name}`.",
            "messages": [{"$ref": f"#/channels/{channel}/messages/{one}"} for one in _names(kind)],
            "bindings": {"http": {"method": "POST", "bindingVersion": _BINDING}},
        }
        for channel, name in zip(channels(kind), types_of(kind), strict=True)
    }


def messages(kind: Topic) -> dict[str, Any]:
    """A message for each format."""
    outer = WITHIN[kind][0].__name__
    payloads: dict[Format, str] = {
        "cloudevents": f"{kind.title()}Event",
        "cloudevents-binary": outer,
        "standard": f"{kind.title()}Standard",
    }
    return {
        name: {
            "name": f"telephony.{kind} ({form})",
            "title": f"{kind.title()} event by webhook, format {form}",
            "summary": _BODIES[form],
            "contentType": _CONTENT[form],
            "headers": headers(kind, form),
            "payload": {"$ref": f"#/components/schemas/{payloads[form]}"},
            "x-dataschema": SCHEMAS[kind],
        }
        for form, name in zip(FORMATS, _names(kind), strict=True)
    }


def _names(kind: Topic) -> list[str]:
    return [f"{kind}{_NAMES[form]}" for form in FORMATS]


def headers(kind: Topic, form: Format) -> Schema:
    """The headers of a call that are promised; HTTP's own come on top."""
    event_id = envelope(kind)["properties"]["id"]
    found: dict[str, Schema] = {
        "content-type": {"type": "string", "const": _CONTENT[form], "description": "The format of the body."},
        "webhook-id": {
            **event_id,
            "description": "The event's `id`, the same in every attempt: note it, and drop it when it comes again.",
        },
        "webhook-timestamp": {
            "type": "string",
            "pattern": "^[0-9]{1,15}$",
            "description": "Unix seconds of this attempt.",
        },
        "webhook-signature": {
            "type": "string",
            "pattern": "^v1a?,[A-Za-z0-9+/]+={0,2}( v1a?,[A-Za-z0-9+/]+={0,2})*$",
            "description": "One `version,base64` for each key, one space between them: `v1` HMAC-SHA256, `v1a` Ed25519. One that fits is enough.",
        },
        "poller-attempt": {
            "type": "string",
            "pattern": "^[1-9][0-9]*$",
            "description": "Which attempt this is, from 1.",
        },
        "poller-first-attempt": {
            "type": "string",
            "format": "date-time",
            "description": "When the first one began, UTC.",
        },
        "poller-replay": REPLAY,
    }
    required = [name for name in found if name != "poller-replay"]
    if form == "cloudevents-binary":
        attributes = envelope(kind)
        names = [name for name in attributes["properties"] if name not in {"data", "datacontenttype"}]
        found |= {f"ce-{name}": _encoded(attributes["properties"][name]) for name in names}
        required += [f"ce-{name}" for name in names if name in attributes["required"]]
    return {"type": "object", "properties": found, "required": required}


REPLAY: Schema = {
    "type": "string",
    "const": "true",
    "description": "There where somebody asked for the event again; its `id` is what it was. Absent otherwise.",
}


def _encoded(attribute: Schema) -> Schema:
    return {**attribute, "description": f"{attribute['description']} Percent-encoded where it is not plain ASCII."}


def standard(kind: Topic) -> Schema:
    """The body in the format `standard`."""
    attributes = envelope(kind)["properties"]
    began = "When the call or recording began, UTC; where the vendor shows no sane date, when poller first saw it."
    said = "When the hour began, UTC." if kind == "window" else began
    return {
        "title": f"{kind.title()}Standard",
        "description": f"An event of a {kind} without CloudEvents attributes.",
        "type": "object",
        "properties": {
            "type": attributes["type"],
            "timestamp": {**attributes["recordedtime"], "description": said},
            "data": attributes["data"],
        },
        "required": ["type", "timestamp", "data"],
    }
