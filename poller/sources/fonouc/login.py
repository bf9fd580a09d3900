"""FonoUC's login: a token for an hour (FonoUC's CDRs document, "Get access token"; BEHAVIOUR 3.1)."""

from base64 import urlsafe_b64decode

import msgspec
from msgspec import Struct

from poller.errors import BadAnswer, Denied, Malformed, PollerError
from poller.jsontext import Text, read
from poller.model import Request
from poller.protocols import Token
from poller.sources.fonouc.config import Config
from poller.sources.fonouc.epochs import EARLIEST, LATEST

EARLY = 60
"""Seconds before its end that a token is renewed."""
LIFE = 50 * 60
"""Seconds that a token is used for when its end cannot be read."""


PATHS = ("/login", "/config/login", "/config/login/oauth")
"""Where systems have their login (BEHAVIOUR 3.1)."""


class _Answer(Struct):
    access_token: str | None = None
    accessToken: str | None = None  # noqa: N815 the vendor's spelling


class _Claims(Struct):
    exp: Text = None


_answer = msgspec.json.Decoder(_Answer).decode
_claims = msgspec.json.Decoder(_Claims).decode


class FonoucLogin:
    """Logs in with username, password and domain."""

    def __init__(self, config: Config, path: str | None = None) -> None:
        assert config.password is not None  # noqa: S101 the configuration says so
        self._path = path or config.login_path
        self._username, self._password, self._domain = config.username, config.password, config.domain

    def request(self) -> Request:
        """POST of the credentials as JSON."""
        body = {"username": self._username, "password": self._password.reveal(), "domain": self._domain}
        return Request(
            method="POST",
            path=self._path,
            json=msgspec.json.encode(body),
            headers=(("Content-Type", "application/json"), ("Accept", "application/json")),
        )

    def token(self, body: bytes, now: float) -> Token:
        """Reads either spelling of the token and its end. No error quotes the answer: it may carry the token."""
        try:
            answer, _ = read(body, _answer, "fonouc login")
        except (BadAnswer, msgspec.ValidationError):
            raise Malformed(f"fonouc login: the answer is no token document; is {self._path} the login_path?") from None
        except PollerError as error:
            raise type(error)(f"fonouc login: a page instead of a token; is {self._path} the login_path?") from None
        token = answer.access_token or answer.accessToken
        if not token:
            raise Denied("fonouc login: no access_token in the answer; check username, password and domain")
        if not (token.isascii() and token.isprintable()):
            raise Malformed("fonouc login: the token has characters that no header can carry")
        return Token(headers=(("Authorization", f"Bearer {token}"),), expires=_end(token, now) - EARLY)


def _end(token: str, now: float) -> float:
    """The `exp` of a JWT that can be read and lies ahead; else fifty minutes from now."""
    try:
        payload = token.split(".")[1]
        end = float(_claims(urlsafe_b64decode(payload + "=" * (-len(payload) % 4))).exp or 0)
    except (IndexError, ValueError, RecursionError):
        end = 0.0
    return end if max(now + EARLY, EARLIEST) < end < LATEST else now + LIFE
