"""Writes docs/licences.md: what the image installs, with version and licence, as the installed packages say themselves."""

import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import NamedTuple

from packaging.markers import Marker

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements-image.lock"
TARGET = ROOT / "docs" / "licences.md"

ALLOWED = {
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "LGPL-3.0-only",  # of a library that is used as it is, and can be replaced: it stands in its own files
    "MIT",
    "MIT-0",
    "MPL-2.0",  # of files that are not changed
    "PSF-2.0",
}
"""Licences under which a dependency may be shipped beside Apache-2.0."""

OTHER_NAMES = {
    "Apache 2": "Apache-2.0",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "License :: OSI Approved :: MIT License": "MIT",
}
"""What packages without a licence expression say, as an expression."""

READ = {"jinja2": "BSD-3-Clause", "uvloop": "Apache-2.0 OR MIT"}
"""Read in the package's own licence file, where its metadata name no licence, or one of two."""

INTRO = """\
# Licences

What does an installed poller consist of, and under which licences?

poller itself is Apache-2.0. Below is all that the image installs (`requirements-image.lock`), with the licence that each package
names. This page is generated (`make docs`); a dependency under another licence than these stops the tests. The texts of the licences are
in the packages (`*.dist-info` in the image). Packages with compiled parts also carry libraries: OpenSSL (Apache-2.0) in cryptography and
psycopg-binary, which has libpq (PostgreSQL), too; libxml2 and libxslt (MIT) in lxml. The Python image below has licences of its own.

| package | version | licence |
|---|---|---|
"""


class Pin(NamedTuple):
    """A line of the lock."""

    name: str
    version: str
    marker: str


def pins(lock: str) -> list[Pin]:
    """All packages of a lock file."""
    found = re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)(?: ; ([^\\\n]+?))? \\$", lock, re.MULTILINE)
    return [Pin(*each) for each in found]


def shipped(pin: Pin) -> bool:
    """Whether the image, which is Linux, installs it."""
    return not pin.marker or Marker(pin.marker).evaluate({"sys_platform": "linux", "platform_system": "Linux"})


def licence(name: str) -> str:
    """As an expression where one is known, else the package's own words. Raises `PackageNotFoundError`."""
    said = metadata(name)
    if name in READ:
        return READ[name]
    words = said["License-Expression"] or said["License"] or ", ".join(_classifiers(said.get_all("Classifier") or []))
    return OTHER_NAMES.get(words, words)


def _classifiers(all_of_them: list[str]) -> list[str]:
    return [each for each in all_of_them if each.startswith("License ::")]


def forbidden(expression: str) -> bool:
    """Whether no allowed licence can be chosen: `A OR B` needs one of them, `A AND B` both."""
    choices = expression.split(" OR ")
    return not any(set(choice.split(" AND ")) <= ALLOWED for choice in choices)


def text() -> str:
    """The page, whole. Raises `ValueError` where another version than the locked one is installed."""
    rows = [_row(pin) for pin in pins(LOCK.read_text(encoding="utf-8")) if shipped(pin)]
    return INTRO + "\n".join(rows) + "\n"


def _row(pin: Pin) -> str:
    try:
        here = metadata(pin.name)["Version"]
    except PackageNotFoundError:
        here = "no"
    if here != pin.version:
        raise ValueError(f"{pin.name} {pin.version} is locked, {here} version is installed: make environment")
    return f"| {pin.name} | {pin.version} | {licence(pin.name)} |"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
