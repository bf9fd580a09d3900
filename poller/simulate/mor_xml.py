"""MOR's answers as XML text."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_SHOWN = (
    "show_user",
    "show_device",
    "show_status",
    "show_provider",
    "show_hgc",
    "show_reseller",
    "show_did",
    "show_destination",
)


def element(name: str, value: object) -> str:
    """One element; a mapping nests. Control characters go out raw: the vendor does not filter them either."""
    if isinstance(value, Mapping):
        inner = "".join(element(key, part) for key, part in value.items())
    else:
        inner = escape("" if value is None else str(value))
    return f"<{name}>{inner}</{name}>"


def error(text: str, *wrappers: str) -> str:
    """An error inside `wrappers`, outermost first."""
    body = element("error", text)
    for wrapper in reversed(wrappers):
        body = f"<{wrapper}>{body}</{wrapper}>"
    return HEAD + body


def calls_head(*, total: int, echo: tuple[str, str], username: str, userid: int, everything: bool) -> str:
    """Everything of a user_calls answer before its calls."""
    shown = "".join(element(name, "all") for name in (_SHOWN if everything else _SHOWN[:3]))
    period = element("period", {"period_start": echo[0], "period_end": echo[1]})
    return (
        f"{HEAD}<page>\n  <pagename>Calls</pagename><language>en</language><error_msg></error_msg>\n"
        f"  <userid>{userid}</userid>{element('username', username)}<total_calls>{total}</total_calls><currency>EUR</currency>\n"
        f"  <calls_stat>\n    {period}\n    {shown}\n"
    )


def calls_page(head: str, calls: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The whole answer in pieces; without calls there is no `calls` element."""
    yield head
    count = 0
    for count, call in enumerate(calls, 1):
        yield ("    <calls>\n" if count == 1 else "") + f"      {element('call', call)}\n"
    yield ("    </calls>\n" if count else "") + "  </calls_stat>\n</page>\n"


def recordings_page(recordings: Iterable[Mapping[str, Any]], *, closed: bool) -> str:
    """The answer of recordings_get; it is sent from inside the open page, so its end may be missing (BEHAVIOUR 1.5)."""
    inner = "\n  ".join(element("recording", recording) for recording in recordings)
    return f"{HEAD}<page><status><recordings>\n  {inner}\n</recordings></status>{'</page>' if closed else ''}\n"


def local_calls_page(calls: Iterable[Mapping[str, Any]]) -> str:
    """The answer of local_calls_get."""
    inner = "\n  ".join(element("call", call) for call in calls)
    return f"{HEAD}<page><local_calls>\n  {inner}\n</local_calls></page>\n"
