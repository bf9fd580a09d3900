"""One connection to a vendor and what is said on it: HTTP/1.1, one request after the other. No redirect, no cookie.

What is sent, and what may be the head of an answer, is the library's to judge, and so is a body in chunks. One of a declared length
goes past it: there it would be copied four times, and the layers above it would cut it into small pieces.
"""

import re
import select
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import anyio
import h11
import httpx
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream
from msgspec import Struct

_HEAD = 100 << 10
_PIECE = 1 << 20
_AT_ONCE = 16 << 10
"""Bytes that the system takes of a request without waiting for the other side."""
_RECORD = 16 << 10
"""The most that TLS gives at a time."""
CLOSE = 5.0
"""Seconds for closing."""
_INTERIM = 16
"""Answers that are none yet (1xx) before the one that counts: more of them would be an endless one."""
_PLAIN = re.compile(r"[\w\-.~/:@!$&'()*+,;=?%]*", re.ASCII)
"""What is asked for as it stands, unless a segment of it begins with a dot."""


class Broken(Exception):
    """The other side ended the exchange in the middle."""


FAULTS = (
    Broken,
    h11.RemoteProtocolError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    OSError,
)
"""What is raised where the network or the other side fails. TLS and names that cannot be resolved are kinds of OSError."""


class Place(Struct, frozen=True):
    """Where a connection leads."""

    scheme: str
    host: str
    port: int

    @property
    def shown(self) -> str:
        """As the header has it: a default port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _port(self.scheme) else f"{host}:{self.port}"


class Asked(Struct, frozen=True):
    """One request."""

    place: Place
    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    content: bytes | None
    once: bool = False
    """Not even where it may have got lost on a connection that was kept: this one goes on a new one."""

    def __repr__(self) -> str:
        """Without the target and the headers, which may hold secrets."""
        return f"<Asked {self.method} {self.place.shown}>"

    def begin(self) -> tuple[h11.Connection, bytes]:
        """What the answer is read with, and what is sent. Raises h11.LocalProtocolError where a header is none."""
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD)
        headers = [("host", self.place.shown), *self.headers]
        if self.content is not None or self.method == "POST":
            headers.append(("content-length", str(len(self.content or b""))))
        encoded = [(name.encode(), value.encode()) for name, value in headers]
        out = [http.send(h11.Request(method=self.method, target=self.target, headers=encoded))]
        if self.content:
            out.append(http.send(h11.Data(data=self.content)))
        out.append(http.send(h11.EndOfMessage()))
        return http, b"".join(part or b"" for part in out)


def placed(url: str) -> tuple[Place, str]:
    """Where a URL leads, and what is asked for there, with everything escaped that has to be. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an http or https URL")
    host = parts.hostname if parts.hostname.isascii() else _normal(f"http://{parts.hostname}").raw_host.decode()
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if "/." in target or not _PLAIN.fullmatch(target):
        target = _normal(f"http://any{target}").raw_path.decode()
    return Place(parts.scheme, host, parts.port or _port(parts.scheme)), target


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _normal(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL:
        pass
    raise ValueError("not a URL")


class Line:
    """One connection."""

    def __init__(self, stream: ByteStream, place: Place) -> None:
        self.place = place
        self.used = 0.0
        """When its last answer was whole."""
        self.heard = False
        """Whether an answer has begun since the last request."""
        self.sent = False
        """Whether all of the last request was."""
        self._early = b""
        """What came of the answer before that."""
        self._stream = stream
        self._socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 no Django here
        self._tls: ssl.SSLObject | None = stream.extra(TLSAttribute.ssl_object, None)  # noqa: S610 no Django here

    def silent(self) -> bool:
        """Whether nothing has come since the last answer; what comes is nearly always its end."""
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        return not poll.poll(0) and (self._tls is None or not self._deciphered())

    async def ask(self, asked: Asked, back: "Back") -> "Heard":
        """The head of the answer; `back` is called when it is over. Whatever is raised, the connection is closed."""
        try:
            self.heard = self.sent = False
            http, out = asked.begin()
            await self._send(out)
            head = await self._head(http)
        except BaseException:
            await self.close()
            raise
        return Heard(self, http, head, back)

    async def _send(self, out: bytes) -> None:
        """Listens beside a large body: who will not have it says so, and may hang up before all of it was sent."""
        if len(out) <= _AT_ONCE:
            await self._stream.send(out)
            self.sent = True
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen)
            with suppress(*FAULTS):  # who reads learns of it: after what was said before
                await self._stream.send(out)
                self.sent = True
            tasks.cancel_scope.cancel()

    async def _listen(self) -> None:
        with suppress(*FAULTS):
            while len(self._early) < _HEAD:
                self._early += await self._more(_PIECE)

    async def _head(self, http: h11.Connection) -> h11.Response:
        interim = 0
        while not isinstance(event := http.next_event(), h11.Response):
            if event is h11.NEED_DATA:
                http.receive_data(await self._received())
            elif not isinstance(event, h11.InformationalResponse) or interim == _INTERIM:
                raise Broken("it said something else than an answer")
            else:
                interim += 1
        return event

    async def _received(self) -> bytes:
        data, self._early = self._early, b""
        try:
            data = data or await self._more(_PIECE)
        except (anyio.EndOfStream, Broken):
            pass
        else:
            self.heard = True
            return data
        raise Broken("it closed the connection without an answer")

    async def _more(self, size: int) -> bytes:
        """Raises EndOfStream where the other side has said that it is the end: anybody on the way can close a connection."""
        try:
            return await self._stream.receive(size)
        except anyio.BrokenResourceError as error:
            if not isinstance(error.__cause__, ssl.SSLError):
                raise
        raise Broken("the connection was closed, but TLS had not ended")

    async def receive(self) -> bytes:
        """What has come by now, and if that is nothing, what comes next. Raises EndOfStream."""
        if self._tls is None:
            return await self._more(_PIECE)
        parts = [await self._more(_RECORD)]
        while len(parts) < _PIECE // _RECORD and (part := self._deciphered()):
            parts.append(part)
        return b"".join(parts)

    def _deciphered(self) -> bytes:
        """What TLS has received already, without waiting."""
        assert self._tls is not None  # noqa: S101 who asks has seen to it
        try:
            return self._tls.read(_RECORD)
        except ssl.SSLError:  # nothing more yet; a fault comes again when there is more to be waited for
            return b""

    async def close(self) -> None:
        """Bounded. TLS says no farewell: nobody waits for one, and what is not sent whole needs none."""
        stream = self._stream
        with anyio.move_on_after(CLOSE, shield=True):
            await (stream.transport_stream if isinstance(stream, TLSStream) else stream).aclose()


