"""One answer while it is read: every wait bounded, decompressed in small pieces, cut at the largest size allowed."""

import zlib
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress

import anyio
import anyio.lowlevel

from poller.backoff import http_date
from poller.errors import Malformed, PollerError, TimedOut, TooLarge, Truncated
from poller.exchange import FAULTS, Heard

_PIECE = 256 << 10
_SLACK = 64 << 10
_GZIP = b"\x1f\x8b"


class Budget:
    """The seconds that may be spent waiting for the other side; the caller's own work between waits is free."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.spent = 0.0

    @contextmanager
    def wait(self) -> Iterator[None]:
        """Around one await. Raises TimeoutError when the budget is used up."""
        begun = anyio.current_time()
        try:
            with anyio.fail_after(self.seconds - self.spent):
                yield
        finally:
            self.spent += anyio.current_time() - begun


class Answer:
    """An answer whose headers have come. Made by `Vendor.fetch`; usable inside its block only."""

    def __init__(self, heard: Heard, budget: Budget, max_body: int, where: str, show: Callable[[object], str]) -> None:
        self._heard = heard
        self._budget = budget
        self._max = max_body
        self._where = where
        self._show = show
        self._raw: AsyncGenerator[bytes, None] | None = None
        self.status = heard.status
        self.headers = heard.headers
        """By name in small letters."""
        self.content_type = heard.headers.get("content-type", "").split(";")[0].strip().lower()
        self.date = http_date(heard.headers.get("date"))
        self.vendor_time = None if self.date is None else self.date - budget.spent
        """A sound lower bound of the vendor's clock when it began to answer: its Date minus the seconds until it came."""
        self.skew: float | None = None
        """The vendor's clock minus ours, to about a second; None without a Date."""
        self.ahead = 0.0
        """Our wall clock minus the monotonic one when that was looked at."""
        self.size = 0
        """Bytes read so far, decompressed."""
        self.fault: PollerError | None = None
        """Why the body could not be read."""

    def __repr__(self) -> str:
        """Without content."""
        return f"<Answer {self.status} {self.content_type} of {self._where}>"

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body, decompressed. Raises TimedOut, TooLarge, Truncated, Malformed."""
        unpack = _unpacker(self.headers.get("content-encoding", ""))
        if unpack is None:
            raise self._fail(Malformed, "came in an encoding that was not asked for")
        declared = self.headers.get("content-length", "")
        if declared.isdecimal() and len(declared) < 20 and int(declared) > self._max + _SLACK:
            raise self._fail(TooLarge, f"announces {int(declared)} bytes, more than max_body ({self._max})")
        received = 0
        self._raw = self._heard.chunks()
        while (data := await self._next(self._raw)) is not None:
            received += len(data)
            pieces = unpack.feed(data)
            while (piece := self._piece(pieces)) is not None:
                self.size += len(piece)
                # What comes in counts too: a compressed body can be endless without ever yielding anything.
                if self.size > self._max or received > self._max + _SLACK:
                    raise self._fail(TooLarge, f"is larger than max_body ({self._max} bytes)")
                if piece:
                    yield piece
                await anyio.lowlevel.checkpoint()
        if not unpack.whole:
            raise self._fail(Truncated, "ends in the middle of its compressed data")

    async def read(self) -> bytes:
        """The whole body; raises as `chunks` does."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def close(self) -> None:
        """Gives the connection back; bounded, never raises."""
        with anyio.move_on_after(5, shield=True), suppress(Exception):
            if self._raw is not None:
                await self._raw.aclose()
            await self._heard.close()

    def _piece(self, pieces: Iterator[bytes]) -> bytes | None:
        try:
            return next(pieces, None)
        except zlib.error:
            pass
        raise self._fail(Malformed, "is not the compressed data that it claims to be")

    async def _next(self, raw: AsyncGenerator[bytes, None]) -> bytes | None:
        """The next bytes as they came, None at the end."""
        try:
            with self._budget.wait():
                return await anext(raw, None)
        except TimeoutError:
            fault = self._fail(
                TimedOut, f"was not whole within {self._budget.seconds:g} s (received {self.size} bytes)"
            )
        except FAULTS as error:
            fault = self._fail(Truncated, f"broke off after {self.size} bytes ({self._show(error)})")
        raise fault

    def _fail(self, kind: type[PollerError], what: str) -> PollerError:
        self.fault = kind(f"{self._where}: the answer {what}")
        return self.fault


class _Plain:
    whole = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data


class _Inflated:
    """Gzip (several members too) or deflate, at most `_PIECE` bytes at a time however far it expands."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._member = zlib.decompressobj(31 if gzip else 15)
        self._begun = False

    @property
    def whole(self) -> bool:
        """Whether the compressed data came to its end (or never began)."""
        return self._member.eof or not self._begun

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member.eof:
                if not (self._gzip and data.startswith(_GZIP[: len(data)])):
                    return  # padding after the end
                self._member = zlib.decompressobj(31)
            yield self._inflate(data)
            data = self._member.unconsumed_tail or self._member.unused_data

    def _inflate(self, data: bytes) -> bytes:
        first, self._begun = not self._begun, True
        try:
            return self._member.decompress(data, _PIECE)
        except zlib.error:
            if not first or self._gzip:
                raise
        self._member = zlib.decompressobj(-15)  # some servers send deflate without its header
        return self._member.decompress(data, _PIECE)


def _unpacker(encoding: str) -> "_Plain | _Inflated | None":
    match encoding.strip().lower():
        case "" | "identity":
            return _Plain()
        case "gzip" | "x-gzip":
            return _Inflated(gzip=True)
        case "deflate":
            return _Inflated(gzip=False)
    return None
