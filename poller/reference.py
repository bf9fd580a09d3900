"""Writes docs/configuration.md from the models: `python -m poller.reference`."""

import re
import sys
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from poller.config import Settings
from poller.faults import models_in
from poller.kinds import KINDS
from poller.options import EndpointOptions, Options, SinkOptions, SourceOptions
from poller.schema import Generator

INTRO = """\
# Configuration

One YAML file; [`config/poller.yaml`](../config/poller.yaml) is a complete example. `poller validate` names every fault
at once, with its path and line; `poller config show` prints the file with every default written out; `poller schema
config` prints a JSON Schema for editors. This page is generated from the models of the program (`make docs`).

**Durations** carry a unit: `ms`, `s`, `m`, `h`, `d`, `w` (`60s`, `5m`). **Sizes** too: `B`, `KiB`, `MiB`, `GiB` (`64MiB`).
**Secrets** are written `{env: NAME}` or `{file: PATH}`, never as plain text. **Paths** that are relative count from the
folder of the file. **Names** of sources and sinks are yours: letters, digits, `.`, `_`, `-`, at most 64.
Unknown keys and keys that are given twice are faults. Bounds (`1s` to `1h`) are both included; in the JSON Schema those of
durations and sizes are `x-minimum` and `x-maximum`, because a schema cannot compare texts.
"""


def reference() -> str:
    """The whole page."""
    parts = [INTRO, *_section("## Top level", "", Settings)]
    for kind, model in _models(KINDS.stores):
        parts += _section(f"## Store: {kind}", kind, model, Settings)
    parts += _section("## Every sink", "sink", SinkOptions)
    for kind, model in _models(KINDS.sinks):
        parts += _section(f"## Sink: {kind}", kind, model, SinkOptions)
    parts += _section("## Every source", "source", SourceOptions)
    parts += _section("## Every endpoint", "endpoint", EndpointOptions)
    for kind, model in _models(KINDS.sources):
        parts += _section(f"## Source: {kind}", kind, model, SourceOptions)
    return "\n".join(parts)


def _models(package: str) -> Iterator[tuple[str, type[Options]]]:
    for kind in KINDS.names(package):
        model = KINDS.model(package, kind)
        if model is not None:
            yield kind, model


def _section(
    heading: str, owner: str, model: type[BaseModel], shared: type[BaseModel] | None = None, place: str = ""
) -> Iterator[str]:
    """A heading, the model's sentence, one table of the keys that `shared` lacks, and the same for the models within."""
    schema = model.model_json_schema(schema_generator=Generator)
    own = [name for name in model.model_fields if shared is None or _differs(name, model, shared)]
    yield f"{heading}\n\n{schema['description']}\n"
    if own:
        yield "| key | type | default | meaning |\n|---|---|---|---|"
        keys = [model.model_fields[name].alias or name for name in own]
        yield from (_row(key, schema["properties"][key], schema) for key in keys)
        yield ""
    for name in own:
        for inner in models_in(model.model_fields[name].annotation):
            yield from _within(owner, f"{place}.{name}".removeprefix("."), inner)


def _within(owner: str, place: str, model: type[BaseModel]) -> Iterator[str]:
    """The section of a model inside another one; the parts that have sections of their own are left out."""
    if model in (Options, SinkOptions, SourceOptions):
        return
    shared = EndpointOptions if issubclass(model, EndpointOptions) else None
    heading = f"### {owner}: `{place}`" if owner else f"### `{place}`"
    yield from _section(heading, owner, model, shared, place)


def _differs(name: str, model: type[BaseModel], shared: type[BaseModel]) -> bool:
    """Whether a key is the model's own, or has another default than the shared one."""
    if name not in shared.model_fields:
        return True
    mine, theirs = model.model_fields[name], shared.model_fields[name]
    return (mine.default, mine.description) != (theirs.default, theirs.description)


def _row(name: str, field: dict[str, Any], schema: dict[str, Any]) -> str:
    required = name in schema.get("required", [])
    default = "**required**" if required else _shown(field.get("default"))
    meaning = field.get("description") or _target(field, schema).get("description", "")
    if name == "kind":
        meaning = "Chooses the keys of this section."
    return f"| `{name}` | {_type(field, schema)} | {default} | {meaning} |".replace("\n", " ")


def _shown(default: object) -> str:
    if default is None:
        return "-"
    if isinstance(default, dict):
        return "see below" if default else "-"
    if isinstance(default, list):
        return ", ".join(_shown(each) if not isinstance(each, dict) else _flow(each) for each in default) or "-"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _flow(value: dict[str, Any]) -> str:
    return "`{" + ", ".join(f"{key}: {inner}" for key, inner in value.items()) + "}`"


def _target(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The definition that a field points to, perhaps as the one thing besides null; else the field itself."""
    choices = [each for each in field.get("anyOf", []) if each.get("type") != "null"]
    if len(choices) == 1:
        return _target(choices[0], schema)
    name = str(field.get("$ref", "")).removeprefix("#/$defs/")
    found: dict[str, Any] = schema.get("$defs", {}).get(name, field)
    return found


def _type(field: dict[str, Any], schema: dict[str, Any]) -> str:
    """A few words: `duration`, `text or number`, `a` or `b`."""
    field = _target(field, schema)
    if choices := field.get("anyOf") or field.get("oneOf"):
        if all("env" in each.get("properties", {}) or "file" in each.get("properties", {}) for each in choices):
            return "secret"
        kinds = [_type(each, schema) for each in choices if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    values = field.get("enum") or ([field["const"]] if "const" in field else None)
    if values:
        return ", ".join(f"`{value}`" for value in values)
    if "items" in field:
        return f"list of {_type(field['items'], schema)}"
    return _plain(field)


def _plain(field: dict[str, Any]) -> str:
    least, most = (field.get(f"x-{bound}", field.get(bound)) for bound in ("minimum", "maximum"))
    both = least is not None and most is not None
    return f"{_word(field)}, `{least}` to `{most}`" if both else _word(field)


def _word(field: dict[str, Any]) -> str:
    if re.search(r"\(ms\|", field.get("pattern", "")):
        return "duration"
    if "KiB" in field.get("pattern", ""):
        return "size"
    if field.get("format") == "path":
        return "path"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true`, `false`"}
    return words.get(field.get("type", ""), "map")


if __name__ == "__main__":
    sys.stdout.write(reference())
