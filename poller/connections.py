"""The connections of one source: opened where there is none, kept for a while for the next request. No proxy has a say."""

import ssl
from collections.abc import Callable

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream
from msgspec import Struct

from poller.clock import Clock
from poller.exchange import CLOSE, FAULTS, Asked, Broken, Heard, Line, Place

Judge = Callable[[str], None]
"""Told the network address of a new connection before anything is sent through it; raises a PollerError where nothing may be."""


class Progress(Struct):
    """How far a request came."""

    asked: bool = False


class Connections:
    """To the vendor, and to the hosts where its files are."""

    def __init__(self, tls: ssl.SSLContext, clock: Clock, *, keep: int, idle: float) -> None:
        """`keep`: so many at most are kept while nobody uses them; `idle`: seconds for which one is."""
        self._tls = tls
        self._clock = clock
        self._keep = keep
        self._seconds = idle
        self._idle: list[Line] = []

    async def ask(self, asked: Asked, progress: Progress, *, connect: float, judge: Judge | None) -> Heard:
        """The head of the answer. `connect`: seconds for a connection, and as many for its TLS; the rest wants a deadline around it.

        A kept connection may have been closed by the other side just now: then it is asked once more, on a new one. A POST too: MOR's
        lists are asked for by POST and only read; the one other POST is FonoUC's login, which is `once`. Not where an answer had begun:
        that one was heard, and would cost the vendor its work twice.
        Raises FAULTS, TimeoutError, h11.LocalProtocolError, and what `judge` raises.
        """
        line = None if asked.once else await self._kept(asked.place)
        if line is not None:
            progress.asked = True
            try:
                return await line.ask(asked, self._back)
            except FAULTS:
                if line.heard:
                    raise
                progress.asked = False
        line = await self._open(asked.place, connect, judge)
        progress.asked = True
        return await line.ask(asked, self._back)

    async def close(self) -> None:
        """Ends those that nobody uses, and keeps none any more: those in use end with their answers. Bounded for each."""
        self._keep = 0
        while self._idle:
            await self._idle.pop().close()

    @property
    def kept(self) -> bool:
        """Whether any waits for the next request."""
        return bool(self._idle)

    async def close_idle(self) -> None:
        """Ends those that nobody used for a while; bounded for each."""
        oldest = self._clock.mono() - self._seconds
        while (old := next((line for line in self._idle if line.used <= oldest), None)) is not None:
            self._idle.remove(old)
            await old.close()

    async def _kept(self, place: Place) -> Line | None:
        """The one that was used last. What is too old, or has been closed by the other side, goes."""
        await self.close_idle()
        while (line := next((line for line in reversed(self._idle) if line.place == place), None)) is not None:
            self._idle.remove(line)
            if line.silent():
                return line
            await line.close()
        return None

    async def _open(self, place: Place, seconds: float, judge: Judge | None) -> Line:
        with anyio.fail_after(seconds):
            stream: ByteStream = await anyio.connect_tcp(place.host, place.port)
        try:
            if judge is not None:
                judge(str(stream.extra(SocketAttribute.remote_address)[0]))  # noqa: S610 no Django here
            if place.scheme == "https":
                with anyio.fail_after(seconds):
                    stream = await self._wrapped(stream, place)
            return Line(stream, place)
        except BaseException:  # whatever was raised goes on from here, and nobody else knows the connection
            with anyio.move_on_after(CLOSE, shield=True):
                await stream.aclose()
            raise

    async def _wrapped(self, stream: ByteStream, place: Place) -> TLSStream:
        try:
            return await TLSStream.wrap(stream, hostname=place.host, ssl_context=self._tls)
        except anyio.BrokenResourceError as error:
            if not isinstance(error.__cause__, ssl.SSLError):
                raise
        # That it hung up says nothing about its certificate: it may be starting, or have too much to do.
        raise Broken("it closed the connection while TLS was being agreed")

    async def _back(self, line: Line, reusable: bool) -> None:
        """After an answer."""
        line.used = self._clock.mono()
        if reusable and len(self._idle) < self._keep:
            self._idle.append(line)
        else:
            await line.close()
