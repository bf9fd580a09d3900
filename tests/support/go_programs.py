"""Programs in Go, built with the modules that their go.sum names."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

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
