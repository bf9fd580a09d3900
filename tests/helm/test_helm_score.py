"""What kube-score finds in the golden renders: nothing but what is meant so."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from go_programs import installed
from helm_renders import GOLDEN

pytestmark = [pytest.mark.helm, pytest.mark.go, pytest.mark.slow]

SCORE = "github.com/zegl/kube-score/cmd/kube-score@v1.20.0"
GOOD = 10
MEANT = {
    "container-resources": "no limit of CPU: being throttled is what makes a poller late",
    "container-image-pull-policy": "versions and digests do not change",
    "deployment-has-host-podantiaffinity": "spread over nodes by topologySpreadConstraints",
}


def found(path: Path) -> set[tuple[str, str]]:
    """(kind, check) of what is not well."""
    done = subprocess.run(
        [installed(SCORE, "kube-score"), "score", "--output-format", "json", path],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    things: list[dict[str, Any]] = json.loads(done.stdout)
    assert things, done.stderr
    return {
        (thing["type_meta"]["kind"], check["check"]["id"])
        for thing in things
        for check in thing["checks"]
        if not check["skipped"] and check["grade"] < GOOD
    }


@pytest.mark.parametrize("case", ["defaults", "sqlite", "postgres", "migrated", "page"])
def test_nothing_but_what_is_meant(case: str) -> None:
    faults = found(GOLDEN / f"{case}.yaml")
    assert faults, "it finds what is meant so, at least"
    assert {fault for fault in faults if fault[1] not in MEANT} == set()


def test_a_fault_is_found(tmp_path: Path) -> None:
    text = (GOLDEN / "defaults.yaml").read_text(encoding="utf-8")
    (tmp_path / "bad.yaml").write_text(
        text.replace("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"), encoding="utf-8"
    )
    assert ("StatefulSet", "container-security-context-readonlyrootfilesystem") in found(tmp_path / "bad.yaml")
