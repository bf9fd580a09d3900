"""Small programs for Node.js, with what `tests/node/package-lock.json` names installed once into the cache."""

import os
import shutil
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

import pytest
from cached_wheels import cache

FOLDER = Path(__file__).resolve().parents[1] / "node"
_NEEDED = ("package.json", "package-lock.json")


def run_node(program: str, given: str) -> str:
    """What a program of tests/node prints when it reads this. Skips where there is no Node.js, no npm or no way to packages."""
    place = placed(FOLDER / program)
    done = subprocess.run(["node", str(place)], input=given, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def placed(program: Path) -> Path:
    """A copy of a program that finds the packages. Skips as `run_node` does."""
    if lacking := [name for name in ("node", "npm") if shutil.which(name) is None]:
        pytest.skip(f"NOT CHECKED WITH NODE.JS: there is no {' and no '.join(lacking)} on the PATH")
    place = _installed() / program.name
    made = place.with_name(f"{program.name}.{os.getpid()}")
    shutil.copyfile(program, made)
    return made.replace(place)


def _installed() -> Path:
    """A folder with the packages; it is made beside and put in place whole, since another run may be at it."""
    digest = sha256(b"".join((FOLDER / name).read_bytes() for name in _NEEDED)).hexdigest()[:16]
    place = cache() / f"node-{digest}"
    if place.is_dir():
        return place
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        made = Path(folder) / "node"
        made.mkdir()
        for name in _NEEDED:
            shutil.copyfile(FOLDER / name, made / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=made, capture_output=True, text=True, timeout=500, check=False)
        if done.returncode:
            pytest.skip(f"NOT CHECKED WITH NODE.JS: npm could not install: {done.stderr.strip()[-300:]}")
        try:
            made.rename(place)
        except OSError:
            assert place.is_dir()
    return place
