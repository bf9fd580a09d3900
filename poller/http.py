"""Asking a vendor: the only place that speaks HTTP to one. Deadlines, turns, login, sizes, and every failure under its name."""

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode, urljoin, urlsplit

import anyio
import httpx
from msgspec import Struct

from poller.answer import Answer, Budget
from poller.backoff import retry_after
from poller.clock import Clock
from poller.credential import Credential
from poller.errors import (
    BadAnswer,
    CertificateFault,
    Denied,
    PollerError,
    RateLimited,
    Redirected,
    Refused,
    TimedOut,
    Unreachable,
    VendorFault,
)
from poller.hosts import Hosts, origin
from poller.metrics import Metrics, http_outcome
from poller.model import Request
from poller.options import SourceOptions
from poller.protocols import Login, Token
from poller.redact import Redactor, basic, printable, secrets_of

_CONNECT = 10.0
_ERROR_BODY = 4096
_LOGIN_TIMEOUT = 30.0
_LOGIN_BODY = 1 << 20
_HEADERS = {"accept": "*/*", "accept-encoding": "gzip", "user-agent": f"poller/{version('poller')}"}
_CONNECTIONS = 100  # above any `concurrency`: requests must queue for a turn, never in the client's pool


class _Call(Struct, frozen=True):
    """How one request is to be made."""

    endpoint: str
    timeout: float
    max_body: int
    accept: frozenset[int] = frozenset()
    elsewhere: bool = False


