"""Attempts that fail in every way there is: neither a key, nor a signature, nor the URL's tokens are in anything that is shown.

The receivers repeat whatever came, in every spelling that frameworks use. The same search finds the signature in what they got.
"""

import asyncio
import io
import json
import logging
import ssl
from collections.abc import Callable, Iterator
from urllib.parse import quote

import httpcore
import pytest
import trustme
from webhook_case import HMAC, PRIVATE, attempt, settings
from webhook_receiver import Answer, Got, answer, closes, echoes, hangs, receiver, resets, says, sends

from poller.each import Answered
from poller.log import get_logger, set_up
from poller.metrics import Metrics
from poller.redact import Redactor, secrets_of
from poller.sinks.webhook.dial import Dialler
from poller.sinks.webhook.sink import WebhookSink

pytestmark = pytest.mark.anyio

TOKEN, KEY = "T0KEN-in/the+path", "QUERYT0KEN"
PATH = f"/hooks/{TOKEN}/calls?key={KEY}&v=1"
SECRETS = (HMAC[6:20], HMAC[-16:], PRIVATE[5:25], PRIVATE[-20:], "a secret of the tests", "T0KEN", KEY)


def spelled(change: Callable[[str], str], status: int = 500) -> Answer:
    """An error that repeats the head in some spelling."""

    async def write(got: Got, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(status, change(got.head.decode()).encode()))

    return write


async def in_its_own_words(got: Got, writer: asyncio.StreamWriter) -> bool:
    """No HTTP, and the library quotes what came."""
    writer.write(got.headers["webhook-signature"].encode() + b" " + got.line.encode() + b"\r\n\r\n")
    return False


async def to_where_it_knows_all(got: Got, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(302, location=f"http://169.254.169.254{PATH}&{quote(got.headers['webhook-signature'])}"))


def only_signatures(text: str) -> str:
    line = next(line for line in text.split("\r\n") if line.startswith("webhook-signature"))
    return " and ".join(each.partition(",")[2] for each in line.split(": ")[1].split(" "))


WAYS: dict[str, Answer] = {
    "echo": echoes(),
    "echo, dead": echoes(400),
    "echo, too large": echoes(413),
    "as json": spelled(json.dumps),
    "as php writes json": spelled(lambda text: json.dumps(text).replace("/", "\\/")),
    "as .net writes json": spelled(lambda text: json.dumps(text).replace("+", "\\u002B")),
    "in a url": spelled(quote),
    "in a url, all of it": spelled(lambda text: quote(text, safe="")),
    "bare signatures": spelled(only_signatures),
    "the key itself": says(500, f"expected {HMAC} or {HMAC[6:]} or {PRIVATE[5:]}".encode()),
    "no http": in_its_own_words,
    "a redirect": to_where_it_knows_all,
    "closes": closes,
    "resets": resets,
    "hangs": hangs,
    "cut off": sends(b"HTTP/1.1 500 No\r\ncontent-length: 9\r\n\r\nv1,", close=True),
    "gone": echoes(410),
    "slower": says(429, f"for {PATH}".encode(), retry_after="9"),
    "disable": says(200, PATH.encode(), webhook_delivery="disable"),
}


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Everything that the log says at its most talkative."""
    before = logging.root.handlers[:], logging.root.level
    out = io.StringIO()
    config = settings(f"http://127.0.0.1:1{PATH}", HMAC, PRIVATE)
    set_up(form="json", level="debug", redact=Redactor(*secrets_of(config)), stream=out)
    yield out
    logging.root.handlers[:], level = before
    logging.root.setLevel(level)


def everything(sink: WebhookSink, answered: Answered, metrics: Metrics, lines: io.StringIO) -> str:
    """All that anybody may get to see of an attempt."""
    metrics.deliveries[sink.name, answered.outcome, answered.reason].inc()
    get_logger().warning("not delivered", sink=repr(sink), error=answered.error, answered=repr(answered))
    state = {name: repr(value) for name, value in vars(sink).items()}
    return "\n".join([repr(answered), repr(sink), repr(state), b"".join(metrics.write()).decode(), lines.getvalue()])


def leaks(text: str, *more: str) -> list[str]:
    return [secret for secret in (*SECRETS, *more) if secret in text]


def signatures(got: Got) -> list[str]:
    return [each.partition(",")[2][:12] for each in got.headers["webhook-signature"].split(" ")]


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_told_of_it(way: str, lines: io.StringIO) -> None:
    async with receiver(WAYS[way]) as peer:
        config = settings(peer.url(PATH), HMAC, PRIVATE, timeout="1s")
        sink = WebhookSink("crm", config)
        answered = await attempt(sink)
        await sink.close()
    assert answered.error
    (got,) = peer.got
    shown = everything(sink, answered, Metrics(), lines)
    assert leaks(shown, *signatures(got)) == []
    assert leaks(got.head.decode(), *signatures(got)) == ["T0KEN", KEY, *signatures(got)]


async def never(host: str, port: int) -> list[str]:
    raise OSError(f"{host}:{port}{PATH} {HMAC}")


async def metadata(host: str, port: int) -> list[str]:  # noqa: ARG001 what a resolver is given
    return ["169.254.169.254"]


class Broken(httpcore.AnyIOBackend):
    """A network whose errors say too much."""

    async def connect_tcp(self, *_: object, **__: object) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError(f"{PATH} {HMAC}") from OSError(5, f"Input/output error {HMAC}")


@pytest.mark.parametrize("way", ["no name", "metadata", "broken network", "bad certificate"])
async def test_nor_of_what_never_came_to_a_call(way: str, lines: io.StringIO) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("hook.test").configure_cert(context)
    async with receiver(tls=context) as peer:
        config = settings(peer.url(PATH), HMAC, PRIVATE)
        name = settings(peer.url(PATH, host="hook.test"), HMAC, PRIVATE)
        dialler = {
            "no name": Dialler(name, resolve=never),
            "metadata": Dialler(name, resolve=metadata),
            "broken network": Dialler(config, network=Broken()),
            "bad certificate": Dialler(config),
        }[way]
        sink = WebhookSink("crm", config, dialler)
        answered = await attempt(sink)
        await sink.close()
    assert answered.outcome == "later"
    assert leaks(everything(sink, answered, Metrics(), lines)) == []
    assert peer.got == []
