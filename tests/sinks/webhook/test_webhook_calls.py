"""One attempt, to a receiver that does everything wrong that a receiver can do."""

import time

import anyio
import httpcore
import msgspec
import pytest
from delivery_events import call_event
from webhook_case import attempt, hook
from webhook_receiver import answer, closes, hangs, receiver, resets, says, sends, streams

from poller import __version__
from poller.sinks.webhook.dial import Stream

pytestmark = pytest.mark.anyio

GENEROUS = 60.0
"""Seconds: no test depends on how fast the machine is."""


async def test_what_a_receiver_gets() -> None:
    async with receiver() as peer:
        sink = hook(peer.url("/hooks/calls?key=abc"))
        answered = await attempt(sink, number=3, at=1_800_000_000.25)
        await sink.close()
    assert (answered.outcome, answered.error) == ("delivered", "")
    (got,) = peer.got
    assert got.line == "POST /hooks/calls?key=abc HTTP/1.1"
    assert got.headers["host"] == f"127.0.0.1:{peer.port}"
    assert got.headers["user-agent"] == f"poller/{__version__}"
    assert got.headers["webhook-id"] == call_event("c1", 1).id
    assert got.headers["webhook-timestamp"] == "1800000000"
    assert got.headers["poller-attempt"] == "3"
    assert got.headers["poller-first-attempt"] == "2027-01-15T08:00:00.250Z"
    assert "poller-replay" not in got.headers
    assert "cookie" not in got.headers


async def test_a_replay_says_so() -> None:
    async with receiver() as peer:
        sink = hook(peer.url())
        await attempt(sink, msgspec.structs.replace(call_event("c1", 1), replay=True))
        await sink.close()
    assert peer.got[0].headers["poller-replay"] == "true"


async def test_connections_are_kept_and_no_more_than_are_needed() -> None:
    async with receiver() as peer:
        sink = hook(peer.url(), concurrency=2)
        for _ in range(5):
            await attempt(sink)
        assert peer.connections == 1
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(attempt, sink)
        kept = len(sink._caller._idle)
        await sink.close()
    assert kept == 2
    assert len(peer.got) == 11


@pytest.mark.parametrize(("how", "words"), [(closes, "disconnected"), (resets, "the connection broke")])
async def test_no_answer_is_unreachable(how: object, words: str) -> None:
    async with receiver(how) as peer:  # type: ignore[arg-type]  # one of the two
        sink = hook(peer.url())
        answered = await attempt(sink)
        await sink.close()
    assert (answered.outcome, answered.reason) == ("later", "unreachable")
    assert answered.error.startswith(f"no answer from http://127.0.0.1:{peer.port}: ")
    assert words in answered.error
    assert "Error" not in answered.error
    assert len(peer.got) == 1  # nothing is sent again on a connection that was new


async def test_a_kept_connection_that_was_closed_meanwhile_is_no_failure() -> None:
    """The receiver closes it in the moment in which the next call arrives, so nobody can have known."""
    async with receiver(says(204), closes, says(204)) as peer:
        sink = hook(peer.url())
        await attempt(sink)
        answered = await attempt(sink)
        await sink.close()
    assert answered.outcome == "delivered"
    assert [got.connection for got in peer.got] == [1, 1, 2]
    assert len({got.headers["webhook-id"] for got in peer.got}) == 1


async def test_it_is_sent_again_once_only() -> None:
    async with receiver(says(204), closes) as peer:
        sink = hook(peer.url())
        await attempt(sink)
        answered = await attempt(sink)
        await sink.close()
    assert answered.reason == "unreachable"
    assert [got.connection for got in peer.got] == [1, 1, 2]


async def test_an_answer_that_began_is_not_asked_for_again() -> None:
    async with receiver(says(204), sends(b"HTTP/1.1 2", close=True)) as peer:
        sink = hook(peer.url())
        await attempt(sink)
        answered = await attempt(sink)
        await sink.close()
    assert answered.reason == "unreachable"
    assert len(peer.got) == 2


async def test_a_closed_kept_connection_is_noticed_before_it_is_used() -> None:
    async with receiver(sends(answer(204), close=True), says(204)) as peer:
        sink = hook(peer.url())
        await attempt(sink)
        with anyio.fail_after(GENEROUS):
            while sink._caller._idle[0].usable():  # noqa: ASYNC110 nobody tells when a socket has ended
                await anyio.sleep(0.01)
        assert (await attempt(sink)).outcome == "delivered"
        await sink.close()
    assert [got.connection for got in peer.got] == [1, 2]


