"""Who may look, and who may change something: a token, a signed cookie that stands for it, and where a request comes from. Pure."""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import urlsplit

COOKIE = "poller"
LASTS = 12 * 3600
"""Seconds after which the token is asked for again."""
_BEARER = "bearer "


class Access:
    """Of one token."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def fits(self, said: str) -> bool:
        """Whether this is the token; takes the same time for every wrong one."""
        return hmac.compare_digest(said.encode(), self._token)

    def ticket(self, now: float) -> str:
        """A cookie's value: until when it holds, signed with the token. Another token makes it void."""
        until = str(int(now) + LASTS)
        return f"{until}.{self._sign(until)}"

    def holds(self, ticket: str, now: float) -> bool:
        """Whether it was given here and is not over."""
        until, _, signature = ticket.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(until).encode()):
            return False
        return now < int(until)

    def _sign(self, until: str) -> str:
        return hmac.new(self._token, b"status page " + until.encode(), sha256).hexdigest()

    def bearer(self, headers: Mapping[str, str]) -> bool:
        """Whether a program says the token itself."""
        said = headers.get("authorization", "")
        return said.lower().startswith(_BEARER) and self.fits(said[len(_BEARER) :])


def from_here(headers: Mapping[str, str]) -> bool:
    """Whether a form was sent by a page of this very origin. Browsers say so; whoever says nothing is refused."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    try:
        place = urlsplit(headers.get("origin", "")).netloc
    except ValueError:  # such as `http://[`
        return False
    return bool(place) and place == headers.get("host")
