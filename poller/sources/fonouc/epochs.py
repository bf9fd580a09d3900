"""FonoUC writes instants in several ways (BEHAVIOUR 3.2): Gregorian or Unix seconds, milliseconds, microseconds, Go's text."""

from datetime import datetime

from poller.jsontext import Text

GREGORIAN = 62_167_219_200
"""Gregorian seconds of 1970-01-01 (Kazoo's basics)."""

EARLIEST = 631_152_000  # 1990: nothing is older, a smaller number is a fault
LATEST = 4_102_444_800  # 2100


def epoch(value: Text) -> float | None:
    """Unix seconds of a number or its text, by magnitude; None where there is no sane instant in it."""
    if value is None or value == "":
        return None
    try:
        stamp = float(value)
    except (ValueError, OverflowError):
        return _go_text(str(value))
    if 6.2e10 < stamp < 7e10:
        stamp -= GREGORIAN
    elif stamp > 1e15:
        stamp /= 1e6
    elif stamp > 1e12:
        stamp /= 1e3
    return stamp if EARLIEST <= stamp < LATEST else None


def _go_text(text: str) -> float | None:
    """Go prints `2022-05-06 17:18:39 +0000 UTC`, with a fraction where there is one."""
    parts = text.split()
    try:
        if len(parts) >= 3:
            clock, _, fraction = parts[1].partition(".")
            moment = datetime.strptime(f"{parts[0]} {clock} {parts[2]}", "%Y-%m-%d %H:%M:%S %z").timestamp()
            moment += float(f"0.{fraction}") if fraction else 0.0
        else:
            found = datetime.fromisoformat(text)
            if found.tzinfo is None:
                return None
            moment = found.timestamp()
    except (ValueError, OverflowError):
        return None
    return moment if EARLIEST <= moment < LATEST else None
