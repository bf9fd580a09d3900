"""The schemas are what the structs and our own output are: nothing more, nothing less."""

import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
from contract_checks import closed, faults
from golden_events import GoldenEvent, golden_events
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec.structs import FieldInfo, fields

from poller.contract import DOCUMENTS, document
from poller.contract.__main__ import made
from poller.contract.meanings import MEANINGS
from poller.contract.schemas import data_schema, event_schema, shape
from poller.event import SCHEMAS, CloudEvent, Encoder, WindowCounts, WindowData, instant
from poller.kinds import KINDS
from poller.model import (
    CallData,
    Cost,
    Kind,
    Normal,
    Party,
    RecordingData,
    RecordingRef,
    SeenKey,
)
from poller.outgoing import Outgoing, as_update, renumbered

ROOT = Path(__file__).parents[2]
BOTH: tuple[Kind, ...] = ("call", "recording")
STRUCTS: list[type[msgspec.Struct]] = [
    CallData, RecordingData, Party, Cost, RecordingRef, WindowData, WindowCounts, CloudEvent,
]  # fmt: skip
GOLDEN = golden_events()
CLOSED = {kind: closed(event_schema(kind)) for kind in BOTH}


def kind_of(event_type: str) -> Kind:
    return "call" if ".call." in event_type else "recording"


def body(one: GoldenEvent) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(one.event.body)
    return found


# --- the documents ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_are_up_to_date(name: str) -> None:
    assert document(name) == made()[name], "run `make docs`"


@pytest.mark.parametrize("kind", BOTH)
def test_schemas_are_valid_and_open(kind: Kind) -> None:
    for schema in (data_schema(kind), event_schema(kind)):
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        Draft202012Validator.check_schema(schema)
        assert "additionalProperties" not in msgspec.json.encode(schema).decode()
    assert data_schema(kind)["$id"] == SCHEMAS[kind]
    assert event_schema(kind)["$id"] == f"urn:telephony:schema:{kind}-event:1"


@pytest.mark.parametrize("kind", BOTH)
def test_examples_are_valid(kind: Kind) -> None:
    """Each example under its own field's schema."""
    whole = event_schema(kind)
    parts = [whole, *whole["$defs"].values()]
    found = [
        (field, example)
        for part in parts
        for field in part["properties"].values()
        for example in field.get("examples", ())
    ]
    assert len(found) > 15
    for field, example in found:
        assert faults({**field, "$defs": whole["$defs"]}, example) == []


