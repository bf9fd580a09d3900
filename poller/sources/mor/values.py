"""Pure: MOR's texts to values. What cannot be understood is None; the callers decide whether that matters."""

import re
from calendar import timegm
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache

_ISO_OFFSET = re.compile(r"\s*(?:GMT|UTC|Z)?\s*(?:([+-])(\d{1,2}):?(\d{2}))?\s*\Z", re.IGNORECASE)
_GUI = re.compile(
    r"\s*(\d{1,4})[-/.,](\d{1,2})[-/.,](\d{1,4})[ T]+(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\.\d+)?(.*)", re.DOTALL
)
_UNIQUEID = re.compile(r"(?:.*-)?(\d{9,10})\.\d+\Z")
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d{1,2})\Z")
LONGEST = 64
"""Characters of the longest text that may be a date."""
_YEARS = range(1990, 2200)

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 local wall-clock seconds are counted, not instants


def local_second(text: str, *, day_first: bool = True) -> int | None:
    """The wall-clock second that a date names, counted as if it were UTC. `YYYY-MM-DD HH:MM:SS`, and the formats of X3's GUI setting."""
    if len(text) == 19 and text[4] == "-":
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            return None
        return int((at - EPOCH).total_seconds()) if at.year in _YEARS else None
    found = dated(text, day_first=day_first)
    return found[0] if found else None


@lru_cache(maxsize=64)
def dated(text: str, *, day_first: bool = True) -> tuple[int, int | None] | None:
    """(wall-clock second, UTC offset where the text names one): `2009-01-01 00:00:04 +0200`, `… UTC`, or plain."""
    match = _GUI.match(text.strip()) if len(text) <= LONGEST else None
    if match is None:
        return None
    first, second, third, hour, minute, seconds = (int(part or 0) for part in match.groups()[:6])
    if len(match[1]) == 4:
        year, month, day = first, second, third
    else:
        year = third
        swap = second > 12 or (first <= 12 and not day_first)
        month, day = (first, second) if swap else (second, first)
    if year not in _YEARS:
        return None
    try:
        at = datetime(year, month, day, hour, minute, seconds, tzinfo=UTC)
    except ValueError:
        return None
    return timegm(at.utctimetuple()), offset_of(match[7])


def offset_of(text: str) -> int | None:
    """`+0200`, `GMT +02:00`, `GMT +0000`, `UTC` → seconds east of UTC."""
    match = _ISO_OFFSET.match(text.strip()) if len(text) <= LONGEST else None
    if match is None or not text.strip():
        return None
    if match[1] is None:
        return 0
    seconds = int(match[2]) * 3600 + int(match[3]) * 60
    return -seconds if match[1] == "-" else seconds


def uniqueid_epoch(uniqueid: str) -> int | None:
    """The UTC second in an Asterisk uniqueid (`epoch.seq`, or `name-epoch.seq`), when the channel was made (BEHAVIOUR 1.3)."""
    match = _UNIQUEID.match(uniqueid)
    return int(match[1]) if match else None


def number(text: str | None) -> str:
    """The normal form of a figure: `196.0`, `196` and ` 196 ` are one; an empty text stays empty, words stay words."""
    if not text or text.isdecimal():
        return (text or "").lstrip("0") or ("0" if text else "")
    try:
        figure = Decimal(text.strip())
    except InvalidOperation:
        return text.strip()
    if not figure.is_finite() or abs(figure.adjusted()) > 30:
        return text.strip()
    plain = f"{figure:f}"
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if plain in {"-0", ""} else plain


def figure(text: str | None) -> float | None:
    """A figure that is not negative; None for anything else."""
    plain = number(text)
    try:
        value = float(plain) if plain else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 1e15 else None


def seconds_of(text: str | None) -> float | None:
    """`HH:MM:SS`, `MM:SS` with minutes over 59 (the GUI's time format), or plain seconds (BEHAVIOUR 1.4)."""
    match = _CLOCK.match((text or "").strip())
    if match is None:
        return figure(text)
    if len(match[1] or "") > 9 or len(match[2]) > 9:
        return None
    return float(int(match[1] or 0) * 3600 + int(match[2]) * 60 + int(match[3]))


def disposition_of(text: str) -> tuple[str, int | None]:
    """`ANSWERED(16)` → (`ANSWERED`, 16); simple users see no cause."""
    words, _, cause = text.strip().rpartition("(")
    if words and cause.endswith(")") and cause[:-1].isdecimal() and len(cause) < 6:
        return words.strip().upper(), int(cause[:-1])
    return text.strip().upper(), None


def caller(text: str) -> tuple[str | None, str | None]:
    """(name, number) of an Asterisk caller id: `"Name" <123>`, `Name <123>`, `123`."""
    text = text.strip()
    if not text.endswith(">") or "<" not in text:
        return None, text or None
    name, _, number_ = text[:-1].rpartition("<")
    name = name.strip()
    if len(name) > 1 and name.startswith('"') and name.endswith('"'):
        name = name[1:-1].strip()
    return name or None, number_.strip() or None
