"""Finds the harness of a store kind: `tests/stores/<kind>/store_harness.py` opens, copies, restores and empties one."""

import importlib.util
from pathlib import Path
from typing import Any


def harness_of(kind: str, folder: Path) -> Any:
    """A harness that keeps its files in `folder`."""
    path = Path(__file__).parent.parent / "stores" / kind / "store_harness.py"
    spec = importlib.util.spec_from_file_location(f"store_harness_{kind}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Harness(folder)
