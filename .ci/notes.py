"""Prints what CHANGELOG.md says of a version: `python .ci/notes.py 1.2.3`. Refuses one that is not the package's, or has no date yet."""

import re
import sys
import tomllib
from pathlib import Path


class Refused(Exception):
    """Why there are no notes."""


def notes(changelog: str, version: str) -> str:
    """The text below the version's heading, `## 1.2.3 (2026-12-01)`, up to the next one."""
    found = re.search(rf"^## {re.escape(version)} \(([^)\n]*)\)\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if found is None:
        raise Refused(f"CHANGELOG.md has no heading `## {version} (DATE)`")
    if re.fullmatch(r"\d{4}-\d\d-\d\d", found[1]) is None:
        raise Refused(f"CHANGELOG.md has `{found[1]}` where the date of {version} belongs: write it as 2026-12-01")
    if not found[2].strip():
        raise Refused(f"CHANGELOG.md says nothing about {version}")
    return found[2].strip() + "\n"


def released(root: Path, version: str) -> str:
    """The notes, where the tag and the package have the same version."""
    own = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    if version != own:
        raise Refused(f"the tag says {version}, pyproject.toml {own}: set both alike")
    return notes((root / "CHANGELOG.md").read_text(encoding="utf-8"), version)


def main(root: Path, version: str) -> int:
    """The exit code."""
    try:
        print(released(root, version), end="")
    except Refused as why:
        print(f"no release notes: {why}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path.cwd(), sys.argv[1]))
