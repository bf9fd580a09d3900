"""Programs in Go, built with the modules that their go.sum names."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from cached_wheels import cache

NEEDED = 21
"""Of Go 1.x: what the published library for signatures asks for."""
_ENVIRONMENT = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}


def build(folder: Path, target: Path) -> Path:
    """The program of a folder, built. Skips where there is no Go, an older one, or no way to the modules."""
    if shutil.which("go") is None:
        pytest.skip("NOT CHECKED WITH GO: there is no go on the PATH")
    version = _go(folder, "version").stdout
    found = re.search(r"go1\.(\d+)", version)
    if found is not None and int(found[1]) < NEEDED:
        pytest.skip(f"NOT CHECKED WITH GO: 1.{NEEDED} is needed, this is {version.strip()}")
    fetched = _go(folder, "mod", "download")
    if fetched.returncode:
        pytest.skip(f"NOT CHECKED WITH GO: no way to the modules: {fetched.stderr.strip()[-300:]}")
    for step in (["vet", "."], ["build", "-o", str(target), "."]):
        done = _go(folder, *step)
        assert done.returncode == 0, done.stderr
    return target


def _go(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | _ENVIRONMENT
    return subprocess.run(
        ["go", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=500, check=False
    )


def installed(package: str, name: str) -> Path:
    """A program at a version (`example.org/x/cmd/x@v1.2.3`), built once into the cache. Skips where there is no Go or no way to it."""
    if shutil.which("go") is None:
        pytest.skip("NOT CHECKED WITH GO: there is no go on the PATH")
    place = cache() / f"{name}-{package.rpartition('@')[2]}"
    if not place.is_file():
        with tempfile.TemporaryDirectory(dir=cache()) as folder:
            environment = os.environ | _ENVIRONMENT | {"GOBIN": folder, "GOFLAGS": "-buildvcs=false"}
            command = ["go", "install", package]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=550, check=False)
            if done.returncode:
                pytest.skip(f"NOT CHECKED WITH {name}: {done.stderr.strip()[-300:]}")
            (Path(folder) / name).replace(place)  # whole or not at all: another run may be at it
    return place
