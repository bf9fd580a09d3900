"""Asking a vendor: the only place that speaks HTTP to one. Deadlines, turns, login, sizes, and every failure under its name."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode

import anyio
import h11
from msgspec import Struct

from poller.answer import Answer, Budget
from poller.clock import Clock
from poller.connections import Connections, Judge, Progress
from poller.credential import Credential
from poller.errors import (
    BadAnswer,
    Denied,
    PollerError,
    RateLimited,
    Refused,
)
from poller.exchange import FAULTS, Asked, Heard, placed
from poller.failures import Asking, of_error, of_status
from poller.hosts import Hosts, origin
from poller.log import get_logger
from poller.metrics import Metrics, http_outcome
from poller.model import Request
from poller.options import SourceOptions
from poller.protocols import Login, Token
from poller.redact import Redactor, basic, secrets_of

_CONNECT = 10.0
IDLE = 15
"""Seconds after which a connection that nobody uses is closed: with thousands of sources these would be thousands of open files."""
BRIEF = 1
"""The same for a source that is asked so seldom that none would live until the next poll."""
_KEPT = 8
_ERROR_BODY = 4096
_LOGIN_TIMEOUT = 30.0
_LOGIN_BODY = 1 << 20
_HEADERS = {"accept": "*/*", "accept-encoding": "gzip", "user-agent": f"poller/{version('poller')}"}
_HARMLESS = {*_HEADERS, "accept-language", "content-type", "range", "if-range"}


class _Call(Struct, frozen=True):
    """How one request is to be made."""

    endpoint: str
    timeout: float
    max_body: int
    accept: frozenset[int] = frozenset()
    elsewhere: bool = False
    judge: Judge | None = None
    once: bool = False


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
        seldom: bool = False,
    ) -> None:
        """`seldom`: whether it is asked less often than every IDLE seconds."""
        self.name = name
        self.base_url = options.base_url.rstrip("/")
        self.redact = Redactor(*secrets_of(options))
        self._clock = clock
        self._metrics = metrics
        self._hosts = hosts or Hosts(clock)
        self._hosts.host(self.base_url).claim(options.concurrency, options.max_requests_per_second)
        if not options.tls.verify and self.base_url.startswith("https:"):
            get_logger().warning(
                "certificates are not checked: anybody on the way can read and change all", source=name
            )
        self._connections = Connections(
            self._hosts.tls(options.tls), clock, keep=max(_KEPT, options.concurrency), idle=BRIEF if seldom else IDLE
        )
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
        """Closes the connections that nobody uses, and each of the others with its answer; bounded."""
        self._hosts.used.discard(self)
        await self._connections.close()

    async def close_idle(self) -> None:
        """Closes those that nobody used for a while: they are else looked at only when the next one is asked for."""
        await self._connections.close_idle()
        if not self._connections.kept:
            self._hosts.used.discard(self)

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
        judge: Judge | None = None,
    ) -> AsyncIterator[Answer]:
        """One request. Its answer is 2xx or one of `accept`; everything else is raised.

        `timeout`: seconds to wait for the vendor in all; `max_body`: bytes after decompression; `endpoint`: for metrics and
        messages; `elsewhere`: the request's path may be a URL on another host, which then gets no credentials; `judge`: whether the
        address that its name led to may be asked.
        Raises Unreachable, CertificateFault, RateLimited, VendorFault, Redirected, Denied, Refused, TimedOut, and while the
        body is read TimedOut, TooLarge, Truncated, Malformed.
        """
        call = _Call(endpoint, timeout, max_body, accept, elsewhere, judge)
        async with AsyncExitStack() as stack:
            yield await self._authorised(stack, request, call)

    async def sign_in(self) -> None:
        """Logs in where the source needs it and is not logged in. Raises what a login raises."""
        if self._credential is not None:
            await self._credential.get()

    @property
    def credential(self) -> str:
        """A sentence about what the source is asked with; no secret is in it."""
        return "sent with every request" if self._credential is None else self._credential.standing

    # --- login ---------------------------------------------------------------------------------------------------

    async def _authorised(self, stack: AsyncExitStack, request: Request, call: _Call) -> Answer:
        if self._credential is None:
            return await stack.enter_async_context(self._exchange(request, call, None))
        token = await self._credential.get()
        try:
            answer = await stack.enter_async_context(self._exchange(request, call, token))
        except Denied:
            if not self._credential.replaceable(token, call.endpoint):
                raise
            answer = None
        if answer is None:  # the place at the host is free again here: the login needs it
            token = await self._credential.get(instead_of=token)
            answer = await stack.enter_async_context(self._exchange(request, call, token))
        self._credential.worked(token, call.endpoint)
        return answer

    async def _log_in(self) -> Token:
        assert self._login is not None  # noqa: S101 a Credential exists only with a login
        call = _Call(
            "login", _LOGIN_TIMEOUT, _LOGIN_BODY, once=True
        )  # a vendor may count those that failed, and lock the user
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
        host = self._hosts.host(url)
        async with host.turn():
            if (seconds := host.quiet()) > 0:
                raise RateLimited(
                    f"{self.name} {call.endpoint}: the vendor asked to be left alone for {seconds:.0f} s more", seconds
                )
            budget = Budget(call.timeout)
            try:
                answer = await self._answer(request, url, call, token, budget)
            except PollerError as error:
                self._count(call, error, budget, 0)
                self._hosts.used.add(self)
                if isinstance(error, RateLimited) and error.retry_after:
                    host.leave_alone(error.retry_after)
                raise
            try:
                yield answer
            finally:
                await answer.close()
                self._hosts.used.add(self)
                self._count(call, answer.fault, budget, answer.size)

    async def _answer(self, request: Request, url: str, call: _Call, token: Token | None, budget: Budget) -> Answer:
        asking = Asking(f"{self.name} {call.endpoint}", url, call.timeout, self.redact, request, token)
        response = await self._respond(asking, budget, call)
        answer = Answer(response, budget, call.max_body, asking.where, asking.show)
        self._note_skew(answer, budget)
        if 200 <= answer.status < 300 or answer.status in call.accept:
            return answer
        try:
            said = await _beginning(answer)
        finally:
            await answer.close()
        raise of_status(asking, answer, said, self._clock.now())

    async def _respond(self, asking: Asking, budget: Budget, call: _Call) -> Heard:
        """The answer's head."""
        progress, connect = Progress(), min(_CONNECT, asking.timeout)
        try:
            asked = self._asked(asking, once=call.once)
            with budget.wait():
                return await self._connections.ask(asked, progress, connect=connect, judge=call.judge)
        except (*FAULTS, h11.LocalProtocolError, ValueError, TypeError) as error:
            caught = error
        # Raised here and not above, so that the library's error, which may hold the request, is not its context.
        raise of_error(asking, caught, asked=progress.asked)

    def _asked(self, asking: Asking, *, once: bool) -> Asked:
        request, token = asking.request, asking.token
        headers = dict(_HEADERS)
        content = request.json
        if request.json is not None:
            headers["content-type"] = "application/json"
        elif request.form is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
            content = urlencode(request.form).encode()
        headers |= {name.lower(): value for name, value in request.headers}
        if self._is_foreign(asking.url):  # another host gets no credentials, whatever header they travel in
            headers = {name: value for name, value in headers.items() if name in _HARMLESS}
        else:
            if request.basic is not None:
                headers["authorization"] = f"Basic {basic(*request.basic)}"
            headers |= {name.lower(): value for name, value in (token.headers if token else ())}
        place, target = placed(asking.url)
        return Asked(place, request.method, target, list(headers.items()), content, once)

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

    # --- the rest --------------------------------------------------------------------------------------------------

    def _note_skew(self, answer: Answer, budget: Budget) -> None:
        if answer.date is None or "age" in answer.headers:  # a cache's copy: its Date is old
            return
        # A Date is cut to whole seconds, and it was written somewhere between our asking and its coming.
        now, mono = self._clock.now(), self._clock.mono()
        answer.skew, answer.ahead = answer.date + 0.5 - (now - budget.spent / 2), now - mono
        self._metrics.clock_skew[self.name].set(answer.skew)

    def _count(self, call: _Call, error: PollerError | None, budget: Budget, size: int) -> None:
        self._metrics.http_requests[self.name, call.endpoint, http_outcome(error)].inc()
        self._metrics.http_request_seconds.labels(call.endpoint).observe(budget.spent)
        if size:
            self._metrics.response_bytes.labels(call.endpoint).observe(size)


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
