"""The events that the golden pages of every vendor become."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import golden_pages
from mor_support import read_answer
from source_case import ROOT, load_module, read

from poller.errors import PollerError
from poller.event import Encoder, WindowCounts, WindowData, window_event
from poller.identity import Identity, window_key
from poller.keep import _as_normal
from poller.model import HOUR, Event, Kind, Window, utc
from poller.protocols import Endpoint

RECORDED = "2026-01-31T10:00:00.000Z"


class GoldenEvent(NamedTuple):
    """One event; `page` is the file that its record stands in."""

    endpoint: str
    page: Path
    event: Event
    mention: bool
    """Of a recording that only a call's record names."""


def golden_events() -> list[GoldenEvent]:
    """Every record of every page as an event, and every recording that a call names, in a stable order."""
    found: list[GoldenEvent] = []
    for endpoint, page, records, offset in _answers():
        for record in records:
            found += _events(endpoint, page, record, offset, len(found) + 1)
    return found


def golden_windows() -> list[GoldenEvent]:
    """An hour that was counted, and one of a list that does not show the time to count by."""
    counts = WindowCounts(new=12, updated=1, duplicate=340)
    return [
        _window("mor", "mor.user_calls", counts, 4_200.0, 21),
        _window("fonouc", "fonouc.cdrs", None, None, 22),
    ]


def _window(source: str, endpoint: str, counts: WindowCounts | None, late_by: float | None, seq: int) -> GoldenEvent:
    hour = Window(1_711_846_800, 1_711_846_800 + HOUR)
    data = WindowData(
        source=source, endpoint=endpoint, kind="call", from_=utc(hour.begin), until=utc(hour.end), counts=counts,
        late_by_seconds=late_by,
    )  # fmt: skip
    key = window_key(source, endpoint, hour)
    event = window_event(data, key, seq=seq, recorded=RECORDED, only=("crm",))
    return GoldenEvent(endpoint, Path("windows"), event, mention=False)


def _answers() -> Iterator[tuple[Endpoint, Path, list[bytes], int | None]]:
    for vendor, page in golden_pages.pages():
        case = golden_pages.case_of(vendor, page)
        try:
            records, _, offset = read(case, page.read_bytes())
        except PollerError:
            continue  # the page is an error's
        yield case.endpoint, page, records, offset
    golden: Any = load_module(ROOT / "tests/sources/mor/mor_golden.py")
    for name in golden.pages():
        endpoint = golden.endpoint_of(name)
        try:
            records, _, offset = read_answer(endpoint, [golden.page_bytes(name)])
        except PollerError:
            continue  # as above
        yield endpoint, golden.FOLDER / f"{name}.xml", records, offset


def _events(endpoint: Endpoint, page: Path, record: bytes, offset: int | None, first: int) -> Iterator[GoldenEvent]:
    source = page.parents[1].name
    normal = endpoint.normalise(record, offset)
    key = Identity(source, endpoint.kind).seen_key(endpoint.keys(record, offset))
    event = Encoder(source, endpoint.kind).event(normal, key, new=True, seq=first, recorded=RECORDED)
    yield GoldenEvent(endpoint.name, page, event, mention=False)
    kind: Kind = "recording"
    for seq, mention in enumerate(normal.mentions, first + 1):
        named = Identity(source, kind).mention_key(mention.id, mention.day)
        event = Encoder(source, kind).event(_as_normal(mention), named, new=True, seq=seq, recorded=RECORDED)
        yield GoldenEvent(endpoint.name, page, event, mention=True)
