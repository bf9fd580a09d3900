"""The daemon's operations through its unix socket."""

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, cast
from urllib.parse import quote

import httpx
import msgspec

from poller.errors import PollerError, Transient, Unknown
from poller.journeys import Journey
from poller.operations import (
    Again,
    DeadLetter,
    Listed,
    Listing,
    Reconcile,
    Reconciled,
    Replay,
    Replayed,
    Status,
    Switched,
    Tried,
    WebhookStatus,
)
from poller.source_status import SourceStatus

ANSWER = 60.0
"""Seconds to wait for an answer."""
REBUILD = 3600.0
"""Seconds to wait for a rebuild, which reads topics back."""
REREAD = 3600.0
"""Seconds to wait while a span is read again, which goes by the vendor's pace."""

T = TypeVar("T")
Found = dict[str, object] | None


def alive(path: Path) -> bool:
    """Whether somebody listens on the socket. Raises PollerError where that cannot be found out."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return False
        except TimeoutError:
            return True
        except OSError as error:
            if error.errno == errno.EAGAIN:  # its queue of connections is full
                return True
            raise PollerError(f"admin.socket: {path} cannot be used: {error.strerror or error}") from None
    return True


@asynccontextmanager
async def connect(path: Path) -> AsyncIterator["Remote | None"]:
    """The running daemon's operations, None when none runs."""
    if not alive(path):
        yield None
        return
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with httpx.AsyncClient(transport=transport, base_url="http://poller", trust_env=False) as client:
        yield Remote(client, path)


class Remote:
    """`Operations` of another process."""

    def __init__(self, client: httpx.AsyncClient, path: Path) -> None:
        self._client = client
        self._path = path

    async def status(self) -> Status:
        """See Operations."""
        return await self._ask("GET", "/status", Status)

    async def source(self, name: str) -> SourceStatus:
        """See Operations."""
        return await self._ask("GET", f"/sources/{quote(name, safe='')}", SourceStatus)

    async def journey(self, wanted: str) -> Journey:
        """See Operations."""
        return await self._ask("GET", "/journey", Journey, params={"id": wanted})

    async def dead_letters(self, asked: Listing) -> Listed:
        """See Operations."""
        return await self._ask("POST", "/dead-letters", Listed, json=msgspec.to_builtins(asked))

    async def dead_letter(self, letter: str) -> DeadLetter:
        """See Operations."""
        return await self._ask("GET", f"/dead-letters/{quote(letter, safe='')}", DeadLetter)

    async def retry(self, asked: Again) -> Tried:
        """See Operations."""
        return await self._ask("POST", "/dead-letters/retry", Tried, json=msgspec.to_builtins(asked))

    async def recording(self, source: str, recording_id: str) -> dict[str, object] | None:
        """See Operations."""
        return await self._ask("GET", f"/recordings/{quote(source, safe='')}", Found, params={"id": recording_id})

    async def webhooks(self, name: str | None = None) -> list[WebhookStatus]:
        """See Operations."""
        params = {} if name is None else {"name": name}
        return await self._ask("GET", "/webhooks", list[WebhookStatus], params=params)

    async def enable_webhook(self, name: str) -> Switched:
        """See Operations."""
        return await self._ask("POST", f"/webhooks/{quote(name, safe='')}/enable", Switched)

    async def disable_webhook(self, name: str, why: str) -> Switched:
        """See Operations."""
        return await self._ask("POST", f"/webhooks/{quote(name, safe='')}/disable", Switched, json={"why": why})

    async def forget_sink(self, name: str) -> None:
        """See Operations."""
        await self._ask("POST", f"/sinks/{quote(name, safe='')}/forget", type(None))

    async def forget_source(self, source: str) -> None:
        """See Operations."""
        await self._ask("POST", f"/sources/{quote(source, safe='')}/forget", type(None))

    async def rebuild(self, *, sink: str | None, accept_duplicates: bool) -> list[str]:
        """See Operations."""
        body = {"sink": sink, "accept_duplicates": accept_duplicates}
        return await self._ask("POST", "/rebuild", list[str], patience=REBUILD, json=body)

    async def replay(self, asked: Replay) -> Replayed:
        """See Operations."""
        return await self._ask("POST", "/replay", Replayed, json=msgspec.to_builtins(asked))

    async def reconcile(self, asked: Reconcile) -> Reconciled:
        """See Operations."""
        body = msgspec.to_builtins(asked)
        return await self._ask("POST", "/reconcile", Reconciled, patience=REREAD, json=body)

    async def _ask(
        self,
        method: str,
        path: str,
        wanted: type[T] | UnionType,
        *,
        patience: float = ANSWER,
        **more: Any,  # noqa: ANN401 passed on
    ) -> T:
        try:
            answer = await self._client.request(method, path, timeout=patience, **more)
        except httpx.HTTPError as error:
            raise Transient(f"the daemon at {self._path} did not answer: {type(error).__name__}") from None
        if answer.status_code == 200:
            return cast(T, msgspec.json.decode(answer.content, type=wanted))
        raise _refusal(answer)


def _refusal(answer: httpx.Response) -> PollerError:
    try:
        said = str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        said = f"the daemon failed ({answer.status_code}): its log says why"
    return Unknown(said) if answer.status_code == 404 else PollerError(said)
