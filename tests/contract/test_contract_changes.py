"""Nothing that subscribers rely on changes within a major version; what counts as such is shown by examples."""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from schema_changes import FOLDER, breaking, current, recorded, unrecorded

from poller.contract.schemas import data_schema

Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize("name", sorted(current()))
def test_what_was_promised_holds(name: str) -> None:
    """A change that breaks needs a new major version in the `dataschema` (poller.event.SCHEMAS)."""
    promised = recorded(name)
    assert promised is not None, "a new version: record it with `python tests/support/schema_changes.py --record`"
    assert list(breaking(promised, current()[name])) == []
    assert list(unrecorded(promised, current()[name])) == [], (
        "record it: `python tests/support/schema_changes.py --record`"
    )


def test_former_versions_stay_recorded() -> None:
    """From 1 on, without a hole."""
    for name in current():
        stem, _, major = name.rpartition(".")
        assert all((FOLDER / f"{stem}.{number}.json").exists() for number in range(1, int(major) + 1))


CALL = data_schema("call")


def field(schema: dict[str, Any], name: str, definition: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = (schema["$defs"][definition] if definition else schema)["properties"][name]
    return found


BREAKS: dict[str, tuple[Change, str]] = {
    "a field is gone": (lambda new: new["properties"].pop("queue"), "queue: is gone"),
    "a field is renamed": (
        lambda new: new["properties"].update(call_queue=new["properties"].pop("queue")),
        "queue: is gone",
    ),
    "a field inside a part is gone": (
        lambda new: new["$defs"]["Party"]["properties"].pop("name"),
        "Party.name: is gone",
    ),
    "a definition is gone": (lambda new: new["$defs"].pop("Cost"), "Cost: is gone"),
    "another type": (lambda new: field(new, "q850_cause").update(type=["string", "null"]), "q850_cause: type was"),
    "a narrower type": (
        lambda new: field(new, "duration_seconds").update(type=["integer", "null"]),
        "duration_seconds: type",
    ),
    "a wider type": (lambda new: field(new, "revision").update(type="number"), "revision: type was"),
    "null is new": (lambda new: field(new, "late").update(type=["boolean", "null"]), "late: type was"),
    "null is gone": (lambda new: field(new, "agent").update(type="string"), "agent: type was"),
    "another format": (lambda new: field(new, "started_at").update(format="date"), "started_at: format was"),
    "a format is gone": (lambda new: field(new, "started_at").pop("format"), "started_at: format was"),
    "a new value": (lambda new: field(new, "disposition")["enum"].append("voicemail"), "disposition: enum was"),
    "a value is gone": (lambda new: field(new, "disposition")["enum"].remove("busy"), "disposition: enum was"),
    "an enum where there was none": (lambda new: field(new, "agent").update(enum=["a", None]), "agent: enum was"),
    "a lower bound": (lambda new: field(new, "revision").update(minimum=0), "revision: minimum was"),
    "a new bound": (lambda new: field(new, "duration_seconds").update(minimum=0), "duration_seconds: minimum was"),
    "another pattern": (lambda new: field(new, "amount", "Cost").update(pattern="^.*$"), "Cost.amount: pattern was"),
    "a required field is optional": (lambda new: new["required"].remove("queue"), "queue: whether it is required"),
    "an optional field is required": (lambda new: new["required"].append("vendor"), "vendor: whether it is required"),
    "a new field is required": (
        lambda new: (new["properties"].update(more={"type": "string"}), new["required"].append("more")),
        "more: is new and required",
    ),
    "other items": (lambda new: field(new, "recordings").update(items={"type": "string"}), "recordings[]: "),
    "items without a schema": (lambda new: field(new, "recordings").pop("items"), "recordings[]: is gone"),
    "another part": (lambda new: field(new, "to").update({"$ref": "#/$defs/Cost"}), "to: $ref was"),
    "a choice is gone": (lambda new: field(new, "cost")["anyOf"].pop(), "cost: 2 choices were, 1 are"),
    "a choice has changed": (lambda new: field(new, "cost")["anyOf"][1].update(type="string"), "cost: type was"),
    "closed": (lambda new: new.update(additionalProperties=False), "the schema: additionalProperties was"),
    "another id": (lambda new: new.update({"$id": "urn:telephony:schema:calls:1"}), "the schema: $id was"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks_is_seen(name: str) -> None:
    change, said = BREAKS[name]
    new = copy.deepcopy(CALL)
    change(new)
    found = list(breaking(CALL, new))
    assert any(one.startswith(said) for one in found), found


HARMLESS: dict[str, Change] = {
    "nothing": lambda _: None,
    "a new field that may be absent": lambda new: new["properties"].update(more={"type": "string"}),
    "a new field of a part": lambda new: new["$defs"]["Party"]["properties"].update(more={"type": "string"}),
    "a new part": lambda new: new["$defs"].update(Leg={"type": "object", "properties": {}, "required": []}),
    "other words": lambda new: field(new, "queue").update(description="x", title="x", examples=["x"]),
    "other words inside a choice": lambda new: field(new, "cost")["anyOf"][0].update(description="x"),
    "another order of values": lambda new: field(new, "disposition")["enum"].reverse(),
    "another order of types": lambda new: field(new, "agent").update(type=["null", "string"]),
    "another order of fields": lambda new: new.update(properties=dict(reversed(new["properties"].items()))),
    "another order of what is required": lambda new: new["required"].reverse(),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_passes(name: str) -> None:
    new = copy.deepcopy(CALL)
    HARMLESS[name](new)
    assert list(breaking(CALL, new)) == []


def test_what_is_added_must_be_recorded() -> None:
    new = copy.deepcopy(CALL)
    new["properties"]["more"] = {"type": "string"}
    new["$defs"]["Party"]["properties"]["more"] = {"type": "string"}
    new["$defs"]["Leg"] = {"type": "object"}
    assert set(unrecorded(CALL, new)) == {"more", "Party.more", "Leg"}
    assert list(unrecorded(CALL, CALL)) == []


def test_the_command_says_that_nothing_breaks() -> None:
    command = [sys.executable, "-m", "schema_changes"]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1] / "support", capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
