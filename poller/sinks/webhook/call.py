"""One call: sent once, answered in time or not. Connections are kept for the next call."""

import time

import anyio
import httpcore

from poller.redact import Redactor, printable
from poller.sinks.webhook.config import Config
from poller.sinks.webhook.dial import LIBRARY_FAULTS, Dialler, NoLine, Stream
from poller.sinks.webhook.formats import Call
from poller.sinks.webhook.verdict import CONTROL, NoReply, Reply

_HEAD = 64 << 10
_BODY = 8 << 10
"""Bytes of an answer's body: enough for people, and to reach the end of most, so that the connection can be kept."""
_BODY_WAIT = 2.0
"""Seconds for it. What the answer means is known before."""
_IDLE = 15.0
"""Seconds; many servers close what is idle for longer."""
_OLDEST = 300.0
"""Seconds after which a connection is made anew, so that a name that leads elsewhere by then is followed."""
_WANTED = {name.encode(): name for name in (CONTROL, "retry-after", "date", "location")}
_CLOSE = 1.0


class _Kept:
    """A connection and how old it is."""

    def __init__(self, stream: Stream, origin: httpcore.Origin) -> None:
        self.stream = stream
        self.http = httpcore.AsyncHTTP11Connection(origin, stream, _IDLE)
        self.born = time.monotonic()

    def usable(self) -> bool:
        """False where it is too old, where the other side seems to have closed it, or where it said more than its answer."""
        young = time.monotonic() - self.born < _OLDEST
        return young and self.http.is_idle() and not self.http.has_expired() and not self._said_more()

    def _said_more(self) -> bool:
        """204 with a body, say: the next answer would begin with the rest of this one, and its call be made twice."""
        rest, _ = self.http._h11_state.trailing_data  # noqa: SLF001 the library tells nobody
        return bool(rest)

    async def close(self) -> None:
        with anyio.move_on_after(_CLOSE, shield=True):
            await self.http.aclose()


class _Progress:
    """How far a call came."""

    def __init__(self) -> None:
        self.connected = False
        self.reply: Reply | None = None


class Caller:
    """Calls one webhook. Neither redirects nor cookies are followed, and nothing is sent again for its answer."""

    def __init__(self, config: Config, dialler: Dialler) -> None:
        self._dialler = dialler
        url = config.url
        self._url = httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target)
        self._place = url.place
        self._timeout = config.timeout
        self._most = config.concurrency
        self._idle: list[_Kept] = []

    async def call(self, call: Call, redact: Redactor) -> Reply | NoReply:
        """Sends, and waits for the answer within the webhook's timeout, connecting included."""
        progress = _Progress()
        try:
            with anyio.move_on_after(self._timeout):
                await self._exchange(call, progress)
        except NoLine as error:
            return error.reply
        except LIBRARY_FAULTS as error:
            if progress.reply is None:
                return NoReply("unreachable", f"no answer from {self._place}: {_shown(error, redact)}")
        if progress.reply is not None:
            return progress.reply
        if progress.connected:
            return NoReply("timeout", f"no answer from {self._place} within {self._timeout:g} s")
        return NoReply(
            "unreachable", f"no connection to {self._place} within {self._timeout:g} s. Check url and the network"
        )

    async def close(self) -> None:
        """Drops the connections that are kept."""
        while self._idle:
            await self._idle.pop().close()

    async def _exchange(self, call: Call, progress: _Progress) -> None:
        """On a kept connection where there is one. The receiver may have closed it while the call was on its way: then nothing
        was heard, and the call is made once more on a connection of its own. It may thus arrive twice, under the same id.
        """
        kept = await self._take()
        if kept is not None:
            progress.connected = True
            try:
                return await self._send(kept, call, progress)
            except LIBRARY_FAULTS:
                if kept.stream.heard:
                    raise
            progress.connected = False
        fresh = _Kept(await self._dialler.dial(), self._url.origin)
        progress.connected = True
        return await self._send(fresh, call, progress)

    async def _take(self) -> _Kept | None:
        while self._idle:
            kept = self._idle.pop()
            if kept.usable():
                return kept
            await kept.close()
        return None

    async def _send(self, kept: _Kept, call: Call, progress: _Progress) -> None:
        kept.stream.heard = False
        kept.stream.allow(_HEAD)
        try:
            request = httpcore.Request("POST", self._url, headers=call.headers, content=call.body)
            response = await kept.http.handle_async_request(request)
            progress.reply = Reply(response.status, _headers(response), b"")
            kept.stream.allow(_BODY)
            progress.reply = Reply(response.status, progress.reply.headers, await _beginning(response))
            await response.aclose()
        except BaseException:  # whatever ends this, a cancellation too: nobody else knows the connection
            await kept.close()
            raise
        if kept.http.is_idle() and len(self._idle) < self._most:
            self._idle.append(kept)
        else:
            await kept.close()


def _headers(response: httpcore.Response) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in response.headers:
        wanted = _WANTED.get(name.lower())
        if wanted is not None:
            found.setdefault(wanted, value.decode("latin-1"))
    return found


async def _beginning(response: httpcore.Response) -> bytes:
    """The first bytes of the body, as far as they come soon. Where it goes on, the connection is of no more use."""
    said = bytearray()
    with anyio.move_on_after(_BODY_WAIT):
        try:
            async for chunk in response.aiter_stream():
                said += chunk
        except LIBRARY_FAULTS:
            pass
    return bytes(said[:_BODY])


def _shown(error: BaseException, redact: Redactor) -> str:
    """A library's error on one line. It may quote what the other side sent. One without words is a connection that ended by force."""
    text = str(error).encode() or b"the connection broke"
    return redact(printable(text, len(text)))[:200]
