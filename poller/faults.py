"""The model library's errors in our words: where in the file, which sentence, which key was meant."""

import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from poller.near import meant
from poller.options import NAME_PATTERN, NAME_SENTENCE
from poller.rules import Place

_SENTENCES = {
    "missing": "is required",
    "model_type": "must be a map of keys",
    "model_attributes_type": "must be a map of keys",
    "dict_type": "must be a map of keys",
    "list_type": "must be a list, such as [a, b]",
    "tuple_type": "must be a list, such as [a, b]",
    "string_type": "must be text: put it into quotes",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "path_type": "must be a path",
}
_PATTERNS = {NAME_PATTERN: NAME_SENTENCE, "^/": "must begin with /"}
_FILLED = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "does not fit the pattern {pattern}",
    "string_too_short": "must not be empty",
    "too_long": "must have at most {max_length}",
    "too_short": "must have at least {min_length}",
}


def faults_of(
    error: ValidationError, model: type[BaseModel], value: object, place: Place
) -> Iterator[tuple[Place, str]]:
    """One fault for each place: what the members of a union say about the same value is joined.

    Without those of the rules between keys, which are tried by themselves: the library tries them only where nothing else is wrong.
    """
    found: dict[Place, list[str]] = {}
    items = [item for item in error.errors(include_url=False, include_input=False) if item["type"] != "rule"]
    for item in items:
        if item["type"] == "too_short" and any(_inside(other["loc"], item["loc"]) for other in items):
            continue  # the library counts only the members that are well
        where = _walk(value, item["loc"], missing=item["type"] == "missing")
        sentences = found.setdefault(where, [])
        sentence = _sentence(item["type"], item["msg"], item.get("ctx", {}), model, where)
        if item["type"] not in {"missing", "extra_forbidden"} and _at(value, where) is None:
            sentence = "is empty: give it a value, or remove it"
        if sentence not in sentences:
            sentences.append(sentence)
    for where, sentences in found.items():
        yield (*place, *where), ", or ".join(sentences)


def _at(value: Any, place: Place) -> object:  # noqa: ANN401 YAML holds any type
    for step in place:
        value = value[step]
    return value


def _inside(loc: Place, outer: Place) -> bool:
    return len(loc) > len(outer) and loc[: len(outer)] == outer


def _walk(value: Any, loc: Place, *, missing: bool) -> Place:  # noqa: ANN401 YAML holds any type
    """`loc` without the names of union members and validators that the library puts between the keys."""
    place: list[str | int] = []
    for number, step in enumerate(loc):
        inside = (isinstance(value, dict) and step in value) or (
            isinstance(value, list) and isinstance(step, int) and step < len(value)
        )
        if inside:
            value = value[step]
            place.append(step)
        elif missing and number == len(loc) - 1:
            place.append(step)
    return tuple(place)


def _sentence(kind: str, message: str, ctx: Mapping[str, Any], model: type[BaseModel], place: Place) -> str:
    if kind == "extra_forbidden" and re.search(r"[\s{\[]", str(place[-1])):
        return "is no known key: is a colon missing after its first word?"
    if kind == "extra_forbidden":
        return f"is no known key{meant(str(place[-1]), _keys_at(model, place[:-1]))}"
    if kind == "value_error":
        return str(ctx["error"])
    if kind == "string_pattern_mismatch" and ctx["pattern"] in _PATTERNS:
        return _PATTERNS[ctx["pattern"]]
    if kind in _FILLED:
        return _FILLED[kind].format(**ctx)
    return _SENTENCES.get(kind) or message.replace("Input should", "should")


def _keys_at(model: type[BaseModel], place: Place) -> list[str]:
    """The keys that the models at a place know."""
    models = [model]
    for step in place:
        annotations = [each.model_fields[step].annotation for each in models if step in each.model_fields]
        models = [inner for annotation in annotations for inner in models_in(annotation)] or models
    return [field.alias or name for each in models for name, field in each.model_fields.items()]


def models_in(annotation: object) -> list[type[BaseModel]]:
    """The models that a type mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in models_in(argument)]
