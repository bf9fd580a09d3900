"""No secret in any text that a failure leaves behind."""

import gc
import io
import re
import traceback
from collections.abc import Iterator
from typing import Literal

import anyio
import pytest
from anyio.abc import ByteStream
from http_peer import Asked, answer, get, open_vendor, peer

from poller.errors import PollerError
from poller.http import Vendor
from poller.log import get_logger, set_up
from poller.model import Request
from poller.options import EndpointOptions, Secret, SourceOptions
from poller.protocols import Token
from poller.redact import Redactor, printable, secrets_of

pytestmark = pytest.mark.anyio

PASSWORD = 'pä"ss/wörd & <more>'
API_SECRET = "kq"
HASH = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
OPAQUE = "opaque+token/value=="


class Deep(EndpointOptions):
    key: Secret


class Options(SourceOptions):
    password: Secret
    api_secret: Secret
    endpoints: dict[str, Deep]


def options(url: str) -> Options:
    given = {
        "base_url": f"{url}/api",
        "password": PASSWORD,
        "api_secret": API_SECRET,
        "endpoints": {"x": {"key": "deep-inside"}},
    }
    return Options.model_validate(given, context={"literals": True})


def secretive(url: str) -> Vendor:
    return open_vendor(url, options=options(url))


def test_secrets_are_found_however_deep() -> None:
    assert set(secrets_of(options("http://h"))) == {PASSWORD, API_SECRET, "deep-inside"}


def spellings() -> Iterator[str]:
    """What a vendor may send back of what it was sent."""
    yield PASSWORD
    yield "p%C3%A4%22ss%2Fw%C3%B6rd%20%26%20%3Cmore%3E"
    yield "p%C3%A4%22ss%2Fw%C3%B6rd+%26+%3Cmore%3E"
    yield "pä&quot;ss/wörd &amp; &lt;more&gt;"
    yield 'p\\u00e4\\"ss/w\\u00f6rd & <more>'
    yield f"the secret is {API_SECRET}."
    yield f"hash={HASH}&u=admin&p=hunter22"
    yield HASH.upper()
    yield f'{{"access_token": "{OPAQUE}", "api_key":"k-9-k"}}'
    yield f"<password>xml-pass</password><hash>{HASH}</hash>"
    yield f"Authorization: Bearer {OPAQUE}"
    yield TOKEN
    yield TOKEN[:30]
    yield f"{'x' * 195} {TOKEN}"  # where the text is cut
    yield "Basic dXNlcjpodW50ZXIyMg=="
    yield "http://user:hunter22@host/x"


FORBIDDEN = (
    "wörd",
    "w%C3%B6rd",
    "u00f6rd",
    f" {API_SECRET}.",
    HASH,
    HASH.upper(),
    "hunter22",
    OPAQUE,
    "k-9-k",
    "xml-pass",
    "eyJ",
    "dXNlcj",
    "u=admin",
)


def everything(error: BaseException) -> str:
    """All that a log, a console or a debugger's first line may show."""
    out = io.StringIO()
    set_up(form="json", level="info", redact=Redactor(), stream=out)
    get_logger().error("failed", exc_info=error)
    parts = [str(error), repr(error), repr(error.args), repr(vars(error)), out.getvalue()]
    chain: BaseException | None = error
    while chain is not None:
        parts += [str(chain), repr(chain), *traceback.format_exception(chain, chain=True)]
        chain = chain.__cause__ or chain.__context__
    return "\n".join(parts)


def clean(text: str) -> None:
    found = [secret for secret in FORBIDDEN if secret in text]
    assert not found, text


@pytest.mark.parametrize("said", list(spellings()))
@pytest.mark.parametrize("status", [400, 401, 500, 302])
async def test_no_error_repeats_what_the_vendor_echoes(said: str, status: int) -> None:
    async def respond(_: Asked, stream: ByteStream) -> None:
        await stream.send(answer(status, said.encode(), location="/api/x?hash=" + HASH))

    async with peer(respond) as server, secretive(server.url) as vendor:
        request = Request(method="POST", path="/x", form=(("hash", HASH),), basic=("user", PASSWORD))
        with pytest.raises(PollerError) as caught:
            await get(vendor, request=request)
    clean(everything(caught.value))


