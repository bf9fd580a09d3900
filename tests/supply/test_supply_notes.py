"""The notes of a release are the changelog's own words, and every place names the same version."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHANGELOG = """\
# Changelog

## 1.2.0 (not released yet)

- To come.

## 1.1.0 (2026-12-01)

- A `thing`,
  in two lines.

- Another.

## 1.10.0 (2026-11-01)

- Not this one.

## 1.0.0 (2026-10-01)

"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    return tmp_path


def notes(place: Path, version: str, own: str = "") -> tuple[int, str]:
    """Exit code and words of the script for a tag, where the package has a version of its own."""
    (place / "pyproject.toml").write_text(f'[project]\nversion = "{own or version}"\n', encoding="utf-8")
    command = [sys.executable, str(ROOT / ".ci/notes.py"), version]
    done = subprocess.run(command, cwd=place, check=False, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_the_section_of_a_version(place: Path) -> None:
    assert notes(place, "1.1.0") == (0, "- A `thing`,\n  in two lines.\n\n- Another.\n")


@pytest.mark.parametrize(
    ("version", "own", "why"),
    [
        ("1.2.0", "", "`not released yet` where the date of 1.2.0 belongs"),
        ("1.0.0", "", "says nothing about 1.0.0"),
        ("1x1.0", "", "no heading"),
        ("3.0.0", "", "no heading `## 3.0.0 (DATE)`"),
        ("1.1.0", "1.2.0", "the tag says 1.1.0, pyproject.toml 1.2.0"),
    ],
)  # fmt: skip
def test_what_is_refused(place: Path, version: str, own: str, why: str) -> None:
    code, said = notes(place, version, own)
    assert code == 1
    assert why in said


def test_the_next_release_has_notes(tmp_path: Path) -> None:
    """The real changelog with a date in place of what stands there now."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text(text.replace("(not released yet)", "(2026-12-01)"), encoding="utf-8")
    code, said = notes(tmp_path, version())
    assert code == 0, said
    assert said.startswith("- ")


def version() -> str:
    said: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return said


def test_every_place_names_the_same_version() -> None:
    (newest, *_) = re.findall(r"^## (\S+) \(", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    chart = yaml.safe_load((ROOT / "helm/poller/Chart.yaml").read_text(encoding="utf-8"))
    (image,) = re.findall(r"^ARG VERSION=(\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {newest, str(chart["version"]), str(chart["appVersion"]), image} == {version()}


def test_make_dist_builds_what_is_released() -> None:
    """It is the pinned builder's; here it is only looked at, since it fetches it."""
    make = shutil.which("make")
    assert make is not None
    shown = subprocess.run(
        [make, "-n", "dist"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    ).stdout
    assert "--require-hashes -r requirements-build.lock" in shown
    assert "hatchling build" in shown