def test_the_wheel_holds_the_documents(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in DOCUMENTS:
            assert archive.read(f"poller/contract/{name}.json").decode() == document(name)


# --- the structs -----------------------------------------------------------------------------------------------------

FIELDS = [(struct, info) for struct in STRUCTS for info in fields(struct)]


@pytest.mark.parametrize("struct", STRUCTS)
def test_every_field_has_its_meaning_and_no_other(struct: type[msgspec.Struct]) -> None:
    assert [info.encode_name for info in fields(struct)] == list(MEANINGS[struct.__name__].fields)
    assert list(shape(struct)["properties"]) == list(MEANINGS[struct.__name__].fields)
    assert all(meaning.text.endswith(".") for meaning in MEANINGS[struct.__name__].fields.values())


@pytest.mark.parametrize(("struct", "info"), FIELDS, ids=lambda value: getattr(value, "__name__", None) or value.name)
def test_types_agree(struct: type[msgspec.Struct], info: FieldInfo) -> None:
    """Compared without the generator's own means: values of every JSON type are tried against the field's schema."""
    if (struct, info.name) in {(CloudEvent, "data"), (CallData, "vendor"), (RecordingData, "vendor")}:
        return  # one of two structs, and anything that the vendor writes
    kinds = get_args(info.type) if get_origin(info.type) not in {Literal, list} else (info.type,)
    kinds = kinds or (info.type,)
    meaning = MEANINGS[struct.__name__].fields[info.encode_name]
    schema = shape(struct)["properties"][info.encode_name]
    definitions = {one.__name__: shape(one) for one in (Party, Cost, RecordingRef, WindowCounts)}
    samples = {str: "x", int: 3, float: 0.5, bool: True, NoneType: None, datetime: "2026-01-31T10:00:00Z"}
    structs = {
        Party: {"number": None, "name": None},
        Cost: {"amount": "1", "currency": None},
        WindowCounts: {"new": 1, "updated": 1, "duplicate": 1, "invalid": 1},
    }
    for sample in (*samples.values(), *structs.values(), [], {}):
        fits = any(_fits(kind, sample, samples, structs) for kind in kinds)
        strict = {name: value for name, value in schema.items() if name not in meaning.more}
        assert (faults({**strict, "$defs": definitions}, sample) == []) is fits, sample


def _fits(kind: Any, sample: object, samples: dict[type, object], structs: dict[Any, Any]) -> bool:
    if get_origin(kind) is Literal:
        return sample in get_args(kind)
    if get_origin(kind) is list:
        return sample == []
    if kind in structs:
        return bool(sample == structs[kind])
    if kind is str:
        return isinstance(sample, str)
    if kind is float:
        return isinstance(sample, int | float) and not isinstance(sample, bool)
    return bool(type(sample) is type(samples[kind]) and sample == samples[kind])


@pytest.mark.parametrize(
    ("struct", "name"), [(CallData, "direction"), (CallData, "disposition"), (CallData, "started_at_precision")]
)
def test_values_are_the_structs_own(struct: type[msgspec.Struct], name: str) -> None:
    (info,) = [info for info in fields(struct) if info.name == name]
    literals = [one for one in (info.type, *get_args(info.type)) if get_origin(one) is Literal]
    nullable = {None} if NoneType in get_args(info.type) else set()
    assert set(shape(struct)["properties"][name]["enum"]) == {*get_args(literals[0]), *nullable}


@pytest.mark.parametrize("kind", BOTH)
def test_what_is_required(kind: Kind) -> None:
    data = data_schema(kind)
    assert set(data["properties"]) - set(data["required"]) == {"vendor"}
    whole = event_schema(kind)
    assert set(whole["properties"]) - set(whole["required"]) == {"time"} | (
        {"dataref"} if kind == "recording" else set()
    )


# --- our own output --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", GOLDEN, ids=lambda one: f"{one.page.stem}-{one.event.id[:6]}")
def test_golden_records_are_valid(one: GoldenEvent) -> None:
    kind = kind_of(one.event.type)
    event = body(one)
    assert faults(CLOSED[kind], event) == []
    assert faults(closed(data_schema(kind)), event["data"]) == []


def test_every_list_of_every_vendor_was_tried() -> None:
    asked = {f"{kind}.{name}" for kind in KINDS.names(KINDS.sources) for name in _lists(kind)}
    assert {one.endpoint for one in GOLDEN} == asked
    assert {one.endpoint for one in GOLDEN if one.mention} == {"fonouc.cdrs", "thulium.connections"}


def _lists(kind: str) -> list[str]:
    model = KINDS.model(KINDS.sources, kind)
    assert model is not None
    (endpoints,) = get_args(model.model_fields["endpoints"].annotation) or (model.model_fields["endpoints"].annotation,)
    return list(endpoints.model_fields)


@pytest.mark.parametrize("one", GOLDEN[:: max(1, len(GOLDEN) // 8)], ids=lambda one: one.event.id[:6])
def test_what_sinks_and_retries_make_of_them_is_valid(one: GoldenEvent) -> None:
    schema = CLOSED[kind_of(one.event.type)]
    updated = as_update(one.event, "0" * 32, 2)
    outgoing = [Outgoing(vendor=False, mask_numbers=False), Outgoing(vendor=True, mask_numbers=True)]
    bodies = [updated.body, renumbered(one.event.body, 10**19), *(each.body(updated.body) for each in outgoing)]
    for changed in bodies:
        assert faults(schema, msgspec.json.decode(changed)) == []
    assert "vendor" not in msgspec.json.decode(bodies[-1])["data"]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SOME = TEXTS.filter(bool)
MOMENTS = st.datetimes(timezones=st.just(UTC))
SECONDS = st.none() | st.floats(-1e10, 1e10)
AMOUNTS = st.decimals(-(10**9), 10**9, places=4).map(str)
URLS = st.none() | st.integers(0).map(lambda number: f"https://pbx.example/recordings/{number}.mp3")


def filled(struct: type[msgspec.Struct], **known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values of a struct, by its fields' types; `known` for what is narrower than its type."""
    return st.builds(struct, **{info.name: known.get(info.name, _values(info.type)) for info in fields(struct)})


def _values(kind: Any) -> st.SearchStrategy[Any]:
    if get_origin(kind) is list:
        return st.lists(_values(get_args(kind)[0]), max_size=2)
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if choices := get_args(kind):
        return st.one_of(*map(_values, choices))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return filled(kind, amount=AMOUNTS)
    plain = {
        str: TEXTS,
        int: st.integers(1, 10**14),
        float: st.floats(-1e10, 1e10),
        bool: st.booleans(),
        NoneType: st.none(),
    }
    return plain[kind] if kind in plain else {datetime: MOMENTS, msgspec.Raw: st.just(msgspec.Raw(b'{"a": [1]}'))}[kind]


DATA: dict[Kind, st.SearchStrategy[Any]] = {
    "call": filled(CallData, q850_cause=st.none() | st.integers(0, 127)),
    "recording": filled(RecordingData, recording_id=SOME, media_url=URLS),
}
MADE = st.sampled_from(BOTH).flatmap(lambda kind: st.tuples(st.just(kind), DATA[kind]))
HASHED = st.builds(SeenKey, st.just(1), st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8))


@given(MADE, SOME, SOME, st.none() | MOMENTS, HASHED, st.booleans(), st.integers(1, 2**63), st.floats(0, 4e9))
def test_whatever_the_structs_can_hold_is_valid(
    made_data: tuple[Kind, Any],
    subject: str,
    key: str,
    time: datetime | None,
    seen: SeenKey,
    new: bool,
    seq: int,
    at: float,
) -> None:
    kind, data = made_data
    normal = Normal(data=data, subject=subject, time=time, partition_key=key)
    event = Encoder("mor-main", kind).event(normal, seen, new=new, seq=seq, recorded=instant(at))
    assert faults(CLOSED[kind], msgspec.json.decode(event.body)) == []


# --- what must not pass ----------------------------------------------------------------------------------------------


def every_field(value: dict[str, Any], where: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The places of all fields of an event, but for the vendor's own."""
    found = []
    for name, inner in value.items():
        found.append((*where, name))
        if isinstance(inner, dict) and name != "vendor":
            found += every_field(inner, (*where, name))
    return found


def test_a_field_that_is_gone_or_wrong_is_seen() -> None:
    whole = {kind: next(one for one in GOLDEN if kind_of(one.event.type) == kind and not one.mention) for kind in BOTH}
    for kind, one in whole.items():
        for place in every_field(body(one)):
            optional = place[-1] in {"time", "dataref", "vendor"}
            assert (faults(event_schema(kind), _changed(one, place, gone=True)) == []) is optional, place
            assert faults(
                event_schema(kind), _changed(one, place, value={"wrong": 1} if place[-1] != "vendor" else 1)
            ), place


def test_only_the_closed_copy_refuses_what_is_not_named() -> None:
    for one in GOLDEN:
        kind = kind_of(one.event.type)
        for place in [("more",), ("data", "more"), ("data", "from", "more")]:
            more = _changed(one, place, value=1)
            assert faults(event_schema(kind), more) == []
            assert faults(CLOSED[kind], more)


def _changed(one: GoldenEvent, place: tuple[str, ...], *, value: object = None, gone: bool = False) -> dict[str, Any]:
    event = body(one)
    inner = event
    for name in place[:-1]:
        inner = inner[name]
    if gone:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return event
