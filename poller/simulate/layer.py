"""Between the network and a vendor's application: faults of the transport, the Date header, and a vendor that is away."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from poller.simulate.faults import FAULTS
from poller.simulate.site import Site
from poller.simulate.wire import abort, write_and_close

_HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>It works!</h1></body></html>"
_BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE page [<!ENTITY a "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa">'
    b'<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">'
    b'<!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;"><!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;">'
    b'<!ENTITY x SYSTEM "file:///etc/passwd">]><page><pagename>&e;&x;</pagename></page>'
)
_ERRORS = {
    "mor": b'<?xml version="1.0" encoding="UTF-8"?>\n<status><error>Cannot connect to Elasticsearch</error></status>',
    "thulium": b'{"request_id":"671dab","errors":[{"message":"Internal error","code":100500}]}',
    "fonouc": b"upstream request failed: database is not reachable\n",
}
_PIECES: Final = 20


@dataclass(slots=True)
class _Whole:
    """An answer that was made but not sent."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class FaultLayer:
    """Wraps a vendor's application; `app` itself never sees a fault that happens here."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app = app
        self._site = site
        self._before = [
            name for name, fault in FAULTS.items() if fault.where == "before" and name != "token_expired_early"
        ]
        self._after = [name for name, fault in FAULTS.items() if fault.where == "after"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        if self._site.down:
            await self._away(scope, receive, send)
            return
        send = self._dated(send)
        for name in self._before:
            if self._site.faults.fires(name):
                await self._instead(name, scope, receive, send)
                return
        for name in self._after:
            if self._site.faults.fires(name):
                await _spoil_answer(name, await _collect(self._run, scope, receive), scope, send)
                return
        await self._run(scope, receive, send)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A simulator that fails by itself must not pass for a vendor's fault: it is remembered."""
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            return  # whoever asked has gone, perhaps killed: no fault of ours
        except Exception as fault:
            self._site.crashes.append(f"{scope['path']}: {fault!r}")
            raise

    def _dated(self, send: Send) -> Send:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = self._site.date()
                headers = [pair for pair in message.get("headers", []) if pair[0] != b"date"]
                message = {**message, "headers": headers + ([(b"date", date.encode())] if date else [])}
            await send(message)

        return dated

    async def _away(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._site.down == "503":
            await _send(send, 503, b"<html>Service Unavailable</html>", "text/html")
        elif self._site.down == "hang":
            await _until_gone(receive)
        else:
            await abort(scope)

    async def _instead(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        later = formatdate(self._site.world.clock.now() + 2, usegmt=True)
        plain = {
            "html_200": (200, _HTML, "text/html", []),
            "empty_200": (200, b"", "application/json", []),
            "error_200": (200, _ERRORS[self._site.vendor], "text/html", []),
            "http_500": (500, b"<html>Internal Server Error</html>", "text/html", []),
            "http_503_retry_after": (503, b"busy", "text/plain", [("retry-after", "1")]),
            "rate_limit_429": (429, b'{"error":"too_many_requests"}', "application/json", []),
            "rate_limit_429_seconds": (429, b"slow down", "text/plain", [("retry-after", "1")]),
            "rate_limit_429_date": (429, b"slow down", "text/plain", [("retry-after", later)]),
            "redirect_other_host": (302, b"", "text/plain", [("location", "http://other.example.invalid/login")]),
            "doctype_bomb": (200, _BOMB, "text/html", []),
        }
        if name in plain:
            status, body, content_type, headers = plain[name]
            await _send(send, status, body, content_type, *headers)
        elif name == "hang":
            await _until_gone(receive)
        elif name == "connection_reset":
            await abort(scope)
        else:
            await _stream(send, _endless() if name == "endless_body" else _inflating(), gzipped=name == "gzip_bomb")


async def _collect(app: ASGIApp, scope: Scope, receive: Receive) -> _Whole:
    whole = _Whole(500, [], b"")
    pieces: list[bytes] = []

    async def take(message: Message) -> None:
        if message["type"] == "http.response.start":
            whole.status, whole.headers = message["status"], list(message.get("headers", []))
        elif message["type"] == "http.response.body":
            pieces.append(message.get("body", b""))

    await app(scope, receive, take)
    whole.body = b"".join(pieces)
    whole.headers = [pair for pair in whole.headers if pair[0] != b"content-length"]
    return whole


async def _spoil_answer(name: str, whole: _Whole, scope: Scope, send: Send) -> None:
    body = whole.body
    half = body[: len(body) // 2]
    changed = {
        "truncated": half,
        "wrong_charset": body.decode("utf-8", "replace").encode("utf-16"),
        "invalid_utf8": half + b"\xff\xfe\xc3(" + body[len(half) :],
    }
    if name in changed:
        await _send_whole(send, whole, changed[name])
    elif name == "late":
        await asyncio.sleep(2)
        await _send_whole(send, whole, body)
    elif name == "slow":
        await _drip(send, whole)
    else:
        length = {"reset_midway": len(body), "content_length_too_long": len(body) + 1000}.get(name, len(half))
        sent = half if name == "reset_midway" else body
        await write_and_close(scope, whole.status, whole.headers, length, sent, reset=name == "reset_midway")


async def _send_whole(send: Send, whole: _Whole, body: bytes) -> None:
    headers = [*whole.headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": whole.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _drip(send: Send, whole: _Whole) -> None:
    await send({"type": "http.response.start", "status": whole.status, "headers": whole.headers})
    step = max(1, len(whole.body) // _PIECES)
    for begin in range(0, len(whole.body), step):
        await send({"type": "http.response.body", "body": whole.body[begin : begin + step], "more_body": True})
        await asyncio.sleep(0.05)
    await send({"type": "http.response.body", "body": b""})


async def _send(send: Send, status: int, body: bytes, content_type: str, *headers: tuple[str, str]) -> None:
    pairs = [("content-type", content_type), ("content-length", str(len(body))), *headers]
    encoded = [(name.encode(), value.encode()) for name, value in pairs]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


async def _stream(send: Send, pieces: AsyncIterator[bytes], *, gzipped: bool) -> None:
    headers = [(b"content-type", b"application/json"), *([(b"content-encoding", b"gzip")] if gzipped else [])]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _endless() -> AsyncIterator[bytes]:
    """Looks like the beginning of a good answer; 4 GiB is as good as endless. A client that goes away ends it."""
    yield b'{"data":[{"pad":"'
    for _ in range(65_536):
        yield b"a" * 65_536
        await asyncio.sleep(0)


async def _inflating() -> AsyncIterator[bytes]:
    """One gzip stream of 64 blocks that inflate to 16 MiB each. After a full flush equal blocks have equal bytes."""
    packer = zlib.compressobj(9, wbits=31)
    block = b" " * (16 << 20)
    yield packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    for _ in range(63):
        yield packed
        await asyncio.sleep(0)


async def _until_gone(receive: Receive) -> None:
    """Says nothing until the client gives up."""
    message: dict[str, Any] = {}
    while message.get("type") != "http.disconnect":
        message = dict(await receive())