Back = Callable[[Line, bool], Awaitable[None]]
"""Told that an answer is over, and whether its connection can be asked again."""


class Heard:
    """The head of an answer, and its body as it comes."""

    def __init__(self, line: Line, http: h11.Connection, head: h11.Response, back: Back) -> None:
        self.status = head.status_code
        self.headers = _headers(head)
        self._line = line
        self._http = http
        self._whole = False
        # Two lengths, of which another reader may believe the other one: what follows is nobody's.
        self._torn = {"content-length", "transfer-encoding"} <= self.headers.keys()
        """Nothing more can be asked here, however well this ends."""
        self._back: Back | None = back

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it was sent, without the marks of chunks. Raises FAULTS."""
        left = self._declared()
        if left is None:
            async for data in self._judged():
                yield data
            return
        data, length = self._http.trailing_data[0], left
        while True:
            if len(data) > left:
                self._torn = True  # what came behind it would be taken for the next answer
            if part := data[:left]:  # of bytes that are no longer, no copy is made
                yield part
                left -= len(part)
            if not left:
                break
            try:
                data = await self._line.receive()
            except anyio.EndOfStream:
                raise Broken(f"it closed the connection after {length - left} of {length} bytes") from None
        self._whole = True

    def _declared(self) -> int | None:
        """The length of the body, where nothing else says how long it is."""
        if self.status in {204, 304} or "transfer-encoding" in self.headers:
            return None
        length = self.headers.get("content-length")  # one number: the library has seen to it
        return None if length is None else int(length)

    async def _judged(self) -> AsyncGenerator[bytes, None]:
        while not isinstance(event := self._http.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif event is h11.NEED_DATA:
                try:
                    data = await self._line.receive()
                except anyio.EndOfStream:
                    data = b""
                self._http.receive_data(data)
            else:
                raise Broken("it said something else than an answer")
        self._torn = self._torn or self._http.their_state is not h11.DONE or bool(self._http.trailing_data[0])
        self._whole = True

    @property
    def reusable(self) -> bool:
        """Whether the connection can be asked again: the answer came to its end, and neither side said that it was the last one."""
        return self._whole and not self._torn and self._line.sent and self._http.our_state is h11.DONE

    async def close(self) -> None:
        """Gives the connection back, or ends it; bounded."""
        back, self._back = self._back, None
        if back is not None:
            await back(self._line, self.reusable)


def _headers(head: h11.Response) -> dict[str, str]:
    """By name in small letters; what came several times is joined."""
    found: dict[str, str] = {}
    for name, value in head.headers:
        text = _text(value)
        key = name.decode()
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
