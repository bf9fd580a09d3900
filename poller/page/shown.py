"""Pure: times, sizes and bytes as a person reads them, and the templates."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from poller.masking import masked, quoted
from poller.options import show_size

FOLDER = Path(__file__).parent
STATIC: Mapping[str, str] = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_LONGEST = 20_000
"""Characters of a body that are shown."""
_LAID_OUT = 64 << 10
"""Bytes up to which it is laid out: of a longer one a part is shown anyway, and ten megabytes hold the event loop for seconds."""


def span(seconds: float) -> str:
    """`3 min`, by the largest unit that fits."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), (1, "s"))
    return f"{int(seconds // size)} {unit}"


def when(at: float | None, now: float) -> str | Markup:
    """How long ago, or in how long; the instant itself for machines and for whoever points at it."""
    if at is None:
        return "not known"
    try:
        exact = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):  # a vendor's date may be any number
        return "no date"
    words = "now" if abs(now - at) < 1 else f"{span(now - at)} ago" if at < now else f"in {span(at - now)}"
    return Markup(f'<time datetime="{exact}" title="{exact}">{words}</time>')  # noqa: S704 digits, and words of ours


def moment(at: float | None) -> str | Markup:
    """The instant itself, in UTC."""
    if at is None:
        return "not known"
    try:
        exact = datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):  # a vendor's date may be any number
        return "no date"
    iso = exact.isoformat(timespec="seconds")
    return Markup(f'<time datetime="{iso}">{exact:%Y-%m-%d %H:%M:%S}&nbsp;UTC</time>')  # noqa: S704 digits, and words of ours


def text(body: bytes, *, numbers: bool) -> str:
    """A record or an event, laid out where it is JSON; numbers masked unless asked for."""
    found = body[: 4 * _LONGEST].decode("utf-8", "replace")  # a character has no more than four bytes
    with suppress(ValueError, RecursionError):
        if len(body) <= _LAID_OUT:
            found = json.dumps(json.loads(found), indent=2, ensure_ascii=False)
    cut = found[:_LONGEST] + ("…" if len(found) > _LONGEST else "")
    return cut if numbers else masked(cut)


def environment() -> Environment:
    """Templates that escape everything, and refuse names that do not exist."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters["quoted"] = quoted
    made.globals |= {"when": when, "moment": moment, "span": span, "size": show_size}
    return made