async def test_an_answer_that_goes_on_behind_its_end_spoils_the_connection_and_nothing_else() -> None:
    """A body with 204 is a common mistake of receivers; the next call must not be taken for one that nobody answered."""
    async with receiver(sends(b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok")) as peer:
        sink = hook(peer.url())
        outcomes = [(await attempt(sink)).outcome for _ in range(4)]
        await sink.close()
    assert outcomes == ["delivered"] * 4
    assert [got.connection for got in peer.got] == [1, 2, 3, 4]


async def test_what_hangs_is_over_after_the_timeout() -> None:
    async with receiver(hangs) as peer:
        sink = hook(peer.url(), timeout="1s")
        began = time.monotonic()
        answered = await attempt(sink)
        spent = time.monotonic() - began
        await sink.close()
    assert (answered.outcome, answered.reason) == ("later", "timeout")
    assert answered.error == f"no answer from http://127.0.0.1:{peer.port} within 1 s"
    assert spent >= 0.99


async def test_a_head_that_drips_is_over_after_the_timeout() -> None:
    async with receiver(streams(b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n", 0.02)) as peer:
        sink = hook(peer.url(), timeout="1s")
        answered = await attempt(sink)
        await sink.close()
    assert answered.reason == "timeout"


@pytest.mark.parametrize(
    "how",
    [
        streams(b"HTTP/1.1 200 OK\r\n", b"x-a: " + b"b" * 4096 + b"\r\n"),
        streams(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        streams(b"HTTP/1.1 200 OK\r\nx: ", b"b" * 65536),
    ],
)
async def test_a_head_without_end_is_cut_off(how: object) -> None:
    async with receiver(how) as peer:  # type: ignore[arg-type]  # one of these
        sink = hook(peer.url(), timeout="60s")
        answered = await attempt(sink)
        await sink.close()
    assert answered.reason == "unreachable"


@pytest.mark.parametrize("status", [200, 500])
async def test_a_body_without_end_costs_a_few_kib(status: int) -> None:
    head = f"HTTP/1.1 {status} Said\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    async with receiver(streams(head, b"1000\r\n" + b"x" * 4096 + b"\r\n"), says(204)) as peer:
        sink = hook(peer.url(), timeout="60s")
        answered = await attempt(sink)
        assert (await attempt(sink)).outcome == "delivered"
        await sink.close()
    assert answered.outcome == ("delivered" if status == 200 else "later")
    assert len(answered.error) < 400
    assert [got.connection for got in peer.got] == [1, 2]  # the first one is of no more use


@pytest.mark.parametrize("status", [200, 500])
async def test_a_body_that_drips_is_not_waited_for(status: int) -> None:
    """What the answer means is known from its head, so that neither the event waits nor the place of a call."""
    head = f"HTTP/1.1 {status} Said\r\ncontent-length: 1000000\r\n\r\nsome words".encode()
    async with receiver(streams(head, b".", 0.05)) as peer:
        sink = hook(peer.url(), timeout="60s")
        with anyio.fail_after(50):
            answered = await attempt(sink)
        await sink.close()
    assert answered.outcome == ("delivered" if status == 200 else "later")
    assert ("500" in answered.error and "some words" in answered.error) is (status == 500)


async def test_a_timeout_while_the_body_drips_does_not_unsay_the_status() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"
    async with receiver(streams(head, b".", 0.02)) as peer:
        sink = hook(peer.url(), timeout="1800ms")
        answered = await attempt(sink)
        await sink.close()
    assert answered.outcome == "delivered"


async def test_what_is_no_http_is_said() -> None:
    async with receiver(sends(b"220 mail.example ESMTP \x1b[31m ready\r\n\r\n", close=True)) as peer:
        sink = hook(peer.url())
        answered = await attempt(sink)
        await sink.close()
    assert answered.reason == "unreachable"
    assert "\x1b" not in answered.error


async def test_redirects_are_not_followed() -> None:
    async with receiver() as inside, receiver(says(302, location=inside.url("/internal"))) as peer:
        sink = hook(peer.url())
        answered = await attempt(sink)
        await sink.close()
    assert (answered.outcome, answered.reason) == ("later", "redirect")
    assert (len(peer.got), inside.connections) == (1, 0)


async def test_no_proxy_of_the_environment_opens_a_side_door(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver() as proxy, receiver() as peer:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        sink = hook(peer.url())
        assert (await attempt(sink)).outcome == "delivered"
        await sink.close()
    assert (proxy.connections, len(peer.got)) == (0, 1)


async def test_nobody_listens() -> None:
    async with receiver() as peer:
        pass
    sink = hook(peer.url())
    answered = await attempt(sink)
    await sink.close()
    assert (answered.outcome, answered.reason) == ("later", "unreachable")
    assert f"no connection to http://127.0.0.1:{peer.port} (127.0.0.1: " in answered.error


async def test_a_cancelled_attempt_leaves_no_connection_behind() -> None:
    async with receiver(says(204), hangs) as peer:
        sink = hook(peer.url())
        await attempt(sink)
        stream = sink._caller._idle[0].stream
        peer.came.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attempt, sink)
            with anyio.fail_after(GENEROUS):
                await peer.came.wait()
            tasks.cancel_scope.cancel()
        assert sink._caller._idle == []
        assert stream.get_extra_info("socket").fileno() == -1  # type: ignore[attr-defined]  # a socket
        await sink.close()


async def test_nor_does_one_that_is_cancelled_before_it_begins() -> None:
    async with receiver() as peer:
        sink = hook(peer.url())
        await attempt(sink)
        stream = sink._caller._idle[0].stream
        with anyio.CancelScope() as scope:
            scope.cancel()
            await attempt(sink)
        assert stream.get_extra_info("socket").fileno() == -1  # type: ignore[attr-defined]  # a socket
        assert sink._caller._idle == []
        await sink.close()


async def test_a_connection_does_not_grow_old() -> None:
    """A name that leads elsewhere by then is followed although there is always something to send."""
    async with receiver() as peer:
        sink = hook(peer.url())
        await attempt(sink)
        sink._caller._idle[0].born -= 299
        await attempt(sink)
        sink._caller._idle[0].born -= 301
        await attempt(sink)
        await sink.close()
    assert [got.connection for got in peer.got] == [1, 1, 2]


class Plenty(httpcore.AsyncNetworkStream):
    """Has as much as is asked for, and takes what it is given."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109 the library's own signature
        return b"x" * max_bytes

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 the library's own signature
        self.sent.append(buffer)


async def test_a_stream_takes_no_byte_more_than_was_allowed_and_sends_in_one_piece() -> None:
    inner = Plenty()
    stream = Stream(inner)
    for piece in (b"head", b"", b"body"):
        await stream.write(piece)
    stream.allow(10)
    assert [len(await stream.read(6)), len(await stream.read(65_536))] == [6, 4]
    with pytest.raises(httpcore.ReadError):
        await stream.read(1)
    assert inner.sent == [b"headbody"]


async def test_an_event_that_is_none_is_dead_and_nothing_is_sent() -> None:
    broken = msgspec.structs.replace(call_event("c1", 1), body=b'{"id": nothing')
    nameless = msgspec.structs.replace(call_event("c1", 1), id="a\r\nx-evil: 1")
    async with receiver() as peer:
        sink = hook(peer.url())
        answers = [await attempt(sink, event) for event in (broken, nameless)]
        await sink.close()
    assert [(one.outcome, one.reason) for one in answers] == [("dead", "client_error")] * 2
    assert peer.connections == 0


async def test_answers_reach_the_event() -> None:
    """A few statuses over the wire; all of them are judged in the test of the verdicts."""
    wait = {"retry_after": "7"}
    date = {"date": "Thu, 01 Jan 2026 00:00:00 GMT", "retry_after": "Thu, 01 Jan 2026 00:01:40 GMT"}
    answers = [
        says(500, b"boom"),
        says(429, b"slowly", **wait),
        says(503, b"later", **date),
        says(410),
        says(415, b"what is this?"),
        says(400, webhook_delivery="disable"),
        says(500, webhook_delivery="abort-message"),
        says(200, webhook_delivery="disable"),
    ]
    async with receiver(*answers) as peer:
        sink = hook(peer.url())
        found = [await attempt(sink) for _ in answers]
        await sink.close()
    assert [(one.outcome, one.reason, one.retry_after, one.slow_down, one.disable) for one in found] == [
        ("later", "server_error", None, False, False),
        ("later", "rate_limited", 7, True, False),
        ("later", "rate_limited", 100, True, False),
        ("later", "gone", None, False, True),
        ("dead", "client_error", None, False, False),
        ("later", "disabled", None, False, True),
        ("dead", "aborted", None, False, False),
        ("delivered", "", None, False, True),
    ]
    place = peer.url("")
    assert found[0].error == f"500 from {place}: boom."
    assert found[4].error == f"415 from {place}: what is this?."
