"""One request after the other on a connection: when it is asked again, when not, and that each answer is its own."""

import ssl
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener
from http_peer import Asked, answer, get, open_vendor, peer, saying
from hypothesis import example, given
from hypothesis import strategies as st

from poller.errors import Denied, PollerError, Refused, Truncated
from poller.exchange import Asked as Outgoing
from poller.exchange import Place, placed
from poller.model import Request
from poller.options import Tls

pytestmark = pytest.mark.anyio
TLS = Path(__file__).parent / "support" / "tls"
OK = b"HTTP/1.1 200 OK\r\n"
JUNK = answer(200, b"of nobody")


@pytest.mark.parametrize(
    ("said", "body", "kept"),
    [
        (answer(body=b"here"), b"here", True),
        (answer(body=b""), b"", True),
        (OK + b"transfer-encoding: chunked\r\n\r\n4;x=y\r\nhere\r\n0\r\nx: y\r\n\r\n", b"here", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + answer(body=b"here"), b"here", True),
        (answer(204, content_length="4"), b"", True),
        (answer(body=b"here", connection="close"), b"here", False),
        (answer(body=b"here").replace(b"/1.1", b"/1.0"), b"here", False),
        # What follows an answer would be taken for the next one.
        (answer(body=b"here") + JUNK, b"here", False),
        (answer(204) + JUNK, b"", False),
        (OK + b"transfer-encoding: chunked\r\n\r\n4\r\nhere\r\n0\r\n\r\n" + JUNK, b"here", False),
        # Both are said: the length is nobody's, and somebody on the way may have believed it.
        (OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhere\r\n0\r\n\r\n", b"here", False),
    ],
)
async def test_when_a_connection_is_asked_again(said: bytes, body: bytes, kept: bool) -> None:
    async with peer(saying(said)) as server, open_vendor(server.url) as vendor:
        assert await get(vendor) == body
        assert await get(vendor) == body
    assert (len(server.asked), server.connections) == (2, 1 if kept else 2)


async def test_a_body_that_ends_with_its_connection() -> None:
    async def respond(_: Asked, stream: ByteStream) -> bool:
        await stream.send(OK + b"\r\n")
        for _part in range(5):
            await stream.send(b"x" * 100_000)
        return False

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        assert await get(vendor) == b"x" * 500_000


@pytest.mark.parametrize(
    "said",
    [
        OK + b"content-length: 3\r\ncontent-length: 4\r\n\r\nhere",
        OK + b"content-length: -4\r\n\r\nhere",
        OK + b"content-length: 0x4\r\n\r\nhere",
        OK + b"content-length: 4\r\n folded\r\n\r\nhere",
        OK + b"transfer-encoding: chunked, gzip\r\n\r\nhere",
        OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"a: b\x00c\r\ncontent-length: 0\r\n\r\n",
        OK + b"a" * 200_000,
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    ],
)
async def test_a_head_of_two_meanings_is_no_answer(said: bytes) -> None:
    async def respond(_: Asked, stream: ByteStream) -> bool:
        await stream.send(said)
        return False

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        with pytest.raises(PollerError, match=r"no answer from"):
            await get(vendor)


@pytest.mark.parametrize(
    "said", [OK + b"content-length: 9\r\n\r\nhere", OK + b"transfer-encoding: chunked\r\n\r\n9\r\nhere"]
)
async def test_an_answer_that_ends_too_early(said: bytes) -> None:
    async def respond(_: Asked, stream: ByteStream) -> bool:
        await stream.send(said)
        return False

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        with pytest.raises(Truncated, match="broke off after 4 bytes"):
            await get(vendor)


async def test_what_is_left_of_an_answer_is_not_the_next_one() -> None:
    """Nobody read the first one to its end."""

    async def respond(asked: Asked, stream: ByteStream) -> None:
        await stream.send(answer(body=asked.target.encode() * 30_000))

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        request = Request(method="GET", path="one")
        async with vendor.fetch(request, timeout=60, max_body=1 << 30, endpoint="mor.user_calls") as unread:
            assert unread.status == 200
        assert await get(vendor, "two") == b"/api/two" * 30_000
    assert server.connections == 2


async def test_a_vendor_that_answers_before_it_has_read_and_closes() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")

    async def serve(stream: ByteStream) -> None:
        async with stream:
            await stream.receive(20)
            await stream.send(answer(401, b"not you"))

    url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
    async with listener, anyio.create_task_group() as tasks, open_vendor(url) as vendor:
        tasks.start_soon(listener.serve, serve)
        with pytest.raises(Denied, match="not you"):
            await get(vendor, request=Request(method="POST", path="x", json=b"[]"))
        tasks.cancel_scope.cancel()


def _context() -> ssl.SSLContext:
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(TLS / "self_signed.pem", TLS / "key.pem")
    return found


@pytest.mark.parametrize("context", [None, _context()], ids=["plain", "tls"])
async def test_a_vendor_that_refuses_a_large_body_before_it_has_it(context: ssl.SSLContext | None) -> None:
    """It hangs up with most of it unread, which resets the connection under what it said."""
    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    listener = TLSListener(plain, context, standard_compatible=False) if context else plain

    async def serve(stream: ByteStream) -> None:
        async with stream:
            await stream.receive(20)
            await stream.send(answer(413, b"no more than a megabyte"))

    url = f"http{'s' * bool(context)}://127.0.0.1:{plain.extra(SocketAttribute.local_port)}"
    tls = Tls(ca_file=TLS / "self_signed.pem")
    large = Request(method="POST", path="x", json=b"[" * (16 << 20))
    async with plain, anyio.create_task_group() as tasks, open_vendor(url, tls=tls) as vendor:
        tasks.start_soon(listener.serve, serve)
        for _ in range(3):
            with pytest.raises(Refused, match=r"413 from 127.0.0.1/api/x: no more than a megabyte"):
                await get(vendor, request=large)
        tasks.cancel_scope.cancel()


async def test_a_large_body_that_is_wanted() -> None:
    async def respond(asked: Asked, stream: ByteStream) -> None:
        await stream.send(answer(body=str(len(asked.body)).encode()))

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        for size in (16 << 10, 2 << 20, 3):
            assert await get(vendor, request=Request(method="POST", path="x", json=b"[" * size)) == str(size).encode()
    assert server.connections == 1


async def test_large_answers_over_tls() -> None:
    """Many records of TLS are there at a time."""
    context = _context()
    body = bytes(range(256)) * 4_000

    async def respond(asked: Asked, stream: ByteStream) -> bool | None:
        await stream.send(answer(body=body))
        return False if asked.target.endswith("last") else None

    async with (
        peer(respond, context) as server,
        open_vendor(server.url, tls=Tls(ca_file=TLS / "self_signed.pem")) as vendor,
    ):
        for path in ("first", "next", "last", "again"):
            assert await get(vendor, path) == body
    assert server.connections == 2


@pytest.mark.parametrize(
    ("url", "place", "target"),
    [
        ("http://VENDOR.example", "vendor.example", "/"),
        ("https://vendor.example:443/a?b", "vendor.example", "/a?b"),
        ("http://vendor.example:443/a", "vendor.example:443", "/a"),
        ("http://[2001:db8::1]:8080/a", "[2001:db8::1]:8080", "/a"),
        ("http://vendor.example/ä b/%20%2F?c=d e&f=%26ü", "vendor.example", "/%C3%A4%20b/%20%2F?c=d%20e&f=%26%C3%BC"),
        ("http://bücher.example/", "xn--bcher-kva.example", "/"),
    ],
)
def test_where_a_url_leads(url: str, place: str, target: str) -> None:
    found, asked = placed(url)
    assert (found.shown, asked) == (place, target)


@pytest.mark.parametrize("url", ["", "vendor.example", "ftp://vendor.example", "http://", "http://vendor.example:99999/", "http://\ud800/"])  # fmt: skip
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError):
        placed(url)


