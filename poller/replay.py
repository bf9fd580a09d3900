"""Pure: what a replay takes out of the log, and as what it goes in again."""

import math
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from poller.metrics import EVENT_TYPES
from poller.model import Event
from poller.options import read_start
from poller.outgoing import for_sink, renumbered

MOST_EVENTS = 50_000
"""Waiting events of a sink above which a replay waits."""
PART = 4
"""The part of a sink's `max_pending` that a replay may fill: a quarter, so that it neither pauses polling nor buries anything."""


def wanted(event: Event, sink: str, types: Collection[str]) -> bool:
    """Whether an entry of the log is sent again. Copies (a replay's, a dead letter's retry) are not: their original is, while it is kept."""
    if event.replay or event.seen is None:
        return False
    return for_sink(event, sink) and (not types or event.type in types)


def again(event: Event, seq: int, sink: str) -> Event:
    """The same event as entry `seq` of the log, for this sink alone."""
    return Event(
        event.id, event.type, event.source, event.subject, event.time, event.key, None, renumbered(event.body, seq),
        only=(sink,), replay=True,
    )  # fmt: skip


def has_room(events: int, size: int, limit: int | None) -> bool:
    """Whether a sink for which so many events, of so many bytes, wait can be given more. `limit`: its `max_pending`."""
    return events <= MOST_EVENTS and (limit is None or size <= limit // PART)


def types_of(patterns: Iterable[str]) -> tuple[str, ...]:
    """`telephony.call.*` → both types of calls. Raises ValueError with a sentence for one that no event has."""
    found: set[str] = set()
    for pattern in patterns:
        fitting = {kind for kind in EVENT_TYPES if fnmatchcase(kind, pattern)}
        if not fitting:
            raise ValueError(f"{pattern!r} is no type of event; there are: {', '.join(EVENT_TYPES)}")
        found |= fitting
    return tuple(sorted(found))


def moment(text: str, now: float) -> float:
    """`24h` before `now`, `now`, or a date with or without zone. Raises ValueError with a sentence."""
    try:
        at = read_start(text)
    except ValueError as error:
        raise ValueError(str(error).replace("is no start", "is no time")) from None
    return at if at > 0 else now + at


def as_option(at: float) -> str:
    """A time as `moment` reads it back, never later: whole milliseconds."""
    whole = datetime.fromtimestamp(math.floor(at), UTC)
    milliseconds = math.floor((at - math.floor(at)) * 1000)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"
