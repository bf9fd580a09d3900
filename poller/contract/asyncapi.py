"""An AsyncAPI 3 document of what poller sends: topics and webhooks, keys, headers, values."""

from collections.abc import Callable
from typing import Any

from poller import __version__
from poller.contract import webhooks
from poller.contract.schemas import SAYS, WITHIN, Schema, envelope, shape
from poller.event import CONTENT_TYPE, SCHEMAS
from poller.model import Topic

KINDS: tuple[Topic, ...] = ("call", "recording", "window")
TOPICS: dict[Topic, str] = {
    "call": "telephony.calls",
    "recording": "telephony.recordings",
    "window": "telephony.windows",
}
"""What the Kafka sink's `topics` are unless configured."""
IN_HEADERS = (
    "specversion",
    "datacontenttype",
    "type",
    "source",
    "id",
    "subject",
    "sequence",
    "recordedtime",
    "partitionkey",
    "time",
)
"""The attributes that are headers as well."""
_BINDING = "0.5.0"
_SUMMARIES: dict[Topic, str] = {
    "call": "One event for each state of a call that was not seen before.",
    "recording": "One event for each state of a recording that was not seen before.",
    "window": "One event for each hour of a list that is whole, to the sinks that ask for it (`windows: true`).",
}

ABOUT = """\
One event for each new call and recording of a phone system, and one for each further state of it; where a sink asks for it, one for each \
hour of a list that is whole.

Topics are named by the sink's configuration (`topics.call`, `topics.recording`, `topics.window`); the addresses here are the defaults, and all may \
be one topic. Read with `isolation.level=read_committed`. Let pass fields, headers and types of events that you do not know: that is how this \
contract grows without a new version. Webhooks get the same events under the same ids, as signed calls. The topic `poller.progress` is no part of it: it is poller's memory of what it has sent, for itself alone."""


def asyncapi() -> dict[str, Any]:
    """The whole document, without references to others."""
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "poller",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {f"{kind}s": _channel(kind) for kind in KINDS} | _of_all(webhooks.channels),
        "operations": {f"send{kind.title()}s": _operation(kind) for kind in KINDS} | _of_all(webhooks.operations),
        "components": {
            "messages": _moved({kind: _message(kind) for kind in KINDS} | _of_all(webhooks.messages)),
            "schemas": _schemas(),
        },
    }


def _of_all(made: Callable[[Topic], dict[str, Any]]) -> dict[str, Any]:
    return {name: value for kind in KINDS for name, value in made(kind).items()}


def _channel(kind: Topic) -> dict[str, Any]:
    return {
        "address": TOPICS[kind],
        "title": f"{kind.title()}s",
        "description": f"{_SUMMARIES[kind]} The topic is what the Kafka sink's `topics.{kind}` says.",
        "messages": {kind: {"$ref": f"#/components/messages/{kind}"}},
        "bindings": {"kafka": {"topic": TOPICS[kind], "bindingVersion": _BINDING}},
    }


def _operation(kind: Topic) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{kind}s"},
        "summary": _SUMMARIES[kind],
        "messages": [{"$ref": f"#/channels/{kind}s/messages/{kind}"}],
    }


def _message(kind: Topic) -> dict[str, Any]:
    return {
        "name": f"telephony.{kind}",
        "title": f"{kind.title()} event",
        "summary": f"{SAYS[kind]}.",
        "contentType": CONTENT_TYPE,
        "headers": headers(kind),
        "payload": {"$ref": f"#/components/schemas/{kind.title()}Event"},
        "bindings": {"kafka": {"key": _key(kind), "bindingVersion": _BINDING}},
        "x-dataschema": SCHEMAS[kind],
    }


def _key(kind: Topic) -> Schema:
    attribute = envelope(kind)["properties"]["partitionkey"]
    return {**attribute, "description": f"The `partitionkey`, in UTF-8. {attribute['description']}"}


def headers(kind: Topic) -> Schema:
    """The headers of a record: all are text in UTF-8."""
    attributes = envelope(kind)
    seen = "For poller alone: what its store must remember of this event, so that a lost store can be rebuilt."
    return {
        "type": "object",
        "properties": {
            "content-type": {"type": "string", "const": CONTENT_TYPE, "description": "The format of the value."},
            **{f"ce_{name}": attributes["properties"][name] for name in IN_HEADERS},
            "poller-seen": {"type": "string", "description": seen},
            "poller-replay": webhooks.REPLAY,
        },
        "required": ["content-type", *(f"ce_{name}" for name in IN_HEADERS if name in attributes["required"])],
    }


def _schemas() -> dict[str, Any]:
    """Every schema once; AsyncAPI keeps them in a place of its own."""
    found: dict[str, Any] = {f"{kind.title()}Event": envelope(kind) for kind in KINDS}
    found |= {f"{kind.title()}Standard": webhooks.standard(kind) for kind in KINDS}
    found |= {struct.__name__: shape(struct) for kind in KINDS for struct in WITHIN[kind]}
    moved: dict[str, Any] = _moved(found)
    return moved


def _moved(value: Any) -> Any:  # noqa: ANN401 any part of a JSON document
    if isinstance(value, dict):
        return {name: _moved(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_moved(inner) for inner in value]
    return value.replace("#/$defs/", "#/components/schemas/") if isinstance(value, str) else value
