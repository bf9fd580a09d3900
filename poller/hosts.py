"""What sources on the same host share: turns, pace and TLS settings."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import anyio

from poller.clock import Clock
from poller.errors import ConfigError
from poller.options import Tls


def origin(url: str) -> str:
    """Scheme, host and port of a URL in one spelling. Raises ValueError where it has none."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an http or https URL")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{parts.hostname.lower()}:{port}"


class Host:
    """One vendor host. The smallest concurrency and rate that any of its sources configures hold for all of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._limiter = anyio.CapacityLimiter(1)
        self._claimed = False
        self._gap = 0.0
        self._next = 0.0
        self._quiet_until = 0.0

    def leave_alone(self, seconds: float) -> None:
        """The host asked for it (Retry-After): nobody asks it meanwhile."""
        self._quiet_until = max(self._quiet_until, self._clock.mono() + seconds)

    def quiet(self) -> float:
        """Seconds for which it is still left alone; not positive when it may be asked."""
        return self._quiet_until - self._clock.mono()

    def claim(self, concurrency: int, rate: float | None) -> None:
        """Takes one source's settings into account."""
        smallest = min(concurrency, int(self._limiter.total_tokens)) if self._claimed else concurrency
        self._limiter.total_tokens = smallest
        self._claimed = True
        if rate is not None:
            self._gap = max(self._gap, 1 / rate)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for a free place and for the pace. How long is up to the other requests, each of which has a deadline."""
        borrower = object()  # one task may hold two places: a walk that asks twice
        await self._limiter.acquire_on_behalf_of(borrower)
        try:
            await self._keep_pace()
            yield
        finally:
            self._limiter.release_on_behalf_of(borrower)

    async def _keep_pace(self) -> None:
        if not self._gap:
            return
        now = self._clock.mono()
        at = max(now, self._next)
        self._next = at + self._gap
        if at > now:
            await self._clock.sleep(at - now)


class Keeping(Protocol):
    """Whoever keeps connections for the next request."""

    async def close_idle(self) -> None:
        """Closes them where nothing was asked for a while."""


class Hosts:
    """All hosts of the process, and one TLS context for each different setting (a context costs close to a megabyte)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hosts: dict[str, Host] = {}
        self.used: set[Keeping] = set()
        """Those who may have connections: few of ten thousand sources at a time."""
        self._contexts: dict[tuple[Path | None, bool], ssl.SSLContext] = {}

    def host(self, url: str) -> Host:
        """The host of a URL; one that nobody claimed is asked for one thing at a time."""
        return self._hosts.setdefault(origin(url), Host(self._clock))

    def tls(self, options: Tls) -> ssl.SSLContext:
        """The context for these settings. Raises ConfigError where the file of issuers cannot be used."""
        key = (options.ca_file, options.verify)
        if key not in self._contexts:
            self._contexts[key] = _context(options)
        return self._contexts[key]


def _context(options: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"tls.ca_file {options.ca_file} cannot be used ({type(error).__name__}): give a PEM file with the issuers to trust"
        ) from None
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.options &= (
        ~ssl.OP_IGNORE_UNEXPECTED_EOF
    )  # a body that was cut off on the way would be taken for a whole one
    context.set_alpn_protocols(["http/1.1"])
    return context
