"""Renders the chart as a person would, and reads what came out. `python tests/support/helm_renders.py` writes the golden renders anew."""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml
from helm_programs import helm

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "poller"
VALUES = ROOT / "tests" / "helm" / "values"
GOLDEN = ROOT / "tests" / "helm" / "golden"

Thing = dict[str, Any]


class Refused(Exception):
    """What Helm said."""


def run_helm(version: str, *arguments: str) -> str:
    """Its standard output. Nothing of the machine's own Helm is used. Raises `Refused`; a warning is one, too."""
    with tempfile.TemporaryDirectory() as home:
        env = {"PATH": os.environ["PATH"], "HOME": home}
        done = subprocess.run(
            [helm(version), *arguments], env=env, capture_output=True, text=True, timeout=120, check=False
        )
    if done.returncode or "warning" in done.stderr.lower():
        raise Refused(done.stderr)
    return done.stdout


def render(version: str, *arguments: str, chart: Path = CHART) -> list[Thing]:
    """The objects, in the order of kind and name."""
    text = run_helm(version, "template", "calls", str(chart), "--namespace", "telephony", *arguments)
    things = [thing for thing in yaml.safe_load_all(text) if thing]
    return sorted(things, key=lambda thing: (thing["kind"], thing["metadata"]["name"], thing["apiVersion"]))


def one(things: list[Thing], kind: str) -> Thing:
    """The only one of its kind."""
    (found,) = (thing for thing in things if thing["kind"] == kind)
    return found


def cases() -> list[str]:
    """Names of the matrix of values."""
    return sorted(path.stem for path in VALUES.glob("*.yaml"))


def shortened(things: list[Thing]) -> list[Thing]:
    """With the name of a file of the chart in place of the same text, so that a golden render is short."""
    rules = [path.read_text(encoding="utf-8") for path in sorted(CHART.glob("files/rules*.yaml"))]
    shipped = [group["name"] for text in rules for group in yaml.safe_load(text)["groups"]]
    for thing in things:
        for name, text in thing.get("data", {}).items():
            path = CHART / "files" / "dashboards" / name
            if path.is_file() and path.read_text(encoding="utf-8") == text:
                thing["data"][name] = f"the text of {name}"
        if thing["kind"] == "PrometheusRule":
            groups = thing["spec"]["groups"]
            thing["spec"]["groups"] = [group["name"] if group["name"] in shipped else group for group in groups]
    return things


def golden(case: str) -> str:
    """What a case renders to under Helm 4, as it is kept."""
    return yaml.safe_dump_all(
        shortened(render("4.3", "--values", str(VALUES / f"{case}.yaml"))), sort_keys=True, width=140
    )


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name in cases():
        (GOLDEN / f"{name}.yaml").write_text(golden(name), encoding="utf-8")