class Login:
    def __init__(self, value: str) -> None:
        self.value = value

    def request(self) -> Request:
        return Request(method="POST", path="/login", json=b"{}")

    def token(self, _: bytes, now: float) -> Token:
        return Token((("Authorization", f"Bearer {self.value}"),), now + 999)


@pytest.mark.parametrize("value", [OPAQUE, f"{OPAQUE}\r\nInjected: {OPAQUE}", f"{OPAQUE}\0"])
async def test_no_error_shows_the_token(value: str) -> None:
    async def respond(asked: Asked, stream: ByteStream) -> None:
        status = 200 if asked.target.endswith("login") else 500
        await stream.send(answer(status, asked.headers.get("authorization", "").rpartition(" ")[2].encode()))

    async with peer(respond) as server, open_vendor(server.url, Login(value), options=options(server.url)) as vendor:
        with pytest.raises(PollerError) as caught:
            await get(vendor)
    clean(everything(caught.value))
    assert all("injected" not in asked.headers for asked in server.asked)


@pytest.mark.parametrize("fault", ["refused", "reset", "garbage", "slow", "short", "bad url", "bad header", "no name"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_failure_on_the_way_shows_the_request(fault: str, method: Literal["GET", "POST"]) -> None:
    async def respond(asked: Asked, stream: ByteStream) -> bool:
        match fault:
            case "garbage":
                await stream.send(asked.target.encode() + asked.body + b"\r\n\r\n")
            case "slow":
                await anyio.sleep_forever()
            case "short":
                await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n" + asked.target.encode())
        return False

    secret = (("hash", HASH), ("u", "admin"), ("p", "hunter22"))
    async with peer(respond) as server:
        url = {"refused": "http://127.0.0.1:1", "no name": "http://no-such-host.invalid"}.get(fault, server.url)
        path = "http://127.0.0.1:99999999/x" if fault == "bad url" else "/x"
        headers = (("X-API-Key", f"{OPAQUE}\n"),) if fault == "bad header" else (("X-API-Key", OPAQUE),)
        request = Request(
            method=method, path=path, query=secret, form=secret if method == "POST" else None, headers=headers
        )
        async with secretive(url) as vendor:
            with pytest.raises(PollerError) as caught:
                await get(vendor, request=request, timeout=0.3 if fault == "slow" else 60)
            clean(everything(caught.value))
            clean(repr(vendor) + repr(request) + repr(vars(vendor)))


def test_short_secrets_do_not_garble_the_text() -> None:
    redact = Redactor("a", "ab")
    assert redact("a banana, ab abacus") == "*** banana, *** abacus"
    assert Redactor("")("text") == Redactor()("text") == "text"


def test_what_one_request_was_signed_with_is_not_kept() -> None:
    """Of thousands of requests that fail, each with another hash."""
    redact = Redactor("s3cret")
    for number in range(20):
        assert redact.with_more(f"signed-{number:04d}")(f"no: s3cret, signed-{number:04d}") == "no: ***, ***"
    kept = [one for one in gc.get_objects() if isinstance(one, re.Pattern) and "signed" in str(one.pattern)]
    assert not kept


def test_a_secret_within_another_one_leaves_nothing_of_it() -> None:
    assert Redactor("pass", "passphrase", "phrase-1")("pass passphrase-1 phrase-1") == "*** ***-1 ***"


@pytest.mark.parametrize(
    "text",
    [
        "Basic authentication required",
        "The hash is wrong",
        "token expired",
        "password must not be empty",
        "recording 202402-0f9d7c33aa11bb22cc33dd44ee55ff66",
        "See https://docs.example/login",
    ],
)
def test_what_vendors_say_stays_readable(text: str) -> None:
    assert Redactor("s3cret")(text) == text


def test_what_a_terminal_would_obey_is_left_out() -> None:
    assert printable(b"a\x1b[2Jb\r\nc\x00\xff\xe2\x80\xaed", 200) == "a [2Jb c \ufffd d"
    assert printable(b"x" * 300) == "x" * 200 + "…"