class Vendor:
    """One source's way to its vendor. `async with Vendor(…) as vendor: async with vendor.fetch(…) as answer: …`."""

    def __init__(
        self,
        name: str,
        options: SourceOptions,
        login: Login | None,
        *,
        clock: Clock,
        metrics: Metrics,
        hosts: Hosts | None = None,
    ) -> None:
        self.name = name
        self.base_url = options.base_url.rstrip("/")
        self.redact = Redactor(*secrets_of(options))
        self._clock = clock
        self._metrics = metrics
        self._hosts = hosts or Hosts(clock)
        self._hosts.host(self.base_url).claim(options.concurrency, options.max_requests_per_second)
        self._tls = self._hosts.tls(options.tls)
        self._pool = self._open_pool()
        self._login = login
        self._credential = None if login is None else Credential(self._log_in, clock)
        if login is not None:
            metrics.declare_requests(name, "login")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections; bounded."""
        await _close(self._pool)

    @asynccontextmanager
    async def fetch(
        self,
        request: Request,
        *,
        timeout: float,  # noqa: ASYNC109 it counts the vendor's time only, so no scope around the block can stand for it
        max_body: int,
        endpoint: str,
        accept: frozenset[int] = frozenset(),
        elsewhere: bool = False,
    ) -> AsyncIterator[Answer]:
        """One request. Its answer is 2xx or one of `accept`; everything else is raised.

        `timeout`: seconds to wait for the vendor in all; `max_body`: bytes after decompression; `endpoint`: for metrics and
        messages; `elsewhere`: the request's path may be a URL on another host, which then gets no credentials.
        Raises Unreachable, CertificateFault, RateLimited, VendorFault, Redirected, Denied, Refused, TimedOut, and while the
        body is read TimedOut, TooLarge, Truncated, Malformed.
        """
        call = _Call(endpoint, timeout, max_body, accept, elsewhere)
        async with AsyncExitStack() as stack:
            yield await self._authorised(stack, request, call)

    # --- login ---------------------------------------------------------------------------------------------------

    async def _authorised(self, stack: AsyncExitStack, request: Request, call: _Call) -> Answer:
        if self._credential is None:
            return await stack.enter_async_context(self._exchange(request, call, None))
        token = await self._credential.get()
        try:
            return await stack.enter_async_context(self._exchange(request, call, token))
        except Denied:
            if not self._credential.replaceable(token):
                raise
        # The place at the host is free again here: the login needs it.
        token = await self._credential.get(instead_of=token)
        return await stack.enter_async_context(self._exchange(request, call, token))

    async def _log_in(self) -> Token:
        assert self._login is not None  # noqa: S101 a Credential exists only with a login
        call = _Call("login", _LOGIN_TIMEOUT, _LOGIN_BODY)
        async with self._exchange(self._login.request(), call, None) as answer:
            body = await answer.read()
        try:
            return self._login.token(body, self._clock.now())
        except PollerError as error:
            fault = type(error)(f"{self.name} login: {self.redact(str(error))}")
        raise fault

    # --- one exchange ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _exchange(self, request: Request, call: _Call, token: Token | None) -> AsyncIterator[Answer]:
        url = self._url(request, call)
        async with self._hosts.host(url).turn():
            budget = Budget(call.timeout)
            try:
                answer = await self._answer(request, url, call, token, budget)
            except PollerError as error:
                self._count(call, error, budget, 0)
                raise
            try:
                yield answer
            finally:
                await answer.close()
                self._count(call, answer.fault, budget, answer.size)

    async def _answer(self, request: Request, url: str, call: _Call, token: Token | None, budget: Budget) -> Answer:
        hidden = self._hiding(request, token)
        response = await self._respond(request, url, call, token, budget, hidden)
        answer = Answer(
            response, budget, call.max_body, f"{self.name} {call.endpoint}", lambda error: _text(error, hidden)
        )
        self._note_skew(answer, budget)
        if 200 <= answer.status < 300 or answer.status in call.accept:
            return answer
        try:
            said = await _beginning(answer)
        finally:
            await answer.close()
        raise self._status_fault(answer, call, url, hidden(printable(said)), hidden)

    async def _respond(
        self, request: Request, url: str, call: _Call, token: Token | None, budget: Budget, hidden: Redactor
    ) -> httpx.Response:
        """The answer's headers. A connection that the vendor had closed while it was idle is no failure: asked once more."""
        for last in (False, True):
            progress = _Progress()
            try:
                built = self._build(request, url, call, token, progress)
                with budget.wait():
                    return await self._pool.handle_async_request(built)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                caught: Exception = error
                if not last and not progress.connected:
                    continue
            except httpx.PoolTimeout as error:
                caught = error
                await self._renew_pool()
            except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, TypeError) as error:
                caught = error
            break
        raise self._fault(caught, call, url, progress, hidden)

    def _build(
        self, request: Request, url: str, call: _Call, token: Token | None, progress: "_Progress"
    ) -> httpx.Request:
        headers = dict(_HEADERS)
        content = request.json
        if request.json is not None:
            headers["content-type"] = "application/json"
        elif request.form is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
            content = urlencode(request.form).encode()
        headers |= {name.lower(): value for name, value in request.headers}
        if self._is_foreign(url):  # another host gets no credentials, whatever header they travel in
            headers = {name: value for name, value in headers.items() if name in _HARMLESS}
        else:
            if request.basic is not None:
                headers["authorization"] = f"Basic {basic(*request.basic)}"
            headers |= {name.lower(): value for name, value in (token.headers if token else ())}
        connect = min(_CONNECT, call.timeout)
        return httpx.Request(
            request.method,
            url,
            content=content,
            headers=[(name.encode(), value.encode()) for name, value in headers.items()],
            extensions={"trace": progress.note, "timeout": {"connect": connect, "pool": connect / 2}},
        )

    def _url(self, request: Request, call: _Call) -> str:
        """The whole URL. Never shown: the query may carry a hash."""
        path = request.path
        absolute = path.startswith(("http://", "https://"))
        url = path if absolute else f"{self.base_url}/{path.lstrip('/')}"
        if absolute and not call.elsewhere and self._is_foreign(url):
            raise Refused(f"{self.name} {call.endpoint}: a request to another host than base_url was not made")
        if not request.query:
            return url
        return f"{url}{'&' if '?' in url else '?'}{urlencode(request.query, quote_via=quote)}"

    def _is_foreign(self, url: str) -> bool:
        try:
            return origin(url) != origin(self.base_url)
        except ValueError:
            return True

    # --- failures --------------------------------------------------------------------------------------------------

    def _status_fault(self, answer: Answer, call: _Call, url: str, said: str, hidden: Redactor) -> PollerError:
        status = answer.status
        where = f"{self.name} {call.endpoint}: {status} from {urlsplit(url).hostname}"
        quoted = f": {said}" if said else " without a word"
        if status in {401, 403}:
            return Denied(f"{where}{quoted}. Check the credentials and the rights of this source's user")
        wait = retry_after(answer.headers.get("retry-after"), now=answer.date or self._clock.now())
        if status == 429 or (status == 503 and wait is not None):
            return RateLimited(f"{where}{quoted}. It asks for fewer requests", wait)
        if status == 408 or status >= 500:
            return VendorFault(f"{where}{quoted}", wait)
        if 300 <= status < 400:
            return Redirected(f"{where}: {_redirect(url, answer.headers.get('location'), hidden)}")
        return Refused(f"{where}{quoted}")

    def _fault(self, error: Exception, call: _Call, url: str, progress: "_Progress", hidden: Redactor) -> PollerError:
        place = origin(url).partition("://")[2]
        where = f"{self.name} {call.endpoint}"
        causes = list(_causes(error))
        if isinstance(error, TimeoutError) and progress.asked:
            return TimedOut(f"{where}: no answer from {place} within {call.timeout:g} s")
        if isinstance(error, (TimeoutError, httpx.TimeoutException)):
            return Unreachable(f"{where}: no connection to {place} in time. Check base_url and the network")
        for cause in causes:
            if isinstance(cause, ssl.SSLError):
                return CertificateFault(f"{where}: {_certificate(cause, place)}")
            if isinstance(cause, socket.gaierror):
                return Unreachable(
                    f"{where}: the name of {place} cannot be resolved. Check base_url and the name service"
                )
        if isinstance(
            error, (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, ValueError, TypeError)
        ):
            # The library's own text would quote the value, which may be a credential.
            return Refused(
                f"{where}: the request cannot be made ({type(error).__name__}). Check base_url and credentials"
            )
        return Unreachable(f"{where}: no answer from {place} ({_text(causes[-1], hidden)})")

    def _hiding(self, request: Request, token: Token | None) -> Redactor:
        """A redactor that knows this request's own credentials too."""
        return _Hiding(self.redact, request, token)

    # --- the rest --------------------------------------------------------------------------------------------------

    def _note_skew(self, answer: Answer, budget: Budget) -> None:
        if answer.date is None or "age" in answer.headers:  # a cache's copy: its Date is old
            return
        # A Date is cut to whole seconds, and it was written somewhere between our asking and its coming.
        answer.skew = answer.date + 0.5 - (self._clock.now() - budget.spent / 2)
        self._metrics.clock_skew[self.name].set(answer.skew)

    def _count(self, call: _Call, error: PollerError | None, budget: Budget, size: int) -> None:
        self._metrics.http_requests[self.name, call.endpoint, http_outcome(error)].inc()
        self._metrics.http_request_seconds.labels(call.endpoint).observe(budget.spent)
        if size:
            self._metrics.response_bytes.labels(call.endpoint).observe(size)

    def _open_pool(self) -> httpx.AsyncHTTPTransport:
        """The connections alone: no cookies, no redirects, nothing of the environment (proxies, .netrc)."""
        limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=8, keepalive_expiry=15)
        return httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False, limits=limits)

    async def _renew_pool(self) -> None:
        """A pool that gives no connection although every request has its turn is broken, and stays so."""
        old, self._pool = self._pool, self._open_pool()
        await _close(old)


