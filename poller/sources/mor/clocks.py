"""Pure: MOR's local times to instants. MOR shows server-local time and echoes the period that it understood (BEHAVIOUR 1.3)."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from poller.errors import ClockChange, FilterIgnored
from poller.model import Precision, Window

QUARTER = 900
FARTHEST = 14 * 3600
_DOUBLED = (3600, 1800, 7200)
"""What a clock is put back by, commonest first."""
_RINGING = 300
"""A routing attempt begins this much after its channel at most."""


def learn_offset(sent: Window, begin: int | None, end: int | None) -> int:
    """The vendor's offset from the echoed period (local seconds). Raises ClockChange or FilterIgnored."""
    if begin is None or end is None:
        raise FilterIgnored("MOR echoes a period that cannot be read, so nobody knows what it looked at")
    first, last = begin - sent.begin, end - sent.end
    if first % QUARTER or last % QUARTER or max(abs(first), abs(last)) > FARTHEST:
        raise FilterIgnored(
            "MOR looked at another period than it was asked for "
            f"({_show(begin)} to {_show(end)} local time instead of {_show(sent.begin)} to {_show(sent.end)} UTC); "
            "it falls back to today when it does not like a parameter: compare `version` with the vendor's"
        )
    if first != last:
        raise ClockChange(f"MOR's clock changed inside the window ({first} s and {last} s from UTC)")
    return first


def instant(local: int, seen: int | None, offset: int | None, zone: ZoneInfo | None) -> tuple[int | None, Precision]:
    """The UTC second of a local one, and how sure it is. `seen`: the second in the uniqueid, which tells doubled hours apart."""
    if offset is not None:
        return _corrected(local - offset, seen), "second"
    if zone is not None:
        return _in_zone(local, seen, zone)
    if seen is not None and (guess := _guess(local, seen)) is not None:
        return local - guess, "second"
    return None, "second"


def _corrected(at: int, seen: int | None) -> int:
    """The learnt offset is that of the window's ends; in a doubled hour the filter also returns the other hour's calls."""
    if seen is None or -_RINGING <= seen - at <= 2:
        return at
    for step in _DOUBLED:
        for moved in (at + step, at - step):
            if -_RINGING <= seen - moved <= 2:
                return moved
    return at


def _in_zone(local: int, seen: int | None, zone: ZoneInfo) -> tuple[int, Precision]:
    wall = datetime.fromtimestamp(local, UTC).replace(tzinfo=zone)
    both = sorted({int(wall.replace(fold=fold).timestamp()) for fold in (0, 1)})
    if len(both) == 1:
        return both[0], "second"
    if seen is None:
        return both[0], "hour"
    return min(both, key=lambda at: abs(at - seen)), "second"


def _guess(local: int, seen: int) -> int | None:
    """The offset that makes a local second and a uniqueid agree, where one does."""
    offset = round((local - seen) / QUARTER) * QUARTER
    return offset if abs(offset) <= FARTHEST and -2 <= local - offset - seen <= _RINGING else None


def _show(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
