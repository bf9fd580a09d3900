"""What a vendor may answer, and the name that each failure gets."""

import ssl
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import Literal

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from fake_clock import FakeClock
from http_peer import Asked, answer, get, open_vendor, peer, saying

from poller.errors import (
    CertificateFault,
    ConfigError,
    Denied,
    PollerError,
    RateLimited,
    Redirected,
    Refused,
    Transient,
    Unreachable,
    VendorFault,
)
from poller.metrics import HTTP_OUTCOMES, Metrics
from poller.model import Request
from poller.options import Tls

pytestmark = pytest.mark.anyio
TLS = Path(__file__).parent / "support" / "tls"

STATUSES = {
    **dict.fromkeys(
        (400, 402, 404, 405, 406, 409, 410, 411, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424), Refused
    ),
    **dict.fromkeys((425, 426, 428, 431, 451, 499), Refused),
    **dict.fromkeys((401, 403), Denied),
    **dict.fromkeys((408, 500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 524, 599), VendorFault),
    **dict.fromkeys((300, 301, 302, 303, 304, 305, 307, 308), Redirected),
    429: RateLimited,
}


@pytest.mark.parametrize(("status", "kind"), sorted(STATUSES.items()))
async def test_every_status_has_its_error(status: int, kind: type[PollerError]) -> None:
    async with (
        peer(saying(answer(status, b"no \x1b[31m\x00 such\n thing"))) as server,
        open_vendor(server.url) as vendor,
    ):
        with pytest.raises(PollerError) as caught:
            await get(vendor)
    assert type(caught.value) is kind
    text = str(caught.value)
    assert text.startswith(f"mor-main mor.user_calls: {status} from 127.0.0.1")
    assert text.isprintable()
    assert kind is Redirected or "no [31m such thing" in text


@pytest.mark.parametrize("status", [200, 201, 203, 206])
async def test_good_statuses(status: int) -> None:
    async with peer(saying(answer(status, b"here"))) as server, open_vendor(server.url) as vendor:
        assert await get(vendor) == b"here"


async def test_a_status_can_be_asked_for() -> None:
    async with peer(saying(answer(404, b"none"))) as server, open_vendor(server.url) as vendor:
        assert await get(vendor, accept=frozenset({404})) == b"none"


