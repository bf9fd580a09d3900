"""Golden pages: `tests/sources/<vendor>/golden/<endpoint>--<name>.json` with what was read from it beside, in `.expected`.

`python tests/support/golden_pages.py --write` writes the expectations anew; look at the difference before keeping it.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec
from source_case import ROOT, SourceCase, load_cases, read

from poller.errors import PollerError
from poller.model import CallData, RecordingData

VENDORS = ("fonouc", "thulium")


def pages() -> list[tuple[str, Path]]:
    """Every golden page with its vendor."""
    return [(vendor, page) for vendor in VENDORS for page in sorted(folder(vendor).glob("*--*.json"))]


def folder(vendor: str) -> Path:
    """Where a vendor's pages are."""
    return ROOT / "tests" / "sources" / vendor / "golden"


def case_of(vendor: str, page: Path) -> SourceCase:
    """The endpoint that the page's name says."""
    name = f"{vendor}.{page.name.partition('--')[0]}"
    return next(case for case in load_cases(vendor) if case.name == name)


def describe(vendor: str, page: Path) -> str:
    """What is read from a page, as JSON for people."""
    case = case_of(vendor, page)
    try:
        records, ended, offset = read(case, page.read_bytes())
    except PollerError as error:
        found: dict[str, Any] = {"error": {"reason": error.reason, "message": str(error)}}
    else:
        found = {
            "page": {"next": ended.next, "cut": ended.cut, "total": ended.total, "suspicions": ended.suspicions},
            "records": [_record(case, record, offset) for record in records],
        }
    return msgspec.json.format(msgspec.json.encode(found), indent=1).decode() + "\n"


def _record(case: SourceCase, record: bytes, offset: int | None) -> dict[str, Any]:
    normal = case.endpoint.normalise(record, offset)
    return {
        "raw": record.decode(),
        "keys": case.endpoint.keys(record, offset),
        "subject": normal.subject,
        "time": normal.time,
        "partition_key": normal.partition_key,
        "data": _without_vendor(normal.data),
        "mentions": [{"id": mention.id, "day": mention.day, "data": mention.data} for mention in normal.mentions],
    }


def _without_vendor(data: CallData | RecordingData) -> CallData | RecordingData:
    """The raw record stands beside it already."""
    return msgspec.structs.replace(data, vendor=None)


def main() -> None:
    """Compares, or with `--write` writes."""
    for vendor, page in pages():
        expected = page.with_suffix(".expected")
        text = describe(vendor, page)
        if "--write" in sys.argv[1:]:
            expected.write_text(text, encoding="utf-8")
        print(f"{page.name}: {'same' if expected.exists() and expected.read_text('utf-8') == text else 'DIFFERS'}")


if __name__ == "__main__":
    main()
