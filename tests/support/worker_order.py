"""With several workers, the files whose tests may take longest begin first: no worker ends up alone with one of them."""

from collections import defaultdict
from pathlib import Path

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """By the longest limit that a file gives one of its tests; the order within a file stays."""
    if not hasattr(config, "workerinput"):
        return
    limits: dict[Path, float] = defaultdict(float)
    for item in items:
        marked = item.get_closest_marker("timeout")
        limits[item.path] = max(limits[item.path], marked.args[0] if marked else 0)
    items.sort(key=lambda item: -limits[item.path])
