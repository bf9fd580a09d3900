"""What is well of a part of the configuration that has faults, so that the rules between keys are tried all the same."""

import typing
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from poller.faults import models_in

M = TypeVar("M", bound=BaseModel)
_NOT_WELL = object()


def partly(model: type[M], value: Mapping[str, Any], context: Mapping[str, Any]) -> M:
    """The model with the keys that are well and no others; see poller.rules. Everything that is written counts as set."""
    kept = dict(_kept(model, value, context))
    part = model.model_construct(_fields_set=set(value), **kept)
    for name in model.model_fields.keys() - kept.keys():
        vars(part).pop(name, None)  # a default would stand for what was written, and is not well
    return part


def _kept(model: type[BaseModel], value: Mapping[str, Any], context: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        if name not in value:
            if not field.is_required():
                yield name, field.get_default(call_default_factory=True, validated_data={})
            continue
        found = _read(_reader(model, name), value[name], context)
        if found is _NOT_WELL:
            found = _in_parts(field.annotation, value[name], context)
        if found is not _NOT_WELL:
            yield name, found


def _in_parts(annotation: Any, value: object, context: Mapping[str, Any]) -> Any:  # noqa: ANN401 what a key holds
    """A map or a list of which something is well."""
    inner = models_in(annotation)
    if isinstance(value, dict) and len(inner) == 1:
        return partly(inner[0], value, context)
    item = _item_of(annotation)
    if not isinstance(value, list) or item is None:
        return _NOT_WELL
    found = (_read_item(item, each, context) for each in value)
    return tuple(None if each is _NOT_WELL else each for each in found)


def _read_item(item: Any, value: object, context: Mapping[str, Any]) -> Any:  # noqa: ANN401 what a list holds
    found = _read(_item_reader(item), value, context)
    inner = models_in(item)
    return partly(inner[0], value, context) if found is _NOT_WELL and isinstance(value, dict) and inner else found


def _item_of(annotation: object) -> Any:  # noqa: ANN401 a type
    """The type of a list's items, None where it is no list."""
    if typing.get_origin(annotation) is tuple:
        return typing.get_args(annotation)[0]
    found = (_item_of(each) for each in typing.get_args(annotation))
    return next((each for each in found if each is not None), None)


def _read(reader: TypeAdapter[Any], value: object, context: Mapping[str, Any]) -> Any:  # noqa: ANN401 what a key holds
    try:
        return reader.validate_python(value, context=dict(context))
    except ValidationError:
        return _NOT_WELL


@lru_cache(maxsize=1024)
def _reader(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    return TypeAdapter(model.model_fields[name].rebuild_annotation())


@lru_cache(maxsize=256)
def _item_reader(item: Any) -> TypeAdapter[Any]:  # noqa: ANN401 a type
    return TypeAdapter(item)
