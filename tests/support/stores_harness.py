"""Finds the harness of a store kind: `tests/stores/<kind>/store_harness.py` opens, copies, restores and empties one."""

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any


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
