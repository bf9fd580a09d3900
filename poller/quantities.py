"""Durations, sizes and instants as the configuration writes them, and the bounds of its values."""

import re
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_LONGEST = 100 * 365 * 86_400
_LARGEST = 1 << 60
_OLDEST = 946_684_800
_AHEAD = 366 * 86_400
"""Seconds from now: what begins later than that is a slip of the pen."""
_DURATION = r"^([0-9]+(\.[0-9]+)?)(ms|s|m|h|d|w)$"
_SIZE = r"^([0-9]+(\.[0-9]+)?)(B|KiB|MiB|GiB|KB|MB|GB)$"
_FREE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
"""How people write them who have not read how."""


# --- durations and sizes ---------------------------------------------------------------------------------------------


def read_duration(value: object) -> float:
    """`5m` → 300.0. Raises ValueError with a sentence."""
    match = re.fullmatch(_DURATION, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{_shown(value)} is no duration: {_duration_advice(value)}")
    seconds = float(match[1]) * _UNITS[match[3]]
    if seconds > _LONGEST:
        raise ValueError("is longer than 100 years")
    return seconds


def _duration_advice(value: object) -> str:
    number, unit = _parts(value)
    if number and not unit:
        return f"its unit is missing (ms, s, m, h, d, w), such as {number}s or {number}m"
    word = unit.lower()
    meant = next((short for short, long in _LONG_UNITS.items() if re.fullmatch(long, word)), None)
    if number and (meant or word in _UNITS):
        return f"write {number}{meant or word}"
    return "write a number with its unit (ms, s, m, h, d, w), such as 60s or 5m"


_LONG_UNITS = {
    "ms": "msecs?|millis|milliseconds?",
    "s": "secs?|seconds?",
    "m": "mins?|minutes?",
    "h": "hrs?|hours?",
    "d": "days?",
    "w": "weeks?",
}


def _size(value: object) -> int:
    match = re.fullmatch(_SIZE, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{_shown(value)} is no size: {_size_advice(value)}")
    size = float(match[1]) * _SIZES[match[3]]
    if size > _LARGEST:
        raise ValueError("is more than 1024 PiB")
    return int(size)


def _size_advice(value: object) -> str:
    number, unit = _parts(value)
    if number and not unit:
        return f"its unit is missing (B, KiB, MiB, GiB), such as {number}B or {number}MiB"
    meant = next((known for known in _SIZES if unit.lower() in {known.lower(), known[0].lower()}), None)
    if number and meant:
        return f"write {number}{meant}"
    return "write a number with its unit (B, KiB, MiB, GiB), such as 64MiB"


def _parts(value: object) -> tuple[str, str]:
    """The number and what follows it, or two empty texts."""
    match = None if isinstance(value, bool) else _FREE.fullmatch(str(value).strip())
    return (match[1], match[2]) if match else ("", "")


def _shown(value: object) -> str:
    """As YAML writes it, and not all of a long one."""
    if isinstance(value, str):
        text = repr(value)
    else:
        text = str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def show_duration(seconds: float) -> str:
    """Seconds as the configuration writes them: 300.0 → `5m`."""
    for unit, factor in sorted(_UNITS.items(), key=lambda item: -item[1]):
        if seconds >= factor and seconds % factor == 0:
            return f"{seconds / factor:.0f}{unit}"
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def show_size(size: int) -> str:
    """Bytes as the configuration writes them: 67108864 → `64MiB`."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


Duration = Annotated[
    float,
    BeforeValidator(read_duration),
    PlainSerializer(show_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _DURATION, "examples": ["60s", "5m", "24h"]}),
]
"""Seconds; written with a unit."""

Size = Annotated[
    int,
    BeforeValidator(_size),
    PlainSerializer(show_size, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _SIZE, "examples": ["64MiB", "2GiB"]}),
]
"""Bytes; written with a unit."""


# --- bounds ----------------------------------------------------------------------------------------------------------


class Between:
    """The bounds of a number, a duration or a size, both included; those of the last two are written as the file writes them.

    A JSON Schema cannot compare texts with units, so there they stand as `x-minimum` and `x-maximum`.
    """

    def __init__(self, least: float | str, most: float | str) -> None:
        self.least, self.most = least, most
        self._low, self._high = _read(least), _read(most)

    def _check(self, value: float) -> float:
        if not self._low <= value <= self._high:  # nan is not
            raise ValueError(f"must be from {self.least} to {self.most}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, inner: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401 the library's own signature
        """What there is, and then the bounds."""
        return core_schema.no_info_after_validator_function(self._check, inner(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, inner: GetJsonSchemaHandler) -> JsonSchemaValue:
        """What there is, with the bounds."""
        mark = "x-" if isinstance(self.least, str) else ""
        return {**inner(schema), f"{mark}minimum": self.least, f"{mark}maximum": self.most}


def _read(bound: float | str) -> float:
    if not isinstance(bound, str):
        return bound
    return _size(bound) if bound.endswith("B") else read_duration(bound)


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("must be longer than nothing")
    return seconds


PositiveDuration = Annotated[Duration, AfterValidator(_positive)]


# --- instants --------------------------------------------------------------------------------------------------------

_STARTS = "a duration such as 24h, or a date such as 2026-01-31"


def read_start(value: object, words: str = "now") -> float:
    """`24h` → -86400.0, `now` → 0.0, a date → its epoch (UTC where it names no zone). Raises ValueError with a sentence.

    `words`: those that may be written instead of a date, for the sentence.
    """
    if isinstance(value, datetime):
        at = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if at < _OLDEST:  # earlier instants would be read as `now` (0) or as a duration (negative)
            raise ValueError("is before the year 2000: write a date from then on")
        return at
    if value == "now":
        return 0.0
    if isinstance(value, str) and re.fullmatch(_DURATION, value):
        return -read_duration(value)
    try:
        date = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{_shown(value)} is no start: write {words}, {_STARTS}") from None
    return read_start(date)


def _start(value: object, info: ValidationInfo) -> float:
    return _not_too_late(read_start(value), info)


def _start_from(value: object, info: ValidationInfo) -> float | Literal["earliest"]:
    return "earliest" if value == "earliest" else _not_too_late(read_start(value, "now, earliest"), info)


def _not_too_late(at: float, info: ValidationInfo) -> float:
    """The clock is that of the validation's context, where there is one."""
    now = (info.context or {}).get("now", time.time())
    if at > now + _AHEAD:
        today = datetime.fromtimestamp(now, UTC).date()
        raise ValueError(f"is more than a year from now ({today} by this clock): nothing would be seen before")
    return at


def _show_start(at: float | str) -> str:
    if isinstance(at, str):
        return at
    return show_duration(-at) if at < 0 else "now" if at == 0 else datetime.fromtimestamp(at, UTC).isoformat()


Start = Annotated[
    float,
    BeforeValidator(_start),
    PlainSerializer(_show_start, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["24h", "now", "2026-01-31"]}),
]
"""Epoch seconds when positive; seconds before the first pass when not."""

StartFrom = Annotated[
    float | Literal["earliest"],
    BeforeValidator(_start_from),
    PlainSerializer(_show_start, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["24h", "now", "earliest", "2026-01-31"]}),
]
"""The same, or the oldest event that is kept."""
