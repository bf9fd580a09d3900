"""CPU microseconds per signed delivery, by stage, to a receiver in another process: `python benchmarks/bench_webhook.py [ATTEMPTS]`.

Events as the way in writes them, about 1,200 bytes with the raw record inside, which webhooks leave out. httpx, in the same
run with the same signed bodies, is what a plain sender would use.
"""

import asyncio
import multiprocessing
import secrets
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import anyio
import httpx
import uvloop
from bench_kafka import log, stage

from poller.each import Attempt
from poller.model import Event
from poller.outgoing import Outgoing
from poller.segment import unpack
from poller.signing import ed25519_texts, hmac_text, sign
from poller.sinks.webhook import Config, build
from poller.sinks.webhook.formats import Format

AT_ONCE = 4
_OK = b"HTTP/1.1 204 No Content\r\nserver: bench\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"


class Receiver(asyncio.Protocol):
    """Reads requests with a content-length and says 204."""

    def connection_made(self, transport: Any) -> None:
        """Begins with nothing."""
        self.transport, self.data = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answers every request that is whole."""
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            at = self.data.lower().find(b"content-length: ") + 16
            size = end + 4 + int(self.data[at : self.data.index(b"\r\n", at)])
            if len(self.data) < size:
                return
            self.data = self.data[size:]
            self.transport.write(_OK)


def receive(listener: socket.socket) -> None:
    """The other process."""

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Receiver, sock=listener)
        await server.serve_forever()

    uvloop.install()
    asyncio.run(serve())


async def timed(name: str, events: list[Event], send: Callable[[Event], Awaitable[None]]) -> None:
    """Prints what all of it costs, with a few calls at a time."""
    turns = iter(events)

    async def some(left: Iterable[Event]) -> None:
        for event in left:
            await send(event)

    cpu, wall = time.process_time(), time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(some, turns)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    rate = len(events) / cpu
    print(
        f"{name:42}{cpu / len(events) * 1e6:8.2f} µs   {rate:,.0f} per CPU-second, {len(events) / wall:,.0f} per second"
    )


async def main(count: int, port: int) -> None:
    """Pure stages one by one, then all of it, then httpx."""
    events = [event for one in log(count) for event in unpack(one)][:count]
    hmac = hmac_text(secrets.token_bytes(32))
    settings = {"kind": "webhook", "url": f"http://127.0.0.1:{port}/hook", "allow": ["127.0.0.1"], "allow_http": True}
    configs = {
        name: Config.model_validate({**settings, "secrets": keys, "format": form}, context={"literals": True})
        for name, keys, form in (
            ("v1", [hmac], "cloudevents"),
            ("v1, binary", [hmac], "cloudevents-binary"),
            ("v1, standard", [hmac], "standard"),
            ("v1 and v1a", [hmac, ed25519_texts(secrets.token_bytes(32))[0]], "cloudevents"),
        )
    }
    now = time.time()
    first = Attempt(number=1, at=now, first=now)
    outgoing, keys = Outgoing(vendor=False, mask_numbers=False), configs["v1"].keys()
    bodies = [outgoing.body(event.body) for event in events]
    print(f"{count} events, {sum(map(len, bodies)) / count:.0f} bytes each as they are sent")
    stage("leave the raw record out", lambda: [outgoing.body(event.body) for event in events], count)
    masking = Outgoing(vendor=False, mask_numbers=True)
    stage("mask numbers, too", lambda: [masking.body(event.body) for event in events], count)
    both = configs["v1 and v1a"].keys()
    pairs = list(zip(events, bodies, strict=True))
    stage("sign, v1", lambda: [sign(keys, event.id, int(now), body) for event, body in pairs], count)
    stage("sign, v1 and v1a", lambda: [sign(both, event.id, int(now), body) for event, body in pairs], count)
    for name, config in configs.items():
        form = Format(config, config.keys())
        stage(f"all before the network ({name})", lambda form=form: [form.call(one, first) for one in events], count)
    for name, config in configs.items():
        sink = build("bench", config, shards=1)

        async def attempt(event: Event, sink: Any = sink) -> None:
            answered = await sink.attempt(event, first)
            assert answered.outcome == "delivered", answered

        await timed(f"WebhookSink.attempt ({name})", events, attempt)
        await sink.close()
    await _httpx(events, outgoing, keys, configs["v1"].url.reveal())


async def _httpx(events: list[Event], outgoing: Outgoing, keys: Any, url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:

        async def post(event: Event) -> None:
            body = outgoing.body(event.body)
            headers = sign(keys, event.id, int(time.time()), body) | {"content-type": "application/cloudevents+json"}
            response = await client.post(url, content=body, headers=headers)
            assert response.status_code == 204

        await timed("httpx, the same body and signature (v1)", events, post)


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        other = multiprocessing.get_context("fork").Process(target=receive, args=(server,), daemon=True)
        other.start()
        uvloop.install()
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000, server.getsockname()[1]))
        other.terminate()
        other.join()
