"""Bodies: endless, slow, compressed, broken off."""

import gzip
import tracemalloc
import zlib

import anyio
import pytest
from anyio.abc import ByteStream
from http_peer import Asked, answer, get, open_vendor, peer, saying

from poller.errors import Malformed, PollerError, TimedOut, TooLarge, Truncated, Unreachable
from poller.http import Vendor
from poller.model import Request

pytestmark = pytest.mark.anyio
HEAD = b"HTTP/1.1 200 OK\r\n"
TEXT = b"a call, " * 5_000


def raw_deflate(data: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-15)
    return packing.compress(data) + packing.flush()


@pytest.mark.parametrize(
    ("encoding", "sent"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("x-gzip", gzip.compress(TEXT, mtime=0)),
        ("GZIP", gzip.compress(TEXT[:100], mtime=0) + gzip.compress(TEXT[100:], mtime=0)),
        ("gzip", gzip.compress(TEXT, mtime=0) + b"\0" * 50),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("identity", TEXT),
    ],
)
async def test_encodings(encoding: str, sent: bytes) -> None:
    async with peer(saying(answer(body=sent, content_encoding=encoding))) as server, open_vendor(server.url) as vendor:
        assert await get(vendor) == TEXT


async def test_an_answer_in_single_bytes() -> None:
    packed = gzip.compress(TEXT) + gzip.compress(b"end")

    async def respond(_: Asked, stream: ByteStream) -> None:
        await stream.send(HEAD + b"content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n")
        for byte in packed:
            await stream.send(b"1\r\n%c\r\n" % byte)
        await stream.send(b"0\r\n\r\n")

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        assert await get(vendor) == TEXT + b"end"


@pytest.mark.parametrize(
    ("encoding", "sent", "kind"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)[:-9], Truncated),
        ("deflate", zlib.compress(TEXT)[:-9], Truncated),
        ("gzip", b"<html>not packed</html>", Malformed),
        ("gzip", gzip.compress(TEXT, mtime=0)[:40] + b"\xff" * 80, Malformed),
        ("deflate", b"\xff\xff\xff\xff", Malformed),
        ("br", b"whatever", Malformed),
        ("gzip, gzip", gzip.compress(gzip.compress(TEXT, mtime=0), mtime=0), Malformed),
    ],
)
async def test_broken_encodings(encoding: str, sent: bytes, kind: type[PollerError]) -> None:
    async with peer(saying(answer(body=sent, content_encoding=encoding))) as server, open_vendor(server.url) as vendor:
        with pytest.raises(PollerError, match=r"mor-main mor.user_calls: the answer") as caught:
            await get(vendor)
    assert type(caught.value) is kind


async def test_an_empty_answer_that_says_it_is_packed() -> None:
    async with peer(saying(answer(body=b"", content_encoding="gzip"))) as server, open_vendor(server.url) as vendor:
        assert await get(vendor) == b""


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_is_cut_before_it_fills_the_memory(encoding: str) -> None:
    packing = zlib.compressobj(9, wbits=31 if encoding == "gzip" else 15)
    bomb = b"".join(packing.compress(bytes(1 << 20)) for _ in range(64)) + packing.flush()
    assert len(bomb) < 100_000
    async with peer(saying(answer(body=bomb, content_encoding=encoding))) as server, open_vendor(server.url) as vendor:
        tracemalloc.start()
        try:
            with pytest.raises(TooLarge, match=r"larger than max_body \(8388608 bytes\)"):
                await longest_chunk(vendor, 8 << 20)
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()


async def longest_chunk(vendor: Vendor, max_body: int) -> int:
    async with vendor.fetch(
        Request(method="GET", path="x"), timeout=60, max_body=max_body, endpoint="mor.user_calls"
    ) as got:
        return max([len(chunk) async for chunk in got.chunks()])


async def test_what_expands_far_comes_in_small_pieces() -> None:
    packed = gzip.compress(bytes(5 << 20))
    async with peer(saying(answer(body=packed, content_encoding="gzip"))) as server, open_vendor(server.url) as vendor:
        assert await longest_chunk(vendor, 5 << 20) <= 1 << 18


async def forever(stream: ByteStream, data: bytes) -> None:
    chunk = b"%x\r\n%b\r\n" % (len(data), data)
    while True:
        await stream.send(chunk)


@pytest.mark.parametrize(
    ("headers", "first"),
    [(b"", b""), (b"content-encoding: gzip\r\n", b"\x1f\x8b\x08\x08" + bytes(6))],
    ids=["plain", "a gzip header whose file name never ends"],
)
async def test_an_endless_body_is_cut(headers: bytes, first: bytes) -> None:
    async def respond(_: Asked, stream: ByteStream) -> None:
        await stream.send(HEAD + headers + b"transfer-encoding: chunked\r\n\r\n")
        if first:
            await stream.send(b"%x\r\n%b\r\n" % (len(first), first))
        await forever(stream, b"x" * 10_000)

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        with pytest.raises(TooLarge, match=r"mor-main mor.user_calls: the answer is larger than max_body"):
            await get(vendor, max_body=300_000, timeout=60)