@given(st.text())
@example("\r\nx-injected: 1")
@example(" HTTP/1.1\r\n")
def test_nothing_that_a_url_holds_leaves_its_place(text: str) -> None:
    """Whatever a vendor writes into an address: it is one line of the request, in ASCII, or none is made."""
    try:
        place, target = placed(f"http://vendor.example/{text}")
    except ValueError:
        return
    _, out = Outgoing(place, "GET", target, [("accept", "*/*")], None).begin()
    assert place == Place("http", "vendor.example", 80)
    assert out == f"GET {target} HTTP/1.1\r\nhost: vendor.example\r\naccept: */*\r\n\r\n".encode("ascii")


@pytest.mark.parametrize("value", ["a\r\nb: c", "\x00", "ü\n"])
async def test_a_header_that_cannot_be_sent_is_told_without_its_value(value: str) -> None:
    async with peer(saying(answer())) as server, open_vendor(server.url) as vendor:
        with pytest.raises(Refused, match=r"the request cannot be made \(LocalProtocolError\)") as caught:
            await get(vendor, request=Request(method="GET", path="x", headers=(("X-API-Key", value),)))
    assert server.asked == []
    assert caught.value.__context__ is None


def test_a_request_shows_nothing_that_may_be_secret() -> None:
    asked = Outgoing(Place("http", "v.example", 80), "GET", "/x?hash=0badc0de", [("authorization", "s3cret")], None)
    assert repr(asked) == "<Asked GET v.example>"
