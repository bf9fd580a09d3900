"""Pure: what an answer means for the event and for the webhook."""

from collections.abc import Mapping
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from msgspec import Struct

from poller.backoff import http_date, retry_after
from poller.each import Answered
from poller.redact import Redactor, printable

_SHOWN, _READ = 300, 2048
"""Of the body, for people. More is read than shown, so that a secret that is cut off is known as one."""
CONTROL = "webhook-delivery"
"""The header by which a receiver says more than a status can: `disable` or `abort-message`."""


class Reply(Struct, frozen=True):
    """An answer. `headers`: the first value of each, by lower-case name; `body`: how it begins."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoReply(Struct, frozen=True):
    """There was no answer. `reason`: timeout, unreachable, certificate or address."""

    reason: str
    message: str


_NO_MORE = f"It wants no more calls ({CONTROL}: disable)"


class _Meaning(NamedTuple):
    outcome: Literal["delivered", "later", "dead"]
    reason: str
    slow_down: bool = False
    advice: str = ""
    at_large: bool = False


_REFUSED = _Meaning("dead", "refused", advice="Check url, and the keys that the receiver knows", at_large=True)
"""What a receiver answers that is being deployed, or that has other keys: hardly ever about one event."""
_FAULT = _Meaning("later", "server_error")
_STATUSES = {
    304: _Meaning(
        "later",
        "server_error",
        advice="It says that nothing has changed, which is no answer to a POST: ask who answers at url",
    ),
    401: _REFUSED,
    403: _REFUSED,
    404: _REFUSED,
    408: _FAULT,
    410: _Meaning("later", "gone", advice="It wants no more calls"),
    413: _Meaning("dead", "too_large", advice="The receiver takes no body of this size"),
    425: _FAULT,
    429: _Meaning("later", "rate_limited", slow_down=True),
    431: _Meaning("dead", "too_large", advice="The receiver takes no headers of this size"),
    502: _Meaning("later", "server_error", slow_down=True),
    504: _Meaning("later", "server_error", slow_down=True),
}
_CLASSES = {
    3: _Meaning("later", "redirect", advice="Redirects are not followed: set url to where it leads, if that is right"),
    4: _Meaning("dead", "client_error"),
}


def judge(reply: Reply, place: str, *, now: float, longest: float, redact: Redactor) -> Answered:
    """What an answer means. `place`: who answered, for the sentence; `longest`: no Retry-After counts for more seconds.

    `now`: our clock, for a Retry-After with a date from a receiver that does not show its own clock.
    """
    control = reply.headers.get(CONTROL, "").strip().lower()
    disable = control == "disable" or reply.status == 410
    if 200 <= reply.status < 300 and not disable:
        return Answered(outcome="delivered")
    clock = http_date(reply.headers.get("date"))
    wait = retry_after(reply.headers.get("retry-after"), now=now if clock is None else clock, limit=longest)
    meaning = _by_header(reply.status, control) or _by_status(reply.status, waits=wait is not None)
    return Answered(
        outcome=meaning.outcome,
        reason=meaning.reason,
        error=" ".join(filter(None, (f"{_said(reply, place, redact)}.", meaning.advice))),
        retry_after=wait if meaning.outcome == "later" else None,
        slow_down=meaning.slow_down,
        at_large=meaning.at_large,
        disable=disable,
    )


def _by_header(status: int, control: str) -> _Meaning | None:
    """What the header says, where it says more than the status."""
    if 200 <= status < 300:
        return _Meaning("delivered", "", advice=_NO_MORE)
    if control == "abort-message":
        return _Meaning("dead", "aborted", advice=f"It never wants this event ({CONTROL}: abort-message)")
    return _Meaning("later", "disabled", advice=_NO_MORE) if control == "disable" and status != 410 else None


def _by_status(status: int, *, waits: bool) -> _Meaning:
    if status == 503 and waits:
        return _STATUSES[429]
    return _STATUSES.get(status) or _CLASSES.get(status // 100, _FAULT)


def _said(reply: Reply, place: str, redact: Redactor) -> str:
    """Status, place and first bytes. Redacted before it is cut, or the first half of a secret would stay."""
    text = redact(printable(reply.body[:_READ], _READ))
    quoted = f": {text[:_SHOWN]}{'…' * (len(text) > _SHOWN)}" if text else " without a word"
    return f"{reply.status} from {place}{_target(reply, redact)}{quoted}"


def _target(reply: Reply, redact: Redactor) -> str:
    """Where a redirect leads, without path and query: they may be those of the webhook."""
    try:
        parts = urlsplit(reply.headers.get("location", ""))
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return ""
    if reply.status // 100 != 3 or not parts.scheme or not parts.hostname:
        return ""
    return f" to {redact(printable(f'{parts.scheme}://{parts.hostname}{port}'.encode(), 100))}"
