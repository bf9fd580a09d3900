"""Wheel and sdist hold the program and nothing else, are made again byte by byte, and the wheel works where nothing else is."""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from cached_wheels import kept_program
from licences_page import LOCK, pins, shipped

from poller.signing import hmac_text

ROOT = Path(__file__).resolve().parents[2]
KINDS = {".py", ".typed", ".json", ".svg", ".css", ".js", ".html", ".sql"}
"""Endings of the program's files."""
BESIDE = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", ".gitignore", "PKG-INFO"}
"""What the sdist has besides the program."""
NEEDED = {
    "poller/py.typed",
    "poller/contract/asyncapi.json",
    "poller/page/static/page.css",
    "poller/page/templates/status.html",
    "poller/stores/postgres/queries.sql",
    "poller/stores/sqlite/migrations/0001_first.sql",
}


def build(folder: Path, target: Path) -> Path:
    """Builds both from a folder."""
    run(sys.executable, "-m", "hatchling", "build", "-d", str(target), cwd=folder)
    return target


def run(*command: str, cwd: Path, **env: str) -> str:
    """Standard output of a command that must succeed; nothing of this checkout is on its way."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=kept | env, check=False, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


def wheel(folder: Path) -> Path:
    (found,) = folder.glob("*.whl")
    return found


def version() -> str:
    """As pyproject.toml has it."""
    said: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return said


def of_the_program() -> set[str]:
    """The files in the checkout that are the program's."""
    files = (path for path in (ROOT / "poller").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(ROOT)) for path in files}


def test_the_wheel_is_the_program(built: Path) -> None:
    names = zipfile.ZipFile(wheel(built)).namelist()
    ours = {name for name in names if ".dist-info/" not in name}
    assert ours == of_the_program() >= NEEDED
    assert {Path(name).suffix for name in ours} <= KINDS
    beside = {name.partition(".dist-info/")[2] for name in names} - {""}
    assert beside == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def test_the_sdist_is_the_program_and_makes_the_same_wheel(built: Path, tmp_path: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    unpacked = tmp_path / "unpacked"
    with tarfile.open(path) as sdist:
        files = {member.name.partition("/")[2]: sdist.extractfile(member) for member in sdist if member.isfile()}
        for name, file in files.items():
            assert file is not None
            (unpacked / name).parent.mkdir(parents=True, exist_ok=True)
            (unpacked / name).write_bytes(file.read())
    assert set(files) == of_the_program() | BESIDE
    again = build(unpacked, tmp_path / "again")
    assert wheel(again).read_bytes() == wheel(built).read_bytes()


@pytest.fixture(scope="module")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the lock names and the wheel, and nothing else, away from the checkout."""
    tmp_path = tmp_path_factory.mktemp("away")
    place = tmp_path / "env"
    run(sys.executable, "-m", "venv", "--without-pip", str(place), cwd=tmp_path)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(place / "bin/python"), "install")
    lock = ("--require-hashes", "--only-binary", ":all:", "-r", str(ROOT / "requirements-image.lock"))
    run(*pip, "--quiet", "--no-compile", *lock, cwd=tmp_path)
    run(*pip, "--quiet", "--no-compile", "--no-deps", "--no-index", str(wheel(built)), cwd=tmp_path)
    return place


@pytest.mark.slow
def test_the_wheel_works_where_nothing_else_is(environment: Path, tmp_path: Path) -> None:
    poller = str(environment / "bin/poller")
    assert run(poller, "--version", cwd=tmp_path) == f"poller {version()}\n"
    example = (ROOT / "config/poller.yaml").read_text(encoding="utf-8")
    (tmp_path / "secret").write_text("of the tests", encoding="utf-8")
    (tmp_path / "poller.yaml").write_text(example.replace("/run/secrets/thulium", "secret"), encoding="utf-8")
    secrets = dict.fromkeys(re.findall(r"\{env: (\w+)\}", example), hmac_text(bytes(32)))
    assert run(poller, "validate", cwd=tmp_path, **secrets)
    for contract in ("call", "recording", "asyncapi"):
        kept = (ROOT / "poller/contract" / f"{contract}.json").read_text(encoding="utf-8")
        assert run(poller, "schema", contract, cwd=tmp_path).strip() == kept.strip()
    asked = "import poller, poller.page.routes, poller.stores.sqlite, poller.stores.postgres; print(poller.__file__)"
    assert run(str(environment / "bin/python"), "-c", asked, cwd=tmp_path).startswith(str(environment))


@pytest.mark.slow
def test_what_is_listed_of_an_image_is_what_is_locked(environment: Path, tmp_path: Path) -> None:
    """By the program that lists it in a release."""
    pinned = re.search(r"^(\S+)==(\S+) .*\n +--hash=sha256:(\w+)$", (ROOT / ".ci/syft.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    program = kept_program(pinned[1], pinned[2], pinned[3], "syft")
    quiet = {"SYFT_CHECK_FOR_APP_UPDATE": "false", "HOME": str(tmp_path)}
    told = run(
        str(program), "scan", f"dir:{environment}", "--quiet", "--output", "cyclonedx-json", cwd=tmp_path, **quiet
    )
    listed = {(part["name"], part["version"]) for part in json.loads(told)["components"] if part["type"] == "library"}
    locked = {(pin.name, pin.version) for pin in pins(LOCK.read_text(encoding="utf-8")) if shipped(pin)}
    assert listed == locked | {("poller", version())}
