"""A connection to a webhook: the name is looked up, every address judged, and the socket goes to exactly the one that was judged."""

import math
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import anyio
import anyio.to_thread
import httpcore

from poller.addresses import Refusal, answer_refusal, literal_of, refusal
from poller.errors import ConfigError, causes
from poller.sinks.webhook.config import Config
from poller.sinks.webhook.verdict import NoReply

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""A name and a port → its addresses, in the order to try. Raises OSError."""

LIBRARY_FAULTS = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.ConnectionNotAvailable,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    OSError,
    RuntimeError,  # what uvloop raises on a transport that closed meanwhile
)
"""What the libraries raise when the other side or the network fails."""

_MOST_ADDRESSES = 8
_ONE_ADDRESS = 3.0
"""Seconds for an address while there are others: an IPv6 that leads nowhere must not use up the time."""
_LOOK_UPS = 4
"""At a time. A thread each, of this webhook alone: a name server that hangs must not hold up anybody else's look-ups."""


class NoLine(Exception):
    """There is no connection. Holds what is to be said of it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reply = NoReply(reason, message)


class Stream(httpcore.AsyncNetworkStream):
    """Counts what comes and lets no more of it in than `allow` said: whatever is sent without end ends here.

    What is written leaves in one piece once an answer is waited for: the library would send headers and body apart.
    """

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._out: list[bytes] = []
        self._left = 0
        self.heard = False
        """Whether anything came since the last `allow`."""

    def allow(self, size: int) -> None:
        """From now on at most `size` bytes are read."""
        self._left = size

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 the library's own signature
        """The next bytes; empty at the end. Raises ReadError where there were too many."""
        if self._left <= 0:
            raise httpcore.ReadError("what it sends does not come to an end")
        if self._out:
            data, self._out = b"".join(self._out), []
            await self._inner.write(data, timeout)
        data = await self._inner.read(min(max_bytes, self._left), timeout)
        self._left -= len(data)
        self.heard = self.heard or bool(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 the library's own signature
        """Keeps it until `read`."""
        if buffer:
            self._out.append(buffer)

    async def aclose(self) -> None:
        """Drops the connection."""
        await self._inner.aclose()

    def get_extra_info(self, info: str) -> object:
        """As the library asks for it."""
        return self._inner.get_extra_info(info)


class Dialler:
    """Opens connections to one webhook. No proxy and nothing else of the environment has a say.

    `resolve` and `network` are there to be replaced by others that answer in the same way.
    """

    def __init__(
        self, config: Config, *, resolve: Resolve | None = None, network: httpcore.AsyncNetworkBackend | None = None
    ) -> None:
        """Raises ConfigError where the file of issuers cannot be used."""
        self._url = config.url
        self._allow = config.allowed()
        self._tls = _context(config.tls.ca_file, config.tls.verify) if config.url.scheme == "https" else None
        self._resolve = resolve or self._look_up
        self._network = network or httpcore.AnyIOBackend()
        self._limiter: anyio.CapacityLimiter | None = None

    async def dial(self) -> Stream:
        """A connection, ready for HTTP. Wants a deadline around it. Raises NoLine."""
        addresses = await self.addresses()
        stream = await self._connect(addresses[:_MOST_ADDRESSES])
        try:
            self._check_peer(stream)
            if self._tls is not None:
                return Stream(await self._secure(stream, self._tls))
        except BaseException:  # whatever ends this, a cancellation too: nobody else knows the connection
            with anyio.move_on_after(1, shield=True):
                await stream.aclose()
            raise
        return Stream(stream)

    async def addresses(self) -> list[str]:
        """All that the host leads to, every one of which may be reached. Wants a deadline around it. Raises NoLine."""
        host = self._url.host
        literal = literal_of(host)
        if literal is not None:
            self._refuse(refusal(literal, self._allow))
            return [str(literal)]
        try:
            found = list(dict.fromkeys(await self._resolve(host, self._url.port)))
        except (OSError, UnicodeError):
            raise NoLine("unreachable", f"the name {host} cannot be resolved. Check url and the name service") from None
        self._refuse(answer_refusal(found, self._allow, host=host))
        return found

    def _refuse(self, found: Refusal | None) -> None:
        if found is None:
            return
        if found.reason == "no_address":
            raise NoLine("unreachable", found.message)
        raise NoLine("address", f"no call was made to {self._url.host}: {found.message}")

    async def _connect(self, addresses: Sequence[str]) -> httpcore.AsyncNetworkStream:
        """To the first address that takes it."""
        said = ""
        for address, seconds in _shares(addresses):
            try:
                with anyio.fail_after(seconds):
                    return await self._network.connect_tcp(address, self._url.port)
            except TimeoutError:
                said = f"{address} does not answer"
            except LIBRARY_FAULTS as error:
                said = f"{address}: {_cause(error)}"
        raise NoLine("unreachable", f"no connection to {self._url.place} ({said}). Check url and the network")

    def _check_peer(self, stream: httpcore.AsyncNetworkStream) -> None:
        """Once more, of the socket itself: whatever lies between may have turned it."""
        peer = stream.get_extra_info("server_addr")
        self._refuse(refusal(peer[0] if peer else "", self._allow, host=self._url.host))

    async def _secure(
        self, stream: httpcore.AsyncNetworkStream, context: ssl.SSLContext
    ) -> httpcore.AsyncNetworkStream:
        place = self._url.place
        try:
            return await stream.start_tls(context, self._url.host.rstrip("."))
        except LIBRARY_FAULTS as error:
            fault = next((cause for cause in causes(error) if isinstance(cause, ssl.SSLError)), None)
            said = _cause(error)
        if isinstance(fault, ssl.SSLCertVerificationError):
            raise NoLine(
                "certificate",
                f"the certificate of {place} is not trusted ({fault.verify_message}). "
                "Set tls.ca_file to a PEM file with its issuer, or correct the host name in url",
            )
        raise NoLine("certificate", f"TLS with {place} failed ({said}). Check that its port speaks https")

    async def _look_up(self, host: str, port: int) -> list[str]:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(_LOOK_UPS)

        def ask() -> list[str]:
            return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

        return await anyio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._limiter)


def _shares(addresses: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Each address with its part of the time that is left."""
    for number, address in enumerate(addresses):
        left = anyio.current_effective_deadline() - anyio.current_time()
        last = number == len(addresses) - 1
        yield address, math.inf if last else min(_ONE_ADDRESS, left / (len(addresses) - number))


def _cause(error: BaseException) -> str:
    """What was at the bottom of it, in the words of the system."""
    cause = list(causes(error))[-1]
    if isinstance(cause, ssl.SSLError):
        return cause.reason or "closed"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return type(cause).__name__


@lru_cache(maxsize=64)
def _context(ca_file: Path | None, verify: bool) -> ssl.SSLContext:
    """One for all webhooks with these settings: a context costs close to a megabyte."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"tls.ca_file {ca_file} cannot be used ({type(error).__name__}): give a PEM file with the issuers to trust"
        ) from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
