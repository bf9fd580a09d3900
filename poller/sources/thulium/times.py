"""Thulium's times: local, to the minute; and the instant inside a connection_id (BEHAVIOUR 2.1)."""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from poller.model import Precision, Window, utc

MINUTE = 60
DAY = 86_400
EARLIEST = 631_152_000  # 1990
LATEST = 4_102_444_800  # 2100

_ID = re.compile(r"(?:^|-)([0-9]{9,10})\.[0-9]+$")


def bounds(window: Window, zone: ZoneInfo) -> tuple[str, str]:
    """`date_from` and `date_to` with explicit minutes: whether they are inclusive is not documented, so the end is padded.

    A window lies between two clock changes, and both ends are written with its own offset, so that they never run backwards;
    should it span a change all the same, the wider reading of each end is asked for.
    """
    begin, end = utc(window.begin), utc(window.end + MINUTE + (MINUTE - 1) - (window.end + MINUTE - 1) % MINUTE)
    inside = utc(max(window.begin, window.end - 1))
    offsets = [moment.astimezone(zone).utcoffset() or timedelta() for moment in (begin, inside)]
    return f"{begin + min(offsets):%Y-%m-%d %H:%M}", f"{end + max(offsets):%Y-%m-%d %H:%M}"


def instants(text: str, zone: ZoneInfo) -> list[int]:
    """The epochs that a local time can mean: two in the doubled hour, none where it is no sane date."""
    try:
        found = datetime.fromisoformat(text.strip())
        folds = [found] if found.tzinfo else [found.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
        epochs = sorted({int(moment.timestamp()) for moment in folds})
    except (ValueError, OverflowError):
        return []
    return [epoch for epoch in epochs if EARLIEST <= epoch < LATEST]


def id_instant(connection_id: str) -> int | None:
    """The start of the call, UTC, as the id carries it."""
    match = _ID.search(connection_id)
    return int(match[1]) if match and EARLIEST <= int(match[1]) < LATEST else None


def resolve(epochs: list[int], hint: int | None) -> int | None:
    """The reading of a local time that fits the id's instant; the earlier one where there is no hint."""
    if hint is None or not epochs:
        return epochs[0] if epochs else None
    return min(epochs, key=lambda epoch: abs(epoch - hint))


def sure(epochs: list[int], hint: int | None) -> int | None:
    """The same where it is no guess: a call dated an hour too early would be taken for one from before `start`."""
    return None if hint is None and len(epochs) > 1 else resolve(epochs, hint)


def start(epochs: list[int], text: str, hint: int | None) -> tuple[int | None, Precision]:
    """When a call began: the id's instant where it does not contradict the date by more than a day, else the date."""
    if hint is not None and (not epochs or abs(epochs[0] - hint) <= DAY):
        return hint, "second"
    if not epochs:
        return None, "minute"
    if len(epochs) > 1:
        return epochs[0], "hour"
    return epochs[0], "second" if text.count(":") > 1 else "minute"