async def test_an_announced_size_is_not_even_read() -> None:
    async def respond(_: Asked, stream: ByteStream) -> None:
        await stream.send(HEAD + b"content-length: 99999999\r\n\r\n")

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        with pytest.raises(TooLarge, match="announces 99999999 bytes"):
            await get(vendor, timeout=60)


async def test_exactly_the_largest_size_is_good() -> None:
    async with peer(saying(answer(body=b"x" * 1000))) as server, open_vendor(server.url) as vendor:
        assert len(await get(vendor, max_body=1000)) == 1000
        with pytest.raises(TooLarge):
            await get(vendor, max_body=999)


async def test_headers_that_do_not_come() -> None:
    async def respond(asked: Asked, stream: ByteStream) -> None:
        if asked.target.endswith("first"):
            await stream.send(answer(body=b"fine"))
        else:
            await stream.send(b"HTTP/1.1 200 OK\r\n")
            await anyio.sleep_forever()

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        assert await get(vendor, "/first", timeout=60) == b"fine"  # so that connecting takes nothing of what follows
        with pytest.raises(TimedOut, match=r"no answer from .* within 0.5 s"):
            await get(vendor, timeout=0.5)


async def test_headers_without_end() -> None:
    async def respond(_: Asked, stream: ByteStream) -> None:
        await stream.send(HEAD)
        while True:
            await stream.send(b"x: " + b"y" * 5_000 + b"\r\n")

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        with pytest.raises(Unreachable):
            await get(vendor, timeout=60)


async def test_a_trickle_is_bounded_as_a_whole() -> None:
    async def respond(_: Asked, stream: ByteStream) -> None:
        await stream.send(HEAD + b"content-length: 100000\r\n\r\n")
        while True:
            await stream.send(b"x")
            await anyio.sleep(0.02)

    async with (
        peer(respond) as server,
        open_vendor(server.url) as vendor,
        vendor.fetch(Request(method="GET", path="x"), timeout=60, max_body=1 << 20, endpoint="mor.user_calls") as got,
    ):
        got._budget.seconds = got._budget.spent + 0.3  # from here on, however long the headers took
        with anyio.fail_after(120), pytest.raises(TimedOut, match=r"was not whole within .* s \(received \d+ bytes\)"):
            await got.read()


async def test_the_callers_own_work_costs_no_time() -> None:
    go_on = anyio.Event()

    async def respond(_: Asked, stream: ByteStream) -> None:
        await stream.send(HEAD + b"content-length: 2\r\n\r\na")
        await go_on.wait()
        await stream.send(b"b")

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        parts, began = [], anyio.current_time()
        async with vendor.fetch(
            Request(method="GET", path="x"), timeout=60, max_body=9, endpoint="mor.user_calls"
        ) as got:
            async for chunk in got.chunks():
                parts.append(chunk)
                await anyio.sleep(0.5 if chunk == b"a" else 0)
                go_on.set()
            assert anyio.current_time() - began - got._budget.spent > 0.49
    assert parts == [b"a", b"b"]


@pytest.mark.parametrize(
    "sent",
    [
        b"content-length: 10\r\n\r\nabc",
        b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    ],
)
async def test_a_body_that_breaks_off(sent: bytes) -> None:
    async def respond(_: Asked, stream: ByteStream) -> bool:
        await stream.send(HEAD + sent)
        return False

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        with pytest.raises(Truncated, match=r"the answer broke off after \d bytes"):
            await get(vendor)


async def test_an_error_page_that_never_ends_is_still_that_error() -> None:
    async def respond(_: Asked, stream: ByteStream) -> None:
        await stream.send(b"HTTP/1.1 502 Bad\r\ntransfer-encoding: chunked\r\n\r\n")
        await forever(stream, b"<html>sorry")

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        with anyio.fail_after(120), pytest.raises(PollerError, match=r"502 from 127.0.0.1/\S*: <html>sorry"):
            await get(vendor, timeout=600)


async def test_leaving_early_is_no_failure_and_harms_nothing() -> None:
    async def respond(asked: Asked, stream: ByteStream) -> None:
        if asked.target.endswith("long"):
            await stream.send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
            await forever(stream, b"x" * 1000)
        await stream.send(answer(body=b"fine"))

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        for _ in range(3):
            async with vendor.fetch(
                Request(method="GET", path="long"), timeout=60, max_body=1 << 30, endpoint="mor.user_calls"
            ) as got:
                async for _ in got.chunks():
                    break
            assert await get(vendor) == b"fine"
