"""How many series a process may show at most: the numbers of docs/operating.md."""

import re
from pathlib import Path

OPERATING = Path(__file__).resolve().parents[2] / "docs" / "operating.md"
_FORMULA = re.compile(
    r"`(\d+)\s\S\slists \+ (\d+)\s\S\ssources \+ (\d+)\s\S\skinds of list \+ (\d+)\s\S\ssinks \+ (\d+)`"
)


def bound(*, lists: int, sources: int, kinds: int, sinks: int) -> int:
    """What the page promises. `lists`: of all sources together; `kinds`: as `mor.user_calls`, and one for logging in."""
    found = _FORMULA.search(OPERATING.read_text(encoding="utf-8"))
    assert found is not None, "docs/operating.md has no formula"
    a_list, source, kind, sink, process = map(int, found.groups())
    return a_list * lists + source * sources + kind * kinds + sink * sinks + process


def count(text: str) -> int:
    """Series of a page of metrics."""
    return sum(bool(line) and not line.startswith("#") for line in text.splitlines())
