"""Fails when a test that needs the real broker, PostgreSQL, Node.js, Go, Helm, Prometheus, Chromium, valgrind or the building of images was skipped, or when no broker test ran."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def judge(report: Path) -> tuple[int, list[str]]:
    """How many broker tests ran, and what was skipped although it must not be.

    A skip without the property `kafka` happened while tests were collected, so broker tests may be hidden behind it.
    """
    ran, wrong = 0, []
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 our own test run wrote it
        said = {each.get("name"): each.get("value") for each in case.iter("property")}
        needs = (
            "yes"
            if "yes"
            in {
                said.get(name)
                for name in ("kafka", "postgres", "node", "go", "helm", "prometheus", "image", "browser", "valgrind")
            }
            else said.get("kafka")
        )
        skip = case.find("skipped")
        if skip is None:
            ran += said.get("kafka") == "yes"
        elif needs != "no":
            wrong.append(
                f"{case.get('classname')}::{case.get('name')}: {skip.get('message')} {skip.text or ''}".strip()
            )
    return ran, wrong


def main(report: str) -> int:
    """The exit code."""
    ran, wrong = judge(Path(report))
    for line in wrong:
        print(f"skipped: {line}", file=sys.stderr)
    if wrong or not ran:
        print(f"{len(wrong)} skipped that must not be; {ran} broker tests ran", file=sys.stderr)
        return 1
    print(f"{ran} broker tests ran, none was skipped")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
