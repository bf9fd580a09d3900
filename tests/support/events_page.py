"""Writes docs/events.md from the meanings of the fields and the golden pages: `python tests/support/events_page.py`."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from golden_events import GoldenEvent, golden_events, golden_windows

from poller.contract.meanings import WINDOWS
from poller.contract.schemas import Schema, data_schema, envelope
from poller.kinds import KINDS
from poller.model import Topic

WIDTH = 120
INTRO = """\
# Events

What does each event mean, and what stands in every field? How to read them from Kafka: [consuming](consuming.md). What stays as it is:
[compatibility](compatibility.md). This page is made of the program's own words and of the tests' vendor records (`make docs`).

| type | what has happened | how often |
|---|---|---|
| `telephony.call.new` | a call that was not seen before in this source | once for each call |
| `telephony.call.updated` | a known call in a state that was not seen before | once for each further state; never with `on_change: ignore` |
| `telephony.recording.new` | a recording that was not seen before, in its list or named by a call (`partial`) | once for each recording |
| `telephony.recording.updated` | a known recording in a state that was not seen before | once for each further state |
| `telephony.window.complete` | an hour (UTC) of a list is whole: [when an hour is whole](consuming.md#when-an-hour-is-whole) | once for each hour of each list, to sinks that ask (`windows: true`) |

Which fields make another state, and what to do with each type: [consuming](consuming.md#is-this-event-a-repetition). An event of a call or
recording says all that is known of it, so the one with the largest `revision` is enough. Nothing is ever taken back: no event says that a vendor has
deleted something. Skip a `type` that you do not know.

The shapes as documents, for programs that check events and for generators of code:

| command | document |
|---|---|
| `poller schema call`, `poller schema recording`, `poller schema window` | JSON Schema (2020-12) of `data`; its `$id` is the event's `dataschema` |
| the same with `--event` | JSON Schema of the whole event |
| `poller schema asyncapi` | AsyncAPI 3: topics and webhooks, keys, headers, values |

The same documents are files of the installed package: `poller/contract/*.json`.
"""
LEFT_OUT = """\
## What a sink leaves out

| setting of the sink | what becomes of an event |
|---|---|
| `vendor: omit` (a webhook's default) | `data.vendor` is absent and `data.cost` null: neither raw record nor price |
| `mask_numbers: true` | `data.vendor` is absent, whatever `vendor` says, and numbers are masked, each digit but the last three as `*` |

Masked, `48501000111` reads `********111`. What is looked through, and what counts as a number there:

| where | what is masked |
|---|---|
| `number` and `name` of `from` and `to` | everything with four digits or more, blanks and signs between them included |
| file names and addresses (`filename`, `recording_id`, `subject`, `partitionkey`, `media_url`, `dataref`, `recordings`), `agent`, `queue`, all other texts | the numbers of `from` and `to`, in any spelling (`+48…`, `00…`, `sip:…@host`, blanks and dashes, percent-encoded; without country code, too, from seven digits on), and every run of seven digits and more, whosever it is |
| ids of calls (`uniqueid`, `connection_id`, `call_id`, `cdr_id`, `interaction_id`), and `subject` and `partitionkey` where they are one of these | the numbers of `from` and `to` from seven digits on, where a vendor has built the id from one |
| `id`, `source`, `type`, `sequence`, times, lengths, sizes, the host in an address | nothing |

Not numbers, and so they stay: ids of digits alone (MOR's recordings), Asterisk's ids (`1795344280.401010`), hashes and UUIDs, dates and times
(`2024-10-27_02.31.07`, `20241027`), the counters of channels, and whatever has three digits or fewer. A stranger's number of four to six
digits within a file name is not recognised, nor one that reads as a date (eight digits, `20241027`).

What is masked is masked by rule, not by chance: the same text beside the same numbers always reads the same, so a call's `recordings` fit its
recordings' `recording_id`, and an event and its updates share a `subject`. Two recordings whose names differ in nothing but a number
may read the same; `id` (the `webhook-id`) tells events apart in every case. A masked `recording_id`, `filename` or `media_url` fetches nothing:
files are fetched by what a sink without `mask_numbers` shows.
"""
ATTRIBUTES = """\
## Attributes

What stands around `data`, with every type. What is not known is absent here, and null within `data`.
"""
OF_WINDOWS = """\
Around the `data` of a window, these mean something else:
"""
EXAMPLES = """\
## Examples

What a record of each list becomes: the fullest of the records that the tests have of it. Where a call's record names a recording whose
list has not shown it yet, a second event says so.
"""
_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true`, `false`", "null": "null"}


def page() -> str:
    """The whole page."""
    calls, recordings, windows = data_schema("call"), data_schema("recording"), data_schema("window")
    parts = [INTRO, ATTRIBUTES, *_table(envelope("recording")), "", OF_WINDOWS, *_table(_differing()), ""]
    for kind, schema in (("call", calls), ("recording", recordings), ("window", windows)):
        parts += [f"## `data` of a {kind}\n", f"{schema['description']}\n", *_table(schema), ""]
    for name, schema in {**calls["$defs"], **recordings["$defs"], **windows["$defs"]}.items():
        parts += [f"### {name}\n", f"{schema['description']}\n", *_table(schema), ""]
    parts += [LEFT_OUT, EXAMPLES]
    found = golden_events()
    for endpoint in sorted({one.endpoint for one in found}, key=_place):
        parts += _examples(endpoint, [one for one in found if one.endpoint == endpoint])
    parts += ["### An hour that is whole\n", *(f"```json\n{shown(one)}\n```\n" for one in golden_windows()[:1])]
    return "\n".join(parts)


def _place(endpoint: str) -> tuple[int, str]:
    """Vendors in their order, a vendor's calls before its recordings."""
    vendor, _, name = endpoint.partition(".")
    return KINDS.names(KINDS.sources).index(vendor), name


def _table(schema: Schema) -> Iterator[str]:
    yield "| field | type | meaning |\n|---|---|---|"
    for name, field in schema["properties"].items():
        may = "" if name in schema["required"] else "; may be absent"
        yield f"| `{name}` | {_type(field)}{may} | {_meaning(name, field, schema)} |"


def _meaning(name: str, field: Schema, schema: Schema) -> str:
    if name == "data":
        return "The call, recording or window itself: see below."
    values = [f"`{value}`" for value in (field["const"],) if value] if "const" in field else []
    if name in {"type", "dataschema", "source"} and "specversion" in schema["properties"]:
        return f"{field['description']} {_of_all(name)}"
    return " ".join([field["description"], *(f"Always {value}." for value in values)])


def _of_all(name: str) -> str:
    """What differs between the kinds of events."""
    kinds: list[Topic] = ["call", "recording", "window"]
    found: list[str] = []
    for kind in kinds:
        field = envelope(kind)["properties"][name]
        found += [field["const"]] if "const" in field else field.get("enum") or field["examples"]
    return ", ".join(f"`{value}`" for value in found) + "."


def _type(field: Schema) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return "object" if name.endswith("Data") else f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(_type(choice) for choice in field["anyOf"])
    if "enum" in field and "telephony" not in str(field["enum"][0]):
        return ", ".join("null" if value is None else f"`{value}`" for value in field["enum"])
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if field.get("format") in {"date-time", "uri"}:
        words = {"string": {"date-time": "time (RFC 3339)", "uri": "address"}[field["format"]]}
    else:
        words = {"object": "object"}
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    return " or ".join({**_WORDS, **words}[kind] for kind in kinds)


def _differing() -> Schema:
    whole = envelope("window")
    return {**whole, "properties": {name: whole["properties"][name] for name in ("type", *WINDOWS)}}


def _examples(endpoint: str, found: list[GoldenEvent]) -> Iterator[str]:
    best = max((one for one in found if not one.mention), key=_filled)
    yield f"### `{endpoint}`\n\nFrom `{best.page.name}`.\n\n```json\n{shown(best)}\n```\n"
    mentions = [one for one in found if one.mention and one.page == best.page]
    if mentions:
        yield f"The recording that it names:\n\n```json\n{shown(mentions[0])}\n```\n"


def _filled(one: GoldenEvent) -> int:
    data = json.loads(one.event.body)["data"]
    return sum(
        value not in (None, [], "unknown") for value in (*data.values(), *data["from"].values(), *data["to"].values())
    )


def shown(one: GoldenEvent) -> str:
    """The event as it is, only spread over lines."""
    return _spread(json.loads(one.event.body), 0)


def _spread(value: Any, depth: int) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict) or len(text) <= WIDTH - depth:
        return text
    lines, indent = [""], " " * (depth + 1)
    for name, inner in value.items():
        field = f"{json.dumps(name)}: {_spread(inner, depth + 1)}"
        wide = "\n" in field or len(lines[-1]) + len(field) + 4 > WIDTH
        lines = [*lines, indent + field + ","] if wide or not lines[-1] else [*lines[:-1], f"{lines[-1]} {field},"]
    return "{" + "\n".join(lines).rstrip(",") + "\n" + " " * depth + "}"


if __name__ == "__main__":
    sys.stdout.write(page())
