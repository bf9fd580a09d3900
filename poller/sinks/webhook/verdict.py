"""Pure: what an answer means for the event and for the webhook."""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from poller.backoff import http_date, retry_after
from poller.protocols import Answered
from poller.redact import Redactor, printable

_SHOWN = 300
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


class _Meaning(NamedTuple):
    outcome: str
    reason: str
    slow_down: bool = False
    advice: str = ""


_STATUSES = {
    408: _Meaning("later", "server_error"),
    410: _Meaning("later", "gone", advice="It wants no more calls"),
    413: _Meaning("dead", "too_large", advice="The receiver takes no body of this size"),
    425: _Meaning("later", "server_error"),
    429: _Meaning("later", "rate_limited", slow_down=True),
    431: _Meaning("dead", "too_large", advice="The receiver takes no headers of this size"),
    502: _Meaning("later", "server_error", slow_down=True),
    504: _Meaning("later", "server_error", slow_down=True),
}


def judge(reply: Reply, place: str, *, now: float, longest: float, redact: Redactor) -> Answered:
    """What an answer means. `place`: who answered, for the sentence; `longest`: no Retry-After counts for more seconds.

    `now`: our clock, for a Retry-After with a date from a receiver that does not show its own clock.
    """
    control = reply.headers.get(CONTROL, "").strip().lower()
    said = _said(reply, place, redact)
    disable = control == "disable" or reply.status == 410
    if 200 <= reply.status < 300:
        if disable:
            return Answered(
                outcome="delivered", error=f"{said}. It wants no more calls ({CONTROL}: disable)", disable=True
            )
        return Answered(outcome="delivered")
    clock = http_date(reply.headers.get("date"))
    asked = reply.headers.get("retry-after")
    wait = retry_after(asked, now=now if clock is None else clock, limit=longest)
    if control == "abort-message":
        return Answered(outcome="dead", reason="aborted", error=f"{said}. It never wants this event ({CONTROL})")
    if control == "disable" and reply.status != 410:
        return Answered(
            outcome="later",
            reason="disabled",
            error=f"{said}. It wants no more calls ({CONTROL}: disable)",
            disable=True,
        )
    meaning = _meaning(reply.status, waits=wait is not None)
    error = f"{said}. {meaning.advice}" if meaning.advice else said
    if meaning.outcome == "dead":
        return Answered(outcome="dead", reason=meaning.reason, error=error)
    return Answered(
        outcome="later",
        reason=meaning.reason,
        error=error,
        retry_after=wait,
        slow_down=meaning.slow_down,
        disable=disable,
    )


def _meaning(status: int, *, waits: bool) -> _Meaning:
    if status == 503 and waits:
        return _STATUSES[429]
    if status in _STATUSES:
        return _STATUSES[status]
    if 300 <= status < 400:
        return _Meaning(
            "later", "redirect", advice="Redirects are not followed: set url to where it leads, if that is right"
        )
    if 400 <= status < 500:
        return _Meaning("dead", "client_error")
    return _Meaning("later", "server_error")


def _said(reply: Reply, place: str, redact: Redactor) -> str:
    """Status, place and first bytes. Redacted before it is cut, or the first half of a secret would stay."""
    text = redact(printable(reply.body, len(reply.body)))
    quoted = f": {text[:_SHOWN]}{'…' * (len(text) > _SHOWN)}" if text else " without a word"
    return f"{reply.status} from {place}{quoted}"
