"""A plugin of pytest (`-p e2e_edge_trace`): writes which step boundaries each test of the run came to, as JSON, to EDGES_MET."""

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import e2e_edges
import pytest

_met: dict[str, set[str]] = defaultdict(set)
_tests = [""]
"""The last one is running."""


def _hit(name: str) -> None:
    _met[_tests[-1]].add(name)


e2e_edges.install(_hit)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Notes which test runs."""
    _tests.append(item.nodeid)
    return (yield)


def pytest_sessionfinish() -> None:
    """Writes what was met."""
    Path(os.environ["EDGES_MET"]).write_text(json.dumps({test: sorted(names) for test, names in _met.items()}))