class _Progress:
    """How far a request came, as the connection pool tells it."""

    def __init__(self) -> None:
        self.connected = False
        self.asked = False

    async def note(self, name: str, _: dict[str, Any]) -> None:
        self.connected = self.connected or name.startswith("connection.connect")
        self.asked = self.asked or name.endswith("send_request_headers.started")


class _Hiding(Redactor):
    """The source's redactor and one request's credentials."""

    def __init__(self, source: Redactor, request: Request, token: Token | None) -> None:
        self._source = source
        self._request = request
        self._token = token
        super().__init__()

    def __call__(self, text: str) -> str:
        if not self._spellings:
            self.add(*self._credentials())
        return super().__call__(self._source(text))

    def _credentials(self) -> Iterator[str]:
        if self._request.basic is not None:
            yield self._request.basic[1]
            yield basic(*self._request.basic)
        for _, value in self._token.headers if self._token else ():
            yield value
            yield value.rpartition(" ")[2]
        for name, value in self._request.query + (self._request.form or ()) + self._request.headers:
            if name.lower() in _SENSITIVE:
                yield value


_HARMLESS = {*_HEADERS, "accept-language", "content-type", "range", "if-range"}
_SENSITIVE = {"hash", "u", "p", "password", "api_key", "x-api-key", "token", "authorization"}


async def _beginning(answer: Answer) -> bytes:
    """The first bytes of an error's body, as far as they come soon; that they do not is no other failure."""
    said = b""
    with anyio.move_on_after(5):
        try:
            async for chunk in answer.chunks():
                said += chunk
                if len(said) >= _ERROR_BODY:
                    break
        except BadAnswer:
            pass
    return said


def _redirect(url: str, location: str | None, hidden: Redactor) -> str:
    try:
        target = urljoin(url, location or "")
        same = origin(target) == origin(url)
    except ValueError:
        target = ""
    if not location or not target:
        return "a redirect to nowhere. Check base_url"
    where = hidden(printable(urlsplit(target)._replace(query="", fragment="").geturl().encode()))
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


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _text(error: object, hidden: Redactor) -> str:
    return hidden(printable(f"{type(error).__name__}: {error}".rstrip(": ").encode()))


async def _close(pool: httpx.AsyncHTTPTransport) -> None:
    with anyio.move_on_after(5, shield=True):
        await pool.aclose()
