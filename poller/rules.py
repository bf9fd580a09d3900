"""Rules between the keys of one model: each is tried as soon as the keys that it takes are well, whatever else is wrong.

A model lists them in its `rules`, and has those of the models that it is made from. A rule is a function whose arguments are
named after keys; it yields faults, each at its own key. A model of which only some keys are well has no more than these, and a
list of which some items are not well has None in their places.
"""

from collections.abc import Callable, Iterator, Mapping
from inspect import signature
from typing import Any, TypeAlias

from pydantic import BaseModel

Place: TypeAlias = tuple[str | int, ...]
"""Keys and list indexes."""
Fault: TypeAlias = tuple[Place, str]
"""Where, and a sentence."""
Rule: TypeAlias = Callable[..., Iterator[Fault]]


def known(options: BaseModel) -> Mapping[str, Any]:
    """The keys that are well, defaults included."""
    return vars(options)


def own_faults(options: BaseModel) -> Iterator[Fault]:
    """What a model's own rules say; places count from the model."""
    keys = known(options)
    for each in reversed(type(options).__mro__):
        rules: tuple[Rule, ...] = vars(each).get("rules", ())
        for rule in rules:
            takes = signature(rule).parameters
            if takes.keys() <= keys.keys():
                yield from rule(**{name: keys[name] for name in takes})


def all_faults(options: BaseModel) -> Iterator[Fault]:
    """The same, of the models within too."""
    yield from own_faults(options)
    for name, value in known(options).items():
        for place, inner in _models(value):
            for deeper, sentence in all_faults(inner):
                yield (name, *place, *deeper), sentence


def _models(value: object) -> Iterator[tuple[Place, BaseModel]]:
    if isinstance(value, BaseModel):
        yield (), value
    elif isinstance(value, tuple):
        yield from (((number,), item) for number, item in enumerate(value) if isinstance(item, BaseModel))
