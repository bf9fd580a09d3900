"""The dashboards are what their source makes, and keep the rules by which dashboards of others are judged."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_programs import DASHBOARDS, ROOT, missing, promtool
from prometheus_server import filled

from poller.metrics import Metrics

NAMES = ("overview", "source", "delivery")
BOARDS: dict[str, dict[str, Any]] = {
    name: json.loads((DASHBOARDS / f"{name}.json").read_text(encoding="utf-8")) for name in NAMES
}
PANELS = [
    pytest.param(panel, id=f"{name}-{panel['title']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
EXPRESSIONS = sorted({
    target["expr"]
    for board in BOARDS.values()
    for panel in board["panels"]
    for target in panel.get("targets", ())
})  # fmt: skip
UNITS = {"s", "short", "cps", "reqps", "bytes", "percentunit"}
"""Of those that the program that shows them knows."""
SELECTOR = re.compile(r"(\w+)\{([^}]*)\}")


def known() -> dict[str, str]:
    """Every series of the program by its kind; a histogram's have their endings."""
    metrics = Metrics()
    found = {table.name: next(table.write()).rsplit(" ", 1)[1].strip() for table in metrics.tables}
    for name in metrics.registry._names_to_collectors:
        found.setdefault(name, "counter" if name.endswith(("_bucket", "_total")) else "gauge")
    return found


def test_they_are_what_their_source_makes(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, str(ROOT / "tests/support/grafana_dashboards.py"), str(tmp_path)], check=True, timeout=300
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}.json" for name in NAMES)
    for path in tmp_path.iterdir():
        assert path.read_text(encoding="utf-8") == (DASHBOARDS / path.name).read_text(encoding="utf-8"), (
            "run `make docs`"
        )


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_board(board: dict[str, Any]) -> None:
    assert board["editable"] is False
    assert board["title"]
    assert board["uid"]
    assert board["description"]
    sources = [one for one in board["templating"]["list"] if one["type"] == "datasource"]
    assert [(one["name"], one["label"], one["query"]) for one in sources] == [
        ("datasource", "Data Source", "prometheus")
    ]
    asked = {one["name"]: one for one in board["templating"]["list"] if one["type"] == "query"}
    assert list(asked)[:2] == ["job", "instance"]
    for one in asked.values():
        assert (one["multi"], one["includeAll"], one["allValue"], one["refresh"]) == (True, True, ".+", 2)
        assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert one["query"].startswith("label_values(poller_")
    ids = [panel["id"] for panel in board["panels"] if panel["type"] != "row"]
    assert len(set(ids)) == len(ids)
    assert len(json.dumps(board)) < 500_000, "several fit into one ConfigMap"


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_no_panel_covers_another(board: dict[str, Any]) -> None:
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        taken = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in taken) < 24, panel["title"]
        cells |= taken


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["targets"]
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references)
    assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_a_query(expr: str) -> None:
    assert not re.search(r"vector\(|absent|\bor\b", expr), "would hide an empty panel"
    kinds = known()
    selectors = SELECTOR.findall(expr)
    assert selectors
    for name, matchers in selectors:
        assert matchers.startswith('job=~"$job", instance=~"$instance"')
        if name.startswith("process_"):
            continue
        assert name in kinds
        counted = re.search(rf"(?:rate|increase)\({name}\{{[^}}]*\}}\[\$__rate_interval\]\)", expr)
        assert (counted is not None) == (kinds[name] == "counter"), name
    assert set(re.findall(r"\[([^\]]*)\]", expr)) <= {"$__rate_interval"}


def test_labels_are_the_metrics_own() -> None:
    """A label that no metric has would be an empty panel, or one line for everything."""
    metrics = Metrics()
    labels = {table.name: set(table._labels) for table in metrics.tables}
    collectors: list[Any] = list(metrics.registry._collector_to_names)
    for one in collectors:
        if hasattr(one, "_labelnames"):
            labels[f"{one._name}_bucket"] = {*one._labelnames, "le"}
    for expr in EXPRESSIONS:
        for name, matchers in SELECTOR.findall(expr):
            own = labels.get(name, set()) | {"job", "instance"}
            assert set(re.findall(r"(\w+)!?=", matchers)) <= own, expr
            for by in re.findall(r"by \(([^)]*)\)", expr):
                assert {label.strip() for label in by.split(",")} <= own, expr


@pytest.mark.prometheus
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_the_queries_are_well_formed(tmp_path: Path) -> None:
    rules = [{"record": f"poller:query:n{number}", "expr": filled(expr)} for number, expr in enumerate(EXPRESSIONS)]
    (tmp_path / "all.yaml").write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}), encoding="utf-8")
    code, said = promtool("check", "rules", str(tmp_path / "all.yaml"))
    assert code == 0, said