@pytest.mark.parametrize(
    ("status", "after", "kind", "seconds"),
    [
        (429, "17", RateLimited, 17),
        (503, "5", RateLimited, 5),
        (503, formatdate(1_700_000_060, usegmt=True), RateLimited, 60),
        (429, "soon", RateLimited, None),
        (503, "soon", VendorFault, None),
        (500, "9", VendorFault, 9),
    ],
)
async def test_retry_after(status: int, after: str, kind: type[Transient], seconds: float | None) -> None:
    said = answer(status, retry_after=after, date=formatdate(1_700_000_000, usegmt=True))
    async with peer(saying(said)) as server, open_vendor(server.url) as vendor:
        with pytest.raises(Transient) as caught:
            await get(vendor)
    assert type(caught.value) is kind
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("/api/user_calls_get?hash=0badc0de&u=admin", "whose name answers directly"),
        ("http://elsewhere.example/api", "set base_url to it"),
        ("https://127.0.0.1/api", "set base_url to it"),
        ("//elsewhere.example/x", "set base_url to it"),
        ("javascript:alert(1)", "a redirect to nowhere"),
        ("http://[bad", "a redirect to nowhere"),
        ("", "a redirect to nowhere"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_redirect_is_followed(location: str, words: str, method: str) -> None:
    async with peer(saying(answer(302, location=location))) as server, open_vendor(server.url) as vendor:
        with pytest.raises(Redirected, match=words) as caught:
            await get(vendor, request=Request(method=method, path="/user_calls"))  # type: ignore[arg-type]
        assert len(server.asked) == 1
    assert "0badc0de" not in str(caught.value)


async def test_what_is_sent() -> None:
    request = Request(
        method="POST",
        path="/user_calls",
        query=(("a b", "ü&="),),
        form=(("from", "1"), ("x", "é ")),
        basic=("me", "pä:ss"),
    )
    async with peer(saying(answer(set_cookie="session=1; Path=/"))) as server, open_vendor(server.url) as vendor:
        await get(vendor, request=request)
        await get(vendor, request=Request(method="POST", path="y", json=b"{}", headers=(("X-Account-ID", "7"),)))
    first, second = server.asked
    assert first.target == "/api/user_calls?a%20b=%C3%BC%26%3D"
    assert first.body == b"from=1&x=%C3%A9+"
    assert first.headers["content-type"] == "application/x-www-form-urlencoded"
    assert first.headers["authorization"] == "Basic bWU6cMOkOnNz"
    assert first.headers["accept-encoding"] == "gzip"
    assert first.headers["user-agent"].startswith("poller/")
    assert (second.target, second.body, second.headers["content-type"]) == ("/api/y", b"{}", "application/json")
    assert second.headers["x-account-id"] == "7"
    assert "cookie" not in second.headers
    assert "authorization" not in second.headers
    assert server.connections == 1  # kept alive


async def test_another_host_is_asked_only_where_allowed_and_gets_no_credentials() -> None:
    async with peer(saying(answer())) as server, open_vendor("http://elsewhere.example") as vendor:
        request = Request(
            method="GET",
            path=f"{server.url}/f.mp3",
            headers=(("X-API-Key", "k"), ("Range", "bytes=1-")),
            basic=("u", "p"),
        )
        with pytest.raises(Refused, match="another host"):
            await get(vendor, request=request)
        assert server.asked == []
        await get(vendor, request=request, elsewhere=True)
    headers = server.asked[0].headers
    assert headers["range"] == "bytes=1-"
    assert not {"x-api-key", "authorization"} & set(headers)


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with peer(saying(answer(body=b"direct"))) as server, open_vendor(server.url) as vendor:
        assert await get(vendor) == b"direct"


async def test_a_kept_connection_that_the_vendor_closed_is_opened_again() -> None:
    async def close(_: Asked, stream: ByteStream) -> bool:
        await stream.send(answer(body=b"once"))
        return False  # without `connection: close`

    async with peer(close) as server, open_vendor(server.url) as vendor:
        assert await get(vendor) == b"once"
        assert await get(vendor) == b"once"
    assert server.connections == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_kept_connection_that_closes_just_when_it_is_used_again(method: Literal["GET", "POST"]) -> None:
    """Its end arrives after the request was sent, so only the failure tells. Whichever it is: both only read."""

    async def respond(_: Asked, stream: ByteStream) -> bool:
        if len(server.asked) == 2:
            return False
        await stream.send(answer(body=b"here"))
        return True

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        for _ in range(2):
            assert await get(vendor, request=Request(method=method, path="x")) == b"here"
    assert (len(server.asked), server.connections) == (3, 2)


async def test_a_connection_closed_without_an_answer_is_tried_once_only() -> None:
    async def close(_: Asked, __: ByteStream) -> bool:
        return False

    async with peer(close) as server, open_vendor(server.url) as vendor:
        with pytest.raises(Unreachable, match=r"no answer from 127.0.0.1"):
            await get(vendor)
    assert len(server.asked) == 1


async def test_nobody_there() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    await listener.aclose()
    async with open_vendor(f"http://127.0.0.1:{port}") as vendor:
        with pytest.raises(Unreachable, match=f"no answer from 127.0.0.1:{port} .ConnectionRefusedError"):
            await get(vendor)


async def test_no_such_name() -> None:
    async with open_vendor("http://no-such-host.invalid") as vendor:
        with pytest.raises(Unreachable, match=r"name of no-such-host.invalid:80 cannot be resolved"):
            await get(vendor, timeout=120)


@pytest.mark.parametrize(
    "said", [b"garbage\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", b"\x16\x03\x01"]
)
async def test_no_http(said: bytes) -> None:
    async def respond(_: Asked, stream: ByteStream) -> bool:
        await stream.send(said)
        return False

    async with peer(respond) as server, open_vendor(server.url) as vendor:
        with pytest.raises(Unreachable, match=r"mor-main mor.user_calls"):
            await get(vendor)


def server_tls(name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / f"{name}.pem", TLS / ("key.pem" if name == "self_signed" else "other_key.pem"))
    return context


async def test_a_certificate_that_nobody_vouches_for() -> None:
    async with peer(saying(answer(body=b"safe")), server_tls("self_signed")) as server:
        async with open_vendor(server.url) as vendor:
            with pytest.raises(CertificateFault, match=r"is not trusted \(self.signed certificate\).*tls.ca_file"):
                await get(vendor)
        async with open_vendor(server.url, tls=Tls(ca_file=TLS / "self_signed.pem")) as vendor:
            assert await get(vendor) == b"safe"
        async with open_vendor(server.url, tls=Tls(verify=False)) as vendor:
            assert await get(vendor) == b"safe"


async def test_a_certificate_of_another_name() -> None:
    async with (
        peer(saying(answer()), server_tls("other_name")) as server,
        open_vendor(server.url, tls=Tls(ca_file=TLS / "other_name.pem")) as vendor,
    ):
        with pytest.raises(CertificateFault, match="correct the host name"):
            await get(vendor)


async def test_https_to_a_port_that_speaks_plainly() -> None:
    async def serve(stream: ByteStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    url = f"https://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
    async with listener, anyio.create_task_group() as tasks, open_vendor(url) as vendor:
        tasks.start_soon(listener.serve, serve)
        with pytest.raises(CertificateFault, match="Check that base_url's port speaks https"):
            await get(vendor)
        tasks.cancel_scope.cancel()


def test_a_file_of_issuers_that_cannot_be_used(tmp_path: Path) -> None:
    """It was well when the configuration was read."""
    (tmp_path / "empty.pem").write_text("nothing")
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(ConfigError, match=f"{name} cannot be used"):
            open_vendor("https://127.0.0.1", tls=Tls.model_construct(ca_file=tmp_path / name))


async def test_the_vendors_clock() -> None:
    clock = FakeClock(1_700_000_000)
    metrics = Metrics()
    said = answer(date=formatdate(1_700_000_100, usegmt=True))
    async with (
        peer(saying(said)) as server,
        open_vendor(server.url, clock=clock, metrics=metrics) as vendor,
        vendor.fetch(Request(method="GET", path="x"), timeout=60, max_body=9, endpoint="mor.user_calls") as got,
    ):
        assert got.date == 1_700_000_100
        assert got.vendor_time is not None
        assert 1_700_000_090 < got.vendor_time < 1_700_000_100  # earlier by what the answer took
        assert got.skew == pytest.approx(100.5, abs=9)
    assert metrics.clock_skew["mor-main"].value == got.skew


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 31 Nov 2023 99:00:00 GMT", "9" * 400])
async def test_a_date_that_is_none(date: str) -> None:
    async with (
        peer(saying(answer(date=date))) as server,
        open_vendor(server.url) as vendor,
        vendor.fetch(Request(method="GET", path="x"), timeout=60, max_body=9, endpoint="mor.user_calls") as got,
    ):
        assert (got.vendor_time, got.skew) == (None, None)


async def test_requests_are_counted_by_how_they_ended() -> None:
    metrics = Metrics()

    async def respond(asked: Asked, stream: ByteStream) -> None:
        await stream.send(answer(int(asked.target.rpartition("/")[2]), b"12345"))

    async with peer(respond) as server, open_vendor(server.url, metrics=metrics) as vendor:
        for status in (200, 200, 404, 500, 401, 429, 302):
            with suppress(PollerError):
                await get(vendor, f"/{status}", max_body=9)
        with pytest.raises(PollerError):
            await get(vendor, "/200", max_body=4)
    counts = {outcome: metrics.http_requests["mor-main", "mor.user_calls", outcome].value for outcome in HTTP_OUTCOMES}
    counted = {outcome: count for outcome, count in counts.items() if count}
    assert counted == {
        "ok": 2,
        "refused": 1,
        "vendor_fault": 1,
        "denied": 1,
        "rate_limited": 1,
        "redirect": 1,
        "bad_answer": 1,
    }
