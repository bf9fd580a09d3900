"""Where one of those that are compared works, and how one that has an environment of its own gets it. Not a benchmark itself."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from used import Used

CACHE = Path(__file__).parent.parent / ".cache/peers"


class Missing(Exception):
    """It cannot be had on this machine; the message says why, in one line."""


@dataclass(frozen=True)
class Place:
    """`folder` outlives the runs, as a volume would; `begin` and `end`: Unix seconds of what is read, `records` of them."""

    folder: Path
    port: int
    begin: int
    end: int
    records: int
    bootstrap: str

    @property
    def url(self) -> str:
        """Of the vendor."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def topic(self) -> str:
        """Named as the folder is."""
        return f"{self.folder.name}.calls"


class Peer(Protocol):
    """One of those that are compared. It is made (with what it needs) or raises Missing."""

    name: str
    terms: str
    """In a line: how it was set up, and where its output goes."""
    into_kafka: bool

    def run(self, place: Place, until: Callable[[], bool] | None = None) -> Used:
        """Reads what the feed has, once; killed with SIGKILL as soon as `until` says so."""

    def published(self, place: Place) -> Counter[str]:
        """How often each record came out in all runs at this place, as its readers see it."""


def python(folder: Path) -> Path:
    """The interpreter of an environment with what the folder's requirements.lock names, made once. Raises Missing."""
    lock = folder / "requirements.lock"
    place = CACHE / f"{folder.name}-{hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]}"
    if not (place / "made").exists():
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        command = [
            place / "bin/python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
        ]
        done = subprocess.run([*command, "-r", lock], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Missing(f"its packages cannot be had: {last_line(done.stderr)}")
        (place / "made").touch()
    return place / "bin/python"


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """A file or folder in the cache of programs, whole or not at all: `make` makes it at a path that it is given."""
    cache = Path(os.environ.get("POLLER_CACHE") or Path.home() / ".cache/poller")
    place = cache / name
    if not place.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            made = Path(folder) / name
            make(made)
            made.rename(place)
    return place


def last_line(said: str) -> str:
    """Of what a program said, without what would break a line of the report."""
    return next((line.strip()[:200] for line in reversed(said.splitlines()) if line.strip()), "it said nothing")


def key(message: Any) -> str:
    """The record's name where the message's key is it."""
    return message.key.decode()
