"""Finds the harness of a store kind: `tests/stores/<kind>/store_harness.py` opens, copies, restores and empties one."""

import importlib.util
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import poller.stores


def harness_of(kind: str, folder: Path) -> Any:
    """A harness that keeps its files in `folder`."""
    return _module(kind).Harness(folder)


def fixture_of(kind: str) -> str | None:
    """The fixture that has to be set up before: a server, for some kinds."""
    name: str | None = getattr(_module(kind), "FIXTURE", None)
    return name


@cache
def _module(kind: str) -> ModuleType:
    path = Path(__file__).parent.parent / "stores" / kind / "store_harness.py"
    spec = importlib.util.spec_from_file_location(f"store_harness_{kind}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _marked(kind: str) -> Any:
    """A kind that needs a server runs only where there is one."""
    return pytest.param(kind, marks=[getattr(pytest.mark, kind)] if fixture_of(kind) else [])


NAMES = sorted(module.name for module in pkgutil.iter_modules(poller.stores.__path__))
KINDS = [_marked(kind) for kind in NAMES]
"""Parameters of a fixture that is `set_up`."""


@contextmanager
def set_up(request: pytest.FixtureRequest, folder: Path) -> Iterator[Any]:
    """The harness of the kind that a fixture's parameter names."""
    if fixture := fixture_of(request.param):
        request.getfixturevalue(fixture)
    made = harness_of(request.param, folder)
    try:
        yield made
    finally:
        made.remove()
