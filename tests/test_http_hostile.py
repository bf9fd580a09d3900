"""Vendors, and whoever sits on the way, that say what no honest one would: no answer is taken for another one, none for a whole one."""

import ssl
from pathlib import Path

import anyio
import httpx
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream
from http_peer import Asked, answer, get, open_vendor, peer, saying
from hypothesis import example, given
from hypothesis import strategies as st

from poller.errors import Truncated, Unreachable
from poller.exchange import placed
from poller.failures import Asking, of_error
from poller.model import Request
from poller.options import Tls
from poller.redact import Redactor

pytestmark = pytest.mark.anyio
TLS = Path(__file__).parent / "support" / "tls"
OWN = Tls(ca_file=TLS / "self_signed.pem")
OK = b"HTTP/1.1 200 OK\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\n\r\n"


def context() -> ssl.SSLContext:
    """A server's."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(TLS / "self_signed.pem", TLS / "key.pem")
    return found


async def test_one_handshake_for_many_polls() -> None:
    """The tickets that TLS 1.3 sends on its own are not taken for the end of the connection."""
    versions: list[str] = []

    async def respond(_: Asked, stream: ByteStream) -> None:
        versions.append(stream.extra(TLSAttribute.tls_version))
        await stream.send(answer(body=b"here"))

    async with peer(respond, context()) as server, open_vendor(server.url, tls=OWN) as vendor:
        for _poll in range(10):
            assert await get(vendor) == b"here"
    assert (server.connections, versions) == (1, ["TLSv1.3"] * 10)


@pytest.mark.parametrize("body", [b"", b"here"])
async def test_what_follows_in_a_record_of_its_own_is_not_the_next_answer(body: bytes) -> None:
    """Both records come at once, so the second one waits behind the cipher, where the socket shows nothing."""

    async def respond(_: Asked, stream: ByteStream) -> None:
        assert isinstance(stream, TLSStream)
        for said in (answer(body=body), answer(body=b"of nobody")):
            stream._ssl_object.write(said)
        await stream._flush_write_bio()

    async with peer(respond, context()) as server, open_vendor(server.url, tls=OWN) as vendor:
        assert [await get(vendor), await get(vendor)] == [body, body]
    assert server.connections == 2


async def test_what_follows_an_empty_answer_is_not_the_next_one() -> None:
    """It goes on with the next request, until when nothing can be seen on the connection."""

    async def respond(_: Asked, stream: ByteStream) -> None:
        if len(server.asked) == 1:
            await stream.send(answer() + OK + b"content-len")
        else:
            await stream.send(b"gth: 9\r\n\r\nof nobody" if server.connections == 1 else answer())

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        assert [await get(vendor), await get(vendor)] == [b"", b""]
    assert server.connections == 2


async def test_a_body_cut_off_on_the_way_is_not_whole() -> None:
    """Nothing says how long it is, and TLS was not ended: anybody can close a connection."""

    async def respond(_: Asked, stream: ByteStream) -> bool:
        assert isinstance(stream, TLSStream)
        await stream.send(OK + b"\r\nfirst line\n")
        if server.connections == 1:
            await stream.transport_stream.aclose()
        else:
            await stream.unwrap()
        return False

    async with peer(respond, context()) as server, open_vendor(server.url, tls=OWN) as vendor:
        with pytest.raises(Truncated, match=r"broke off after 11 bytes .*TLS had not ended"):
            await get(vendor)
        assert await get(vendor) == b"first line\n"


async def test_to_hang_up_is_no_fault_of_a_certificate() -> None:
    """Which would be final for a recording."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")

    async def serve(stream: ByteStream) -> None:
        async with stream:
            await stream.receive()

    url = f"https://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
    async with listener, anyio.create_task_group() as tasks, open_vendor(url, tls=OWN) as vendor:
        tasks.start_soon(listener.serve, serve)
        with pytest.raises(Unreachable, match="while TLS was being agreed"):
            await get(vendor)
        tasks.cancel_scope.cancel()


async def test_an_answer_that_had_begun_is_not_asked_for_again() -> None:
    async def respond(_: Asked, stream: ByteStream) -> bool:
        if len(server.asked) == 2:
            await stream.send(b"HTTP/1.1 200 O")
            return False
        await stream.send(answer())
        return True

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        await get(vendor)
        with pytest.raises(Unreachable, match="closed the connection without"):
            await get(vendor, request=Request(method="POST", path="login", form=(("u", "me"),)))
    assert len(server.asked) == 2


async def test_a_few_answers_that_are_none_yet() -> None:
    async with peer(saying(INTERIM * 16 + answer(body=b"here"))) as server, open_vendor(server.url) as vendor:
        assert await get(vendor) == b"here"
    async with peer(saying(INTERIM * 17 + answer())) as server, open_vendor(server.url) as vendor:
        with pytest.raises(Unreachable, match="something else than an answer"):
            await get(vendor)


async def test_each_address_of_a_name_is_told() -> None:
    """Not that there is a group of errors."""
    faults = [OSError("to one it is closed"), OSError("to the other too")]
    error = OSError("All connection attempts failed")
    error.__cause__ = ExceptionGroup("multiple connection attempts failed", faults)
    asking = Asking("mor users", "http://vendor.example/", 1, Redactor(), Request(method="GET", path=""), None)
    said = str(of_error(asking, error, asked=False))
    assert "(OSError: to one it is closed; OSError: to the other too)" in said


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40))
@example("100%/%zz/%41")
@example("a/../b/./c?x=../y")
@example("{a}|[b]?{c}|[d]`'\"<>^\\")
@example("{<a>}?<b>")
@example(".hidden?.x=/.")
def test_what_is_asked_for_is_spelt_as_everywhere(text: str) -> None:
    url = f"http://vendor.example/{text}".partition("#")[0].rstrip("? ")
    assert placed(url)[1].encode() == httpx.URL(url).raw_path
