"""JSON Schemas (2020-12) of the events, made of the structs' types and the meanings of their fields."""

from datetime import datetime
from typing import Any, TypeAlias, get_args

import msgspec
from msgspec.structs import FieldInfo, fields

from poller.contract.meanings import MEANINGS, WINDOWS, Meaning
from poller.event import SCHEMAS, WINDOW, CloudEvent, WindowCounts, WindowData
from poller.model import CallData, Cost, Party, RecordingData, RecordingRef, Topic

Schema: TypeAlias = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
WITHIN: dict[Topic, tuple[type[msgspec.Struct], ...]] = {
    "call": (CallData, Party, Cost, RecordingRef),
    "recording": (RecordingData, Party),
    "window": (WindowData, WindowCounts),
}
"""The structs of an event's `data`, the outermost first."""
SAYS: dict[Topic, str] = {
    "call": "A call that is new, or known and in a state not seen before",
    "recording": "A recording that is new, or known and in a state not seen before",
    "window": "An hour of a list that is whole",
}


def data_schema(kind: Topic) -> Schema:
    """The schema of `data`; its `$id` is the event's `dataschema`."""
    outer, *inner = WITHIN[kind]
    head = {"$schema": DIALECT, "$id": SCHEMAS[kind]}
    return {**head, **shape(outer), "$defs": {struct.__name__: shape(struct) for struct in inner}}


def event_schema(kind: Topic) -> Schema:
    """The schema of the whole event, `data` included."""
    head = {"$schema": DIALECT, "$id": SCHEMAS[kind].replace(f":{kind}:", f":{kind}-event:")}
    return {**head, **envelope(kind), "$defs": {struct.__name__: shape(struct) for struct in WITHIN[kind]}}


def envelope(kind: Topic) -> Schema:
    """The attributes of one kind's events. What is not known is absent there, never null."""
    found = shape(CloudEvent)
    properties = found["properties"]
    for name, keywords in _narrowed(kind).items():
        properties[name] |= keywords
    properties["data"] = {"$ref": f"#/$defs/{WITHIN[kind][0].__name__}"}
    for name in ("subject", "time", "dataref"):
        properties[name]["type"] = "string"  # left out instead of null
    if kind != "recording":
        del properties["dataref"]
    if kind == "window":
        found["required"] = [*found["required"], "time"]
    return found | {
        "title": f"{kind.title()}Event",
        "description": f"{SAYS[kind]}: a CloudEvent 1.0 in structured JSON.",
    }


def types_of(kind: Topic) -> tuple[str, ...]:
    """The types of event of a kind."""
    return (WINDOW,) if kind == "window" else (f"telephony.{kind}.new", f"telephony.{kind}.updated")


def _narrowed(kind: Topic) -> dict[str, Schema]:
    found: dict[str, Schema] = {
        "source": {
            "pattern": f"^/poller/[A-Za-z0-9][A-Za-z0-9._-]{{0,63}}/{kind}s$",
            "examples": [f"/poller/mor-main/{kind}s"],
        },
        "type": {"enum": list(types_of(kind))},
        "dataschema": {"const": SCHEMAS[kind]},
    }
    if kind == "window":
        found |= {name: {"description": text, "examples": [example]} for name, (text, example) in WINDOWS.items()}
        found["type"] |= {"description": "The hour is whole."}
    return found


def shape(struct: type[msgspec.Struct]) -> Schema:
    """The schema of one struct, open: consumers let pass what they do not know. References point into `$defs`."""
    said = MEANINGS[struct.__name__]
    infos = {info.encode_name: info for info in fields(struct)}
    return {
        "title": struct.__name__,
        "description": said.text,
        "type": "object",
        "properties": {name: _property(info.type, said.fields[name]) for name, info in infos.items()},
        "required": [name for name, info in infos.items() if _always_there(struct, info, said.fields[name])],
    }


def _always_there(struct: type[msgspec.Struct], info: FieldInfo, meaning: Meaning) -> bool:
    """Defaults are written, nulls among them, unless the struct omits them."""
    written = info.required or not struct.__struct_config__.omit_defaults
    return written if meaning.required is None else meaning.required


def _property(kind: Any, meaning: Meaning) -> Schema:  # noqa: ANN401 a type, of any form
    structs = [one for one in get_args(kind) if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    found = {} if len(structs) > 1 else _flat(_plain(kind))
    if datetime in (kind, *get_args(kind)):
        found["format"] = "date-time"
    examples = {"examples": list(meaning.examples)} if meaning.examples else {}
    return {"description": meaning.text, **found, **meaning.more, **examples}


def _plain(kind: Any) -> Schema:  # noqa: ANN401 as above
    """The library's schema of a type."""
    (found,), _ = msgspec.json.schema_components((kind,), ref_template="#/$defs/{name}")
    return found


def _flat(found: Schema) -> Schema:
    """`{type: [string, null]}` instead of `anyOf`, where nothing but a type or its values is said."""
    choices = [choice for choice in found.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) != 1 or "$ref" in choices[0]:
        return {"type": "string", **found} if "enum" in found else found
    choice = choices[0]
    if "enum" in choice:
        return {"type": ["string", "null"], "enum": [*choice["enum"], None]}
    return {**choice, "type": [choice["type"], "null"]} if "type" in choice else choice
