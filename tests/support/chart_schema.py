"""Writes helm/poller/values.schema.json: the chart's own part, and the program's configuration as draft-07 under `config`."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from poller.schema import config_schema

HELM = Path(__file__).resolve().parents[2] / "helm"
TARGET = HELM / "poller" / "values.schema.json"
_IDLE = {"title", "default", "examples", "discriminator", "x-minimum", "x-maximum", "$schema", "$defs"}
"""Keywords that refuse nothing. Bounds of durations are the program's to check: a schema cannot compare texts."""
_SOCKET = "^/run/poller/[^/]+$"


def text() -> str:
    """The file, whole."""
    values = yaml.safe_load((HELM / "values.schema.yaml").read_text(encoding="utf-8"))
    given = config_schema()
    config = _older(given)
    parts = {_name(key): _older(part) for key, part in given["$defs"].items()}
    _for_pods(config, {f"#/definitions/{name}": part for name, part in parts.items()})
    values["properties"]["config"] = config
    values["definitions"] |= parts
    _for_addresses(values["definitions"])
    return json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _for_pods(config: dict[str, Any], parts: dict[str, Any]) -> None:
    """The store may be left out, since the chart fills it in."""
    config["required"] = [key for key in config.get("required", ()) if key != "store"]
    store = config["properties"]["store"]
    kinds = {parts[ref["$ref"]]["properties"]["kind"]["const"]: ref["$ref"] for ref in store.pop("anyOf")}
    store |= {"type": ["object", "null"], "if": {"type": "object"}, "then": _by_kind(kinds)}


def _for_addresses(parts: dict[str, Any]) -> None:
    """Only one folder may hold a socket, and a status page asks for a token. Which addresses a pod has, the chart says in a sentence."""
    admin = parts["Admin"]
    admin["properties"]["socket"]["pattern"] = _SOCKET
    admin["if"] = {"required": ["listen"], "properties": {"listen": {"type": "string"}}}
    admin["then"] = {"required": ["token"], "properties": {"token": {"type": "object"}}}


def _older(part: Any) -> Any:
    """The same in draft-07, without what refuses nothing."""
    if isinstance(part, list):
        return [_older(each) for each in part]
    if not isinstance(part, dict):
        return part
    if "discriminator" in part:
        mapping = part["discriminator"]["mapping"]
        return _by_kind({kind: _place(ref) for kind, ref in mapping.items()})
    if {"type": "null"} in part.get("anyOf", ()) and len(part["anyOf"]) == 2:
        return _or_nothing(part)
    return {key: _entry(key, value) for key, value in part.items() if not _idle(key, value)}


def _or_nothing(part: dict[str, Any]) -> dict[str, Any]:
    """Something or null, so that a fault is told of the something alone, and not that it might have been null."""
    own = {key: value for key, value in part.items() if key != "anyOf"}
    (given,) = (each for each in part["anyOf"] if each != {"type": "null"})
    if given.get("type") == "string" and not {"enum", "const"} & given.keys():
        parts = own | given | {"type": ["string", "null"]}
    else:
        parts = own | {"if": {"not": {"type": "null"}}, "then": given}
    return {key: _entry(key, value) for key, value in parts.items() if not _idle(key, value)}


def _idle(key: str, value: Any) -> bool:
    """Whether this is an annotation. Keys of `properties` that share a keyword's name hold a schema and are kept by `_entry`."""
    return key in _IDLE or (key == "format" and value in {"path", "json"})


def _entry(key: str, value: Any) -> Any:
    if key == "$ref":
        return _place(value)
    if key in {"properties", "patternProperties"}:
        return {name: _older(each) for name, each in value.items()}
    return value if key in {"const", "enum", "required"} else _older(value)


def _by_kind(mapping: dict[str, str]) -> dict[str, Any]:
    """One branch by `kind`, so that a fault is told of that branch alone."""
    return {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": sorted(mapping)}},
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": {"$ref": ref}}
            for kind, ref in sorted(mapping.items())
        ],
    }


def _place(ref: str) -> str:
    return f"#/definitions/{_name(ref.removeprefix('#/$defs/'))}"


def _name(key: str) -> str:
    """`poller__sinks__kafka__config__Config` → `sinks_kafka_Config`."""
    return re.sub(r"__(config|sink)__", "_", key).removeprefix("poller__").replace("__", "_")


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
