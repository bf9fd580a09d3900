"""What the conformance suite needs to know of one endpoint. `tests/sources/<vendor>/<vendor>_cases.py` exports `CASES`.

CASES = [SourceCase(name="mor.user_calls", endpoint=..., window=..., page=..., empty=..., declared={...}, undeclared={...})]
"""

import importlib.util
import itertools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import msgspec

from poller.model import Ask, Page, Window
from poller.protocols import Endpoint

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class SourceCase:
    """One endpoint with a good answer of at least two different records."""

    name: str
    endpoint: Endpoint
    window: Window
    page: bytes
    """A whole answer to the first page of `window`; at least two records, ended by its document's last byte."""
    empty: bytes
    """The vendor's answer for no records."""
    declared: Mapping[str, object]
    """Top-level fields of the first record whose change is an update, with another value than the page has."""
    undeclared: Mapping[str, object]
    """Fields whose change is none (money among them, where the vendor shows any); they may be absent from the record."""
    required: frozenset[str] = frozenset()
    """Fields without which a record may be refused with BadRecord."""
    ask: Ask = field(default_factory=Ask)
    empty_body: bool = False
    """Whether an answer without any byte means no records (FonoUC)."""

    def __str__(self) -> str:
        """The test's id."""
        return self.name


def read(
    case: SourceCase, body: bytes, cursor: str | None = None, *, cuts: tuple[int, ...] = ()
) -> tuple[list[bytes], Page, int | None]:
    """Feeds an answer in chunks cut at `cuts`: all records, how it ended, the offset that the answer showed."""
    reading = case.endpoint.reading(case.ask, case.window, cursor)
    records: list[bytes] = []
    edges = [0, *sorted({min(max(cut, 0), len(body)) for cut in cuts}), len(body)]
    for begin, end in itertools.pairwise(edges):
        records += reading.feed(body[begin:end])
    page = reading.close()
    return records + page.records, page, reading.offset


def changed(record: bytes, fields: Mapping[str, object]) -> bytes:
    """The record with other values in some of its top-level fields."""
    return msgspec.json.encode({**msgspec.json.decode(record, type=dict[str, msgspec.Raw]), **fields})


def without(record: bytes, name: str) -> bytes:
    """The record without one of its top-level fields."""
    found = msgspec.json.decode(record, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({key: value for key, value in found.items() if key != name})


def vendors() -> list[str]:
    """Every folder below poller/sources."""
    return sorted(folder.parent.name for folder in (ROOT / "poller" / "sources").glob("*/__init__.py"))


def load_cases(vendor: str) -> list[SourceCase]:
    """The vendor's cases, loaded by path: test folders are no packages."""
    path = ROOT / "tests" / "sources" / vendor / f"{vendor}_cases.py"
    return list(load_module(path).CASES)


def load_module(path: Path) -> ModuleType:
    """A test module by its path, once."""
    name = f"loaded_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None, path
        assert spec.loader is not None, path
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]
