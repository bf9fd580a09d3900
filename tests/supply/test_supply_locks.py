"""What is installed is what was looked at: every file by its hash, from nowhere but the index."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = [
    *sorted(ROOT.glob("requirements*.lock")),
    *sorted((ROOT / ".ci").glob("*.txt")),
    *sorted((ROOT / "benchmarks/peers").glob("*/requirements.lock")),
]
INSTALLS = [
    ROOT / "Makefile",
    ROOT / "Dockerfile",
    ROOT / ".ci/run",
    *sorted((ROOT / ".github/workflows").glob("*.yml")),
]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_is_known_by_its_hash(lock: Path) -> None:
    text = re.sub(r"\\\n\s*", " ", lock.read_text(encoding="utf-8"))
    wanted = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert wanted
    for line in wanted:
        assert re.match(r"[a-z0-9._-]+(\[[a-z0-9,_-]+\])?==[^ ]+ ", line), line
        assert "--hash=sha256:" in line, line
        assert "://" not in line, line


@pytest.mark.parametrize("place", INSTALLS, ids=lambda path: path.name)
def test_nothing_is_installed_without_its_hash(place: Path) -> None:
    text = re.sub(r"\\\n\s*", " ", place.read_text(encoding="utf-8"))
    for line in text.splitlines():
        if re.search(r"\bpip\b.* install\b", line):
            assert "--require-hashes" in line or "--no-deps" in line, line


def test_there_are_locks() -> None:
    assert {"requirements.lock", "requirements-image.lock", "requirements-build.lock"} <= {path.name for path in LOCKS}
    assert {"plain", "singer"} <= {path.parent.name for path in LOCKS}
