"""Says in the report which tests need the broker, the database, Node.js, Go, Helm, Prometheus, valgrind or the building of images, so that a run can tell whether one was skipped."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A property of every collected test; what was skipped while it was collected has none."""
    for item in items:
        for name in ("kafka", "postgres", "node", "go", "helm", "prometheus", "image", "browser", "valgrind"):
            item.user_properties.append((name, "yes" if item.get_closest_marker(name) else "no"))
