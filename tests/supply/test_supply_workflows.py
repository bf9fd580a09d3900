"""The workflows, which only run elsewhere: linted, pinned, with no right that they do not need."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cached_wheels import kept_program
from go_programs import installed

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
ZIZMOR = ("zizmor", "1.32.0", "84a6acb975accc13408786a2bd274b572537ca19c933ebbc13e78f3988562071")
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.7"
PINNED = re.compile(r"uses: [\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
UNPINNED = "uses: actions/checkout@v6"


def said(*command: str | Path) -> tuple[int, str]:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return found


def test_actions_are_pinned_by_commit() -> None:
    lines = [line.strip(" -") for path in FILES for line in path.read_text(encoding="utf-8").splitlines()]
    used = [line for line in lines if line.startswith("uses: ") and not line.startswith("uses: ./")]
    assert len(used) >= 4
    assert [line for line in used if PINNED.fullmatch(line) is None] == []
    assert PINNED.fullmatch(UNPINNED) is None


def test_nothing_that_builds_may_write() -> None:
    writers = set()
    for path in FILES:
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["permissions"] == {}
        for name, job in jobs(path).items():
            if set(job["permissions"].values()) != {"read"}:
                writers.add(name)
                assert {step.get("uses", "").partition("@")[0] for step in job["steps"]} <= {
                    "",
                    "actions/download-artifact",
                }
    assert writers == {"publish"}


def test_a_release_is_what_was_proved() -> None:
    release = jobs(FOLDER / "release.yml")
    assert release["prove"]["uses"] == "./.github/workflows/ci.yml"
    assert set(release["publish"]["needs"]) == {"prove", "build"}
    assert ".ci/run" in [step.get("run") for step in jobs(FOLDER / "ci.yml")["prove"]["steps"]]


def test_zizmor(tmp_path: Path) -> None:
    program = kept_program(*ZIZMOR, "zizmor")
    code, told = said(program, "--offline", "--no-config", "--quiet", FOLDER)
    assert code == 0, told
    text = (FOLDER / "ci.yml").read_text(encoding="utf-8")
    (tmp_path / "ci.yml").write_text(re.sub(r"uses: \S+", UNPINNED, text), encoding="utf-8")
    assert said(program, "--offline", "--no-config", "--quiet", tmp_path / "ci.yml")[0] != 0


@pytest.mark.go
def test_actionlint(tmp_path: Path) -> None:
    program = installed(ACTIONLINT, "actionlint")
    code, told = said(program, "-no-color", "-shellcheck=", "-pyflakes=", *FILES)
    assert (code, told) == (0, "")
    text = (FOLDER / "ci.yml").read_text(encoding="utf-8")
    (tmp_path / "ci.yml").write_text(text.replace("github.ref", "github.reff"), encoding="utf-8")
    assert said(program, "-no-color", tmp_path / "ci.yml")[0] != 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_run_is_bash(path: Path) -> None:
    """And no value of an event is put into the text of a script: it comes as a variable. A part of a pipe that fails ends it."""
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["defaults"] == {"run": {"shell": "bash"}}
    scripts = [step["run"] for job in jobs(path).values() for step in job.get("steps", ()) if "run" in step]
    assert scripts
    for script in scripts:
        assert "${{" not in script
        done = subprocess.run(["bash", "-n"], input=script, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
