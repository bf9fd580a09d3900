"""What went wrong with a request, under its name and in a sentence: the mapping from statuses and library errors to ours."""

import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import h11
from msgspec import Struct

from poller.answer import Answer
from poller.backoff import retry_after
from poller.errors import (
    CertificateFault,
    Denied,
    PollerError,
    RateLimited,
    Redirected,
    Refused,
    TimedOut,
    Unreachable,
    VendorFault,
    causes,
)
from poller.hosts import origin
from poller.model import Request
from poller.protocols import Token
from poller.redact import Redactor, basic, printable

_SHOWN = 200
_ADDRESSES = 4
"""Of a name, whose faults are told."""
_SENSITIVE = {"hash", "u", "p", "password", "api_key", "x-api-key", "token", "authorization"}


class Asking(Struct, frozen=True):
    """What a failure's sentence begins with, and what must not be in it."""

    where: str
    url: str
    """Never shown whole: its query may carry a hash."""
    timeout: float
    redact: Redactor
    request: Request
    token: Token | None

    def __repr__(self) -> str:
        """Without the URL."""
        return f"<Asking {self.where}>"

    @property
    def place(self) -> str:
        """Host and port."""
        return origin(self.url).partition("://")[2]

    def hidden(self, text: str) -> str:
        """The text without the source's secrets and this request's own; made ready only when something failed."""
        return self.redact.with_more(*_credentials(self.request, self.token))(text)

    def show(self, error: object) -> str:
        """A library's error on one line, redacted."""
        text = f"{type(error).__name__}: {error}".rstrip(": ").encode("utf-8", "replace")
        return self.hidden(printable(text, len(text)))[:_SHOWN]


def _credentials(request: Request, token: Token | None) -> Iterator[str]:
    if request.basic is not None:
        yield request.basic[1]
        yield basic(*request.basic)
    for _, value in token.headers if token else ():
        yield value
        yield value.rpartition(" ")[2]
    for name, value in request.query + (request.form or ()) + request.headers:
        if name.lower() in _SENSITIVE:
            yield value


def of_status(asking: Asking, answer: Answer, said: bytes, now: float) -> PollerError:
    """An answer that is no success. `said`: how its body begins; `now`: our clock, for a vendor that shows none."""
    status = answer.status
    parts = urlsplit(asking.url)
    where = f"{asking.where}: {status} from {parts.hostname}{asking.hidden(parts.path)[:_SHOWN]}"
    # Redacted before it is cut, or the first half of a secret would stay.
    text = asking.hidden(printable(said, len(said)))
    quoted = f": {text[:_SHOWN]}{'…' * (len(text) > _SHOWN)}" if text else " without a word"
    if status in {401, 403}:
        return Denied(f"{where}{quoted}. Check the credentials and the rights of this source's user")
    wait = retry_after(answer.headers.get("retry-after"), now=answer.date or now)
    if status == 429 or (status == 503 and wait is not None):
        return RateLimited(f"{where}{quoted}. It asks for fewer requests", wait)
    if status == 408 or status >= 500:
        return VendorFault(f"{where}{quoted}", wait)
    if 300 <= status < 400:
        return Redirected(f"{where}: {_redirect(asking, answer.headers.get('location'))}")
    return Refused(f"{where}{quoted}")


def of_error(asking: Asking, error: Exception, *, asked: bool) -> PollerError:
    """An exception on the way to the answer. `asked`: whether the request had been sent."""
    if isinstance(error, TimeoutError) and asked:
        return TimedOut(f"{asking.where}: no answer from {asking.place} within {asking.timeout:g} s")
    cannot = isinstance(error, (h11.LocalProtocolError, ValueError, TypeError))
    if cannot and not isinstance(error, OSError):  # a certificate's fault is both
        # The library's own text would quote the value, which may be a credential.
        said = type(error).__name__
        return Refused(f"{asking.where}: the request cannot be made ({said}). Check base_url and the credentials")
    if isinstance(error, TimeoutError):
        return Unreachable(f"{asking.where}: no connection to {asking.place} in time. Check base_url and the network")
    found = list(causes(error))
    for cause in found:
        if isinstance(cause, ssl.SSLError):
            return CertificateFault(f"{asking.where}: {_certificate(cause, asking.place)}")
        if isinstance(cause, socket.gaierror):
            return Unreachable(
                f"{asking.where}: the name of {asking.place} cannot be resolved. Check base_url and the name service"
            )
    last = found[-1]  # a name may have several addresses, each with a fault of its own
    faults = last.exceptions[:_ADDRESSES] if isinstance(last, ExceptionGroup) else [last]
    said = "; ".join(map(asking.show, faults))
    return Unreachable(f"{asking.where}: no answer from {asking.place} ({said})")


def _redirect(asking: Asking, location: str | None) -> str:
    try:
        target = urljoin(asking.url, location or "")
        same = origin(target) == origin(asking.url)
    except ValueError:
        target = ""
    if not location or not target:
        return "a redirect to nowhere. Check base_url"
    where = asking.hidden(printable(urlsplit(target)._replace(query="", fragment="").geturl().encode(), 1000))[:_SHOWN]
    if same:
        return (
            f"it redirects to {where}, which is not followed because a POST would become a GET. "
            "Configure the vendor's version (or path) whose name answers directly"
        )
    return f"it redirects to another place, {where}, which is not followed. If that is the vendor's, set base_url to it"


def _certificate(error: ssl.SSLError, place: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {place} is not trusted ({error.verify_message}). "
            "Set tls.ca_file to a PEM file with its issuer, or correct the host name in base_url"
        )
    return f"TLS with {place} failed ({error.reason or 'closed'}). Check that base_url's port speaks https"
