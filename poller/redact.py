"""Takes secrets out of text before anybody sees it."""

import base64
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

from pydantic import BaseModel

from poller.options import Secret

_HIDDEN = "***"
_NAMES = r"hash|password|passwd|pwd|secret|api[_-]?secret|api[_-]?key|x-api-key|token|access[_-]?token|refresh[_-]?token|auth[_-]?token"
_PATTERNS = (
    (re.compile(r"\beyJ[\w-]{4,}(\.[\w-]*){0,2}"), _HIDDEN),  # a JWT, whole or cut off
    (re.compile(r"(?i)\b(basic|bearer)\s+(?!auth|access|realm|token\b)[\w+/=.~-]{6,}"), rf"\1 {_HIDDEN}"),
    (re.compile(rf"(?i)<({_NAMES})>[^<]*"), rf"<\1>{_HIDDEN}"),
    (re.compile(rf"(?i)\b({_NAMES})(\\?[\"']?\s*[=:]\s*\\?[\"']?)[^\s\"'\\&<>,;}}]+"), rf"\1\2{_HIDDEN}"),
    (re.compile(r"(?i)\bauthorization(\s*[=:]\s*)[^\r\n,;]+"), rf"authorization\1{_HIDDEN}"),
    (re.compile(r"\b([up])=[^\s\"'&<>,;]+"), rf"\1={_HIDDEN}"),
    (re.compile(r"(?<=://)[^/\s@]+@"), f"{_HIDDEN}@"),
    (re.compile(r"(?i)\b(v1a?)(,|%2c|\\u002c)[a-z0-9+/=\\%]{20,}"), rf"\1\2{_HIDDEN}"),  # a webhook's signature
    (re.compile(r"\b[0-9a-fA-F]{40}\b"), _HIDDEN),  # SHA-1: how a request is signed
)


class Redactor:
    """Replaces the registered secrets, in every spelling in which a vendor may echo them, and whatever looks like one."""

    def __init__(self, *secrets: str) -> None:
        self._spellings: list[str] = []
        self.add(*secrets)

    def __repr__(self) -> str:
        """How many, never which."""
        return f"<Redactor of {len(self._spellings)} spellings>"

    def add(self, *secrets: str) -> None:
        """Registers secrets for good."""
        found = {spelling for secret in filter(None, secrets) for spelling in _spellings(secret) if spelling}
        # Longest first, so that a secret that contains another one goes whole.
        self._spellings = sorted(found.union(self._spellings), key=len, reverse=True)

    def with_more(self, *secrets: str) -> "Redactor":
        """Another one that knows these too. Nothing of it is kept: a pattern would be, by `re`, and so what each request was signed with."""
        more = Redactor()
        more._spellings = self._spellings
        more.add(*secrets)
        return more

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        for spelling in self._spellings:
            if spelling in text:
                text = _without(spelling, text)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text


def _without(spelling: str, text: str) -> str:
    """A very short one is replaced as a word only: every letter `a` would else go."""
    if len(spelling) > 3:
        return text.replace(spelling, _HIDDEN)
    return re.sub(rf"(?<!\w){re.escape(spelling)}(?!\w)", _HIDDEN, text)


def _spellings(secret: str) -> Iterator[str]:
    prefix, _, key = secret.strip().partition("_")
    if prefix in {"whsec", "whsk"} and key:  # a webhook's key is what follows: some know it without its prefix
        yield from _spelt(key)
        yield from _spelt(key.rstrip("="))
        yield from _decoded(key)
    yield from _spelt(secret)


def _decoded(key: str) -> Iterator[str]:
    """How programs show the bytes of a key. Of a pair the first half alone is the whole secret."""
    try:
        raw = base64.b64decode(key + "=" * (-len(key) % 4), validate=True)
    except ValueError:
        return
    for part in (raw, raw[:32]):
        yield part.hex()
        yield part.hex().upper()
        yield base64.urlsafe_b64encode(part).decode().rstrip("=")
        yield from _spelt(part.decode("latin-1"))


def _spelt(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield html.escape(secret)
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    if "/" in secret or "+" in secret:
        yield secret.replace("/", "\\/")  # how PHP writes JSON
        yield secret.replace("+", "\\u002B")  # how .NET does


def basic(user: str, password: str) -> str:
    """The credentials of HTTP basic authentication as they are sent."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def secrets_of(value: object) -> Iterator[str]:
    """Every secret in a configuration model, however deep."""
    match value:
        case Secret():
            yield value.reveal()
        case BaseModel():
            for name in type(value).model_fields:
                yield from secrets_of(getattr(value, name))
        case dict():
            for one in value.values():
                yield from secrets_of(one)
        case list() | tuple():
            for one in value:
                yield from secrets_of(one)


def printable(data: bytes, limit: int = 200) -> str:
    """The beginning of what somebody sent, on one line and safe for a terminal."""
    text = data[:limit].decode("utf-8", "replace")
    shown = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(shown.split()) + ("…" if len(data) > limit else "")
