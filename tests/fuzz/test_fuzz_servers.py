"""Whatever a client sends to the metrics, the status page and the admin socket: an answer, never a defect, and the next one is answered too."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import quote_from_bytes

import anyio
import pytest
from fuzz_asgi import Said, ask
from fuzz_mutations import JSON, Change, changed, changes, corpus, looked_for
from h11 import LocalProtocolError
from hypothesis import given
from hypothesis import strategies as st
from page_made import EVIL, TOKEN, Figures
from starlette.applications import Starlette

from poller.admin import admin_app
from poller.clock import Clock, SystemClock
from poller.errors import Unknown
from poller.metrics import Metrics
from poller.operations import Again, DeadLetter, Listed, Listing, Tried
from poller.page import page_app
from poller.server import Heartbeat, listening, pages
from poller.serving import answer

Ask: TypeAlias = tuple[str, bytes, list[tuple[bytes, bytes]], list[bytes]]


class Hurried(SystemClock):
    """A wrong token costs nobody a second here."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds and 0)


class Strict(Figures):
    """What it is asked for can be written and is of its type, as a store needs it."""

    async def dead_letters(self, asked: Listing) -> Listed:
        asked.after.id.encode()
        assert isinstance(asked.after.at, float)
        return await super().dead_letters(asked)

    async def dead_letter(self, letter: str) -> DeadLetter:
        letter.encode()
        if letter != "a/b":
            raise Unknown(f"there is no dead letter {letter!r}")
        return await super().dead_letter(letter)

    async def recording(self, source: str, recording_id: str) -> dict[str, object] | None:
        return {source: recording_id}

    async def retry(self, asked: Again) -> Tried:
        assert "".join(asked.ids or ()).encode() is not None
        return await super().retry(asked)


def metrics_app(clock: Clock) -> Starlette:
    metrics = Metrics()
    return pages(metrics, Heartbeat(clock, metrics), lambda: {"store": True})


def apps() -> dict[str, Starlette]:
    clock = Hurried()
    return {
        "metrics": metrics_app(clock),
        "page": page_app(Strict(), TOKEN, clock),
        "admin": admin_app(Strict()),
    }


METHODS = st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "X"])
TARGETS = (
    b"/", b"/metrics", b"/livez", b"/readyz", b"/login", b"/logout", b"/dead-letters", b"/dead-letters/a/b?numbers=shown", b"/dead-letters/retry",
    b"/dead-letters?at=1e999&id=%00", b"/webhooks/enable", b"/webhooks/disable", b"/page.css", b"/page.js", b"/status", b"/webhooks?name=crm", b"/replay",
    b"/sources/pbx-0001?numbers=shown", b"/journey?id=a&numbers=shown", b"/rebuild", b"/recordings/pbx?id=a", b"/sinks/crm/forget", b"/sources/pbx/forget", b"/webhooks/crm/disable", b"/../../../etc/passwd", b"//", b"*",
)  # fmt: skip
BODIES = (
    b"", b"token=" + TOKEN.encode(), b"token=x&token=y", b"id=a%2Fb", b"sink=crm&sink=", b"{}", b'{"ids":["a/b"]}', b'{"which":{"source":"s"},"limit":3,"bodies":true}',
    b'{"sink":"crm","accept_duplicates":true}', b'{"why":"because"}', b'{"sink":"crm","since":1,"until":2}',
)  # fmt: skip
BITS = (
    b"%",
    b"%00",
    b"%ff",
    b"%ED%A0%80",
    b"/",
    b"..",
    b"?",
    b"&",
    b"=",
    b";",
    b"nan",
    b"inf",
    b"-1",
    b"1e999",
    b"9" * 400,
    b"<script>",
)
NAMES = st.sampled_from(
    [b"authorization", b"cookie", b"origin", b"host", b"sec-fetch-site", b"content-type", b"content-length", b"accept", b"x-forwarded-proto"]
)  # fmt: skip
VALUES = st.binary(max_size=40) | st.sampled_from(
    [b"Bearer " + TOKEN.encode(), b"bearer \xff", b"poller=1.0", b'poller="\\377"; a=b', b"poller=9999999999." + b"0" * 64, b"http://[", b"same-origin",
     b"http://x", b"multipart/form-data; boundary=", b"application/x-www-form-urlencoded", b"-1", b"\xc3\x28", b"null"]
)  # fmt: skip


def target(first: bytes, todo: Sequence[Change]) -> bytes:
    """As a server lets it through: printable ASCII."""
    return quote_from_bytes(changed(first, todo), safe="/?&=%;:@!$'()*+,~.-_").encode()


HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=4)
KNOWN = [(b"authorization", b"Bearer " + TOKEN.encode())]
ASKS: st.SearchStrategy[Ask] = st.tuples(
    METHODS,
    st.builds(target, st.sampled_from(TARGETS), st.just([]) | changes(BITS, 3)),
    st.one_of(HEADERS, HEADERS.map(lambda more: KNOWN + more)),
    st.lists(st.builds(changed, st.sampled_from(BODIES), st.just([]) | changes((*JSON, *BITS), 3)), max_size=3),
)


@pytest.mark.parametrize("which", ["metrics", "page", "admin"])
@looked_for(120)
@given(asked=ASKS)
def test_any_request_is_answered(which: str, asked: Ask) -> None:
    said: Said = anyio.run(partial(ask, apps()[which], *asked))
    assert 200 <= said.status < 500
    if which == "page":
        assert b"default-src 'none'" in said.headers[b"content-security-policy"]
        assert EVIL.encode() not in said.body
        assert b"<script>" not in said.body.replace(b"<script src=", b"")
        assert said.headers.get(b"location", b"/") in {b"/", b"/login"} or b"//" not in said.headers[b"location"][7:]


def test_the_requests_that_are_changed_are_good() -> None:
    """Or the property above would be one of refusals."""
    form = [(b"sec-fetch-site", b"same-origin")]
    for which, method, asked, body, status in [
        ("metrics", "GET", b"/metrics", [], 200), ("page", "GET", b"/", [], 200), ("page", "GET", b"/dead-letters/a/b", [], 200),
        ("page", "POST", b"/dead-letters/retry", [b"id=a%2Fb"], 200), ("page", "POST", b"/login", [BODIES[1]], 303),
        ("admin", "GET", b"/status", [], 200), ("admin", "POST", b"/dead-letters", [b"{}"], 200), ("admin", "POST", b"/dead-letters/retry", [b"{}"], 200),
        ("admin", "POST", b"/dead-letters", [b'{"which":{"source":"\xff"}}'], 400), ("admin", "POST", b"/rebuild", [b"[" * 100_000], 400),
    ]:  # fmt: skip
        assert anyio.run(partial(ask, apps()[which], method, asked, KNOWN + form, body)).status == status, asked


# --- bytes on the wire -----------------------------------------------------------------------------------------------

RAW = (
    b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\ntoken=x",
    b"POST /login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ntoken=x\r\n0\r\n\r\n", b"GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
)  # fmt: skip
WIRE = (b"\r\n", b"\n", b"\x00", b": ", b"\xff", b"HTTP/2.0", b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n", b"ffffffffffffffff\r\n",
        b"A: " + b"a" * 70_000, b"GET http://[ HTTP/1.1\r\n", b"Expect: 100-continue\r\n", b"/%ff%00")  # fmt: skip


GOOD = b"GET /login HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def talk(asked: Sequence[bytes]) -> list[bytes]:
    """Each on a connection of its own to the same server; what came back until it closed, or nothing more came."""
    heard = []
    with anyio.fail_after(300), listening("127.0.0.1:0") as there:
        port = there.getsockname()[1]
        async with anyio.create_task_group() as tasks:
            await tasks.start(answer, page_app(Strict(), TOKEN, Hurried()), there)
            for data in asked:
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    heard.append(await _exchange(stream, data, patience=0.05))
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                heard.append(await _exchange(stream, GOOD, patience=60))
            tasks.cancel_scope.cancel()
    return heard


async def _exchange(stream: Any, data: bytes, patience: float) -> bytes:
    """`patience`: seconds to wait for more, where the server goes on waiting: the request may have no end."""
    got = b""
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        await stream.send(data)
        with anyio.move_on_after(patience):
            while True:
                got += await stream.receive()
    return got


class Defects(logging.Handler):
    """Tracebacks that the server logs, but for the library's own where a client breaks the protocol while it is being answered."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and not isinstance(record.exc_info[1], LocalProtocolError):
            self.found.append(record)


def survive(asked: Sequence[bytes]) -> None:
    defects = Defects()
    logging.getLogger().addHandler(defects)
    try:
        heard = anyio.run(talk, asked)
    finally:
        logging.getLogger().removeHandler(defects)
    assert b" 200 OK" in heard[-1].splitlines()[0]
    for each in heard:
        assert not each or each.startswith(b"HTTP/1.1 ")
        assert b"HTTP/1.1 500" not in each
        assert b"Traceback" not in each
    assert defects.found == []


@looked_for(8)
@given(asked=st.lists(st.builds(changed, st.sampled_from(RAW), changes(WIRE)), min_size=1, max_size=8))
def test_any_bytes_are_answered_or_dropped(asked: Sequence[bytes]) -> None:
    survive(asked)


def test_bytes_that_were_found() -> None:
    found = [path.read_bytes() for path in corpus("http")]
    assert found
    survive(found)
