"""How FonoUC cuts its lists into pages: month databases, descending order, inclusive keys of a second (BEHAVIOUR 3.4)."""

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from poller.simulate.fonouc_feed import GREGORIAN, month
from poller.simulate.things import Raw

Place = tuple[int, str]
"""(own time, id): the order of a listing."""


@dataclass(slots=True)
class Entry:
    """One visible row of a list."""

    own_time: int
    id: str
    month: str
    fields: Raw

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.own_time, self.id


@dataclass(slots=True)
class Cut:
    """One page."""

    entries: list[Entry]
    next_key: str


def months(begin: int, end: int) -> Iterator[str]:
    """The databases that are opened for a window."""
    at = datetime.fromtimestamp(begin, UTC).replace(day=1, hour=0, minute=0, second=0)
    last = month(end)
    while (name := at.strftime("%Y%m")) <= last:
        yield name
        at = at.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)


def cut(entries: list[Entry], size: int, key: str, *, opaque: bool) -> Cut:
    """All months together, newest first; the key is that of the first row that did not fit, and inclusive."""
    ordered = sorted(entries, key=lambda entry: entry.place, reverse=True)
    start = read_key(key, opaque=opaque)
    ordered = [entry for entry in ordered if start is None or entry.place <= start]
    rest = ordered[size : size + 1]
    return Cut(ordered[:size], write_key(rest[0], opaque=opaque) if rest else "")


def cut_by_month(entries: list[Entry], opened: list[str], size: int, key: str) -> Cut:
    """As 4.0 to 4.1 did: each month in full and the older first, so up to twice the size; one key survives for both."""
    page: list[Entry] = []
    survives = ""
    for name in opened:
        part = cut([entry for entry in entries if entry.month == name], size, key, opaque=False)
        page.extend(part.entries)
        survives = part.next_key or survives
    return Cut(page, survives)


def write_key(entry: Entry, *, opaque: bool) -> str:
    """A bare Gregorian second, or base64 of second and id in the fixed versions."""
    if not opaque:
        return str(entry.own_time + GREGORIAN)
    return base64.urlsafe_b64encode(json.dumps([entry.own_time + GREGORIAN, entry.id]).encode()).decode()


def read_key(key: str, *, opaque: bool) -> Place | None:
    """The place to begin at. Raises ValueError for a key that the server never gave."""
    if not key:
        return None
    if not opaque:
        return int(key) - GREGORIAN, "\U0010ffff"
    try:
        second, identity = json.loads(base64.urlsafe_b64decode(key))
    except (binascii.Error, json.JSONDecodeError, TypeError) as fault:
        raise ValueError("startKey is no key") from fault
    return int(second) - GREGORIAN, str(identity)
