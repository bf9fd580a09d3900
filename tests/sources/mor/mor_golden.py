"""The golden pages: what each recorded answer becomes. `python tests/sources/mor/mor_golden.py write` writes the expectations anew;
every change of them is read before it is committed.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from mor_support import mor_endpoint, read_answer

from poller.errors import PollerError
from poller.protocols import Endpoint

FOLDER = Path(__file__).parent / "golden"
VERSIONS = {"x3": "x3", "x5": "x5", "x8": "x8", "x11": "x11"}


def pages() -> list[str]:
    """The names of all golden pages."""
    return sorted(path.stem for path in FOLDER.glob("*.xml"))


def page_bytes(name: str) -> bytes:
    """A recorded answer."""
    return (FOLDER / f"{name}.xml").read_bytes()


def endpoint_of(name: str) -> Endpoint:
    """The list and the version that the page's name says."""
    which = next(which for which in ("user_calls", "local_calls", "recordings") if name.startswith(which))
    version = "x13" if which != "user_calls" else next((v for v in VERSIONS if f"_{v}_" in name), "x13")
    return mor_endpoint(which, version=version)


def result(name: str) -> dict[str, Any]:
    """What a page becomes: records, keys and events, or the error."""
    endpoint = endpoint_of(name)
    try:
        records, page, offset = read_answer(endpoint, [page_bytes(name)])
    except PollerError as error:
        return {"error": type(error).__name__, "message": str(error)}
    events = []
    for record in records:
        normal = endpoint.normalise(record, offset)
        assert bytes(normal.data.vendor or b"") == record
        normal.data.vendor = None
        events.append(msgspec.to_builtins(normal))
    seen: dict[str, Any] = msgspec.json.decode(
        msgspec.json.encode(
            {
                "offset": offset,
                "total": page.total,
                "suspicions": page.suspicions,
                "records": [msgspec.Raw(record) for record in records],
                "keys": [endpoint.keys(record, offset) for record in records],
                "events": events,
            }
        )
    )
    return seen


if __name__ == "__main__":
    if sys.argv[1:] != ["write"]:
        sys.exit("usage: mor_golden.py write")
    for page_name in pages():
        expected = msgspec.json.format(msgspec.json.encode(result(page_name)), indent=1)
        (FOLDER / f"{page_name}.json").write_bytes(expected + b"\n")
