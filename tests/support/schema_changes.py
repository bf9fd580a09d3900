"""Compares event schemas with the recorded ones: what would break a subscriber.

`python tests/support/schema_changes.py --record` records what was added; it refuses what would break somebody.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from poller.contract import webhooks
from poller.contract.asyncapi import headers
from poller.contract.schemas import data_schema, event_schema
from poller.event import SCHEMAS
from poller.model import Topic

FOLDER = Path(__file__).resolve().parents[1] / "contract" / "baseline"
KINDS: tuple[Topic, ...] = ("call", "recording", "window")
ANNOTATIONS = {"title", "description", "examples", "$comment", "$schema"}
_WITHIN = {"properties", "required", "$defs", "items", "anyOf", "enum", "type"}


def current() -> dict[str, dict[str, Any]]:
    """The schemas that are promised, by the names of the files in which they are recorded: `call.1`."""
    found = {}
    for kind in KINDS:
        major = SCHEMAS[kind].rpartition(":")[2]
        found[f"{kind}.{major}"] = data_schema(kind)
        found[f"{kind}-event.{major}"] = event_schema(kind)
        found[f"{kind}-headers.{major}"] = headers(kind)
        found[f"{kind}-standard.{major}"] = webhooks.standard(kind)
        for form in webhooks.FORMATS:
            found[f"{kind}-webhook-{form}.{major}"] = webhooks.headers(kind, form)
    return found


def recorded(name: str) -> dict[str, Any] | None:
    """What was promised under this name; None where nothing was."""
    path = FOLDER / f"{name}.json"
    found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found


def breaking(old: dict[str, Any], new: dict[str, Any], where: str = "") -> Iterator[str]:
    """What a subscriber of one would miss in the other, in either direction: topics hold events of both."""
    for keyword in sorted((old.keys() | new.keys()) - ANNOTATIONS - _WITHIN):
        if old.get(keyword) != new.get(keyword):
            yield f"{where or 'the schema'}: {keyword} was {old.get(keyword)!r}, is {new.get(keyword)!r}"
    for keyword in ("type", "enum"):
        before, after = _values(old.get(keyword)), _values(new.get(keyword))
        if before != after:
            yield f"{where or 'the schema'}: {keyword} was {sorted(before)}, is {sorted(after)}"
    yield from _fields(old, new, where)
    for name, definition in old.get("$defs", {}).items():
        yield from _inner(definition, new.get("$defs", {}).get(name), name)
    yield from _inner(old.get("items"), new.get("items"), f"{where}[]")
    before, after = old.get("anyOf", []), new.get("anyOf", [])
    if len(before) != len(after):
        yield f"{where}: {len(before)} choices were, {len(after)} are"
    for first, second in zip(before, after, strict=False):
        yield from breaking(first, second, where)


def _fields(old: dict[str, Any], new: dict[str, Any], where: str) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    for name, field in before.items():
        place = f"{where}.{name}".removeprefix(".")
        yield from _inner(field, after.get(name), place)
        if name in after and (name in old.get("required", [])) != (name in new.get("required", [])):
            yield f"{place}: whether it is required has changed"
    for name in after.keys() - before.keys():
        if name in new.get("required", []):
            yield f"{where}.{name}".removeprefix(".") + ": is new and required, and the events from before lack it"


def _inner(old: dict[str, Any] | None, new: dict[str, Any] | None, where: str) -> Iterator[str]:
    if old is not None and new is not None:
        yield from breaking(old, new, where)
    elif old is not None:
        yield f"{where}: is gone"
    elif new is not None and where.endswith("[]"):
        yield f"{where}: its items had no schema"


def _values(found: Any) -> set[str]:
    """A keyword's one value or several, whatever their order, as JSON."""
    if found is None:
        return set()
    return {json.dumps(value) for value in (found if isinstance(found, list) else [found])}


def unrecorded(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """What is promised now and not recorded yet: fields and definitions."""
    for section in ("properties", "$defs"):
        for name, inner in new.get(section, {}).items():
            place = f"{where}.{name}".removeprefix(".")
            if name not in old.get(section, {}):
                yield place
            else:
                yield from unrecorded(old[section][name], inner, place)


def main() -> None:
    """Says what breaks, and records the rest with `--record`."""
    wrong = [
        f"{name}: {said}" for name, schema in current().items() for said in breaking(recorded(name) or schema, schema)
    ]
    if wrong:
        sys.exit(
            "\n".join(
                [*wrong, "A change that breaks needs a new major version in the `dataschema`: docs/compatibility.md"]
            )
        )
    if "--record" in sys.argv[1:]:
        FOLDER.mkdir(exist_ok=True)
        for name, schema in current().items():
            (FOLDER / f"{name}.json").write_text(json.dumps(schema, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
