"""The program's hot path in one process, stage by stage, to be counted: `instruction_work.py`, which prints its stages as JSON.

A call of `getsid`, which nobody else here makes, stands before and after each stage: `instruction_count.py` has valgrind write its
counters at each. Every stage runs once before it is counted: what is done only once, imports too, is no part of a figure.
"""

import gc
import hashlib
import hmac
import json
import os
import select
import sqlite3
import sys
import tempfile
import zlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpcore
import msgspec
from fake_clock import FakeClock
from msgspec import Struct

from poller import uv
from poller.each import Attempt
from poller.keep import Keeper, Walk
from poller.metrics import Metrics
from poller.model import Event, Keys, Segment, Window
from poller.protocols import Endpoint
from poller.segment import unpack
from poller.shard import Shard
from poller.signing import hmac_text
from poller.simulate.bulk import Bulk
from poller.simulate.mor_feed import local
from poller.simulate.mor_xml import calls_head
from poller.sinks import kafka, webhook
from poller.sinks.kafka.lane import KafkaLane
from poller.sinks.kafka.producer import Batch, Producer
from poller.sinks.kafka.topics import Limits
from poller.sinks.webhook.dial import Dialler
from poller.sinks.webhook.sink import WebhookSink
from poller.sources import fonouc, mor
from poller.stores import sqlite

WARM, PAGE, CALLS = 300, 1_000, 200
"""Records before it counts; in a page that counts; calls of a webhook that count."""
PIECE = 1 << 16
"""Bytes of an answer at a time."""
BEGIN = 1_700_000_000
WALK = Window(0, 1 << 40)

stages: list[tuple[str, int]] = []
"""Name and number of records, in the order of the counters."""


async def counted(name: str, records: int, work: Callable[[], Awaitable[object]]) -> None:
    """One stage between two marks. What others left behind is collected before, so that when that is due depends on the stage alone."""
    gc.collect()
    os.getsid(0)
    await work()
    os.getsid(0)
    stages.append((name, records))


# --- the way in --------------------------------------------------------------------------------------------------------


def fonouc_page(bulk: Bulk, span: range) -> bytes:
    """An answer as the vendor gives it."""
    rows = ",".join(bulk.fonouc(n) for n in span)
    return f'{{"data":[{rows}],"page_size":{len(span)},"next_start_key":""}}'.encode()


def mor_page(bulk: Bulk, span: range) -> bytes:
    """The same of MOR."""
    head = calls_head(total=len(span), echo=(local(BEGIN), local(BEGIN + 600)), username="u", userid=0, everything=True)
    return "".join(bulk.mor_page(head, span)).encode()


def read(endpoint: Endpoint, window: Window, body: bytes) -> list[bytes]:
    """The records of an answer that comes in pieces."""
    reading = endpoint.reading(endpoint.asks[0], window, None)
    records = []
    for at in range(0, len(body), PIECE):
        records += reading.feed(body[at : at + PIECE])
    return records + reading.close().records


class _Id(Struct):
    call_id: str


_decode = msgspec.json.Decoder(_Id).decode


class Planted:
    """The endpoint with what a check of speed has to notice: every record is decoded once more."""

    def __init__(self, inner: Endpoint) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def keys(self, record: bytes, offset: int | None) -> Keys:
        """As before, and slower by about 15 %."""
        _decode(record)
        return self._inner.keys(record, offset)


class WayIn:
    """An endpoint, its keeper and a store in a file."""

    def __init__(self, shard: Shard) -> None:
        options = {"kind": "fonouc", "base_url": "http://vendor.invalid", "api_key": {"env": "KEY"}, "account_id": "a",
                   "endpoints": {"cdrs": {}}}  # fmt: skip
        config = fonouc.Config.model_validate(options, context={"env": {"KEY": "k"}})
        self.endpoint = fonouc.build("fono", config).endpoints["cdrs"]
        assert config.endpoints.cdrs is not None
        self._options, self._shard = config.endpoints.cdrs, shard
        self.keeper = self._keeper(self.endpoint)
        self.planted = self._keeper(Planted(self.endpoint))

    def _keeper(self, endpoint: Any) -> Keeper:
        return Keeper("fono", endpoint, self._options, self._shard, metrics=Metrics(), clock=FakeClock(), mentions=True, name="fono")  # fmt: skip

    async def keep(self, keeper: Keeper, records: list[bytes], expected: tuple[int, int]) -> None:
        """One commit; `expected`: new and known ones."""
        walk = Walk(ask="", generation=self._shard.generation, asked=WALK, tolerance=0, horizon=0, read_until=None, complete_until=None, reach=1)  # fmt: skip
        tally = await keeper.keep(records, walk)
        assert (tally.new, tally.duplicate) == expected, tally


async def way_in(shard: Shard) -> None:
    """A page that is new, the same page known, from bytes to the commit."""
    way, bulk = WayIn(shard), Bulk(10_000, BEGIN, BEGIN + 36_000)
    warm, page = (fonouc_page(bulk, span) for span in (range(WARM), range(WARM, WARM + PAGE)))
    records = read(way.endpoint, WALK, warm)
    for keeper, expected in ((way.keeper, (WARM, 0)), (way.keeper, (0, WARM)), (way.planted, (0, WARM))):
        await way.keep(keeper, records, expected)

    async def reading() -> None:
        records[:] = read(way.endpoint, WALK, page)

    await counted("read FonoUC", PAGE, reading)
    await counted("new", PAGE, lambda: way.keep(way.keeper, records, (PAGE, 0)))  # fmt: skip
    await counted("known", PAGE, lambda: way.keep(way.keeper, records, (0, PAGE)))
    await counted("planted", PAGE, lambda: way.keep(way.planted, records, (0, PAGE)))


async def mor_xml() -> None:
    """MOR's XML into records."""
    config = mor.Config.model_validate(
        {"kind": "mor", "base_url": "http://vendor.invalid", "username": "u", "version": "x13", "api_secret": {"env": "KEY"}, "timezone": "Europe/Riga", "endpoints": {"user_calls": {}}},
        context={"env": {"KEY": "k"}},
    )  # fmt: skip
    endpoint = mor.build("mor", config).endpoints["user_calls"]
    bulk = Bulk(WARM + PAGE, BEGIN, BEGIN + 600)
    window = Window(BEGIN, BEGIN + 600)

    async def reading(span: range, body: bytes) -> None:
        assert len(read(endpoint, window, body)) == len(span)

    warm, page = range(WARM), range(WARM, WARM + PAGE)
    await reading(warm, mor_page(bulk, warm))
    body = mor_page(bulk, page)
    await counted("read MOR", PAGE, lambda: reading(page, body))


# --- the way out -------------------------------------------------------------------------------------------------------


class Unsent(Producer):
    """Does all that is done before the network."""

    async def send(self, batches: Sequence[Batch]) -> None:
        """Closes batches: compressed, with their checksums."""
        for _, _, batch in batches:
            batch.close()
            assert batch._build()


async def to_kafka(segments: Sequence[Segment]) -> None:
    """Segments to record batches."""
    config = kafka.Config.model_validate({"kind": "kafka", "bootstrap_servers": ["127.0.0.1:1"]})
    limits = Limits(dict.fromkeys(config.event_topics, 6), 1 << 20)

    async def producer() -> tuple[Producer, Limits]:
        return Unsent(config, {"bootstrap_servers": "127.0.0.1:1"}, None, 1 << 20), limits

    reading: Any = None  # nothing is read back without progress
    lane = KafkaLane("out", 0, config, None, producer, reading)
    await lane.start()
    await lane.send(segments[:1])
    await counted("to Kafka", PAGE, lambda: lane.send(segments[1:]))
    await lane.close()


class Line(httpcore.AsyncNetworkStream):
    """Says 204 to whatever is written."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109 as the library has it
        """The answer."""
        return b"HTTP/1.1 204 No Content\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 as the library has it
        """Nowhere."""

    async def aclose(self) -> None:
        """Nothing is open."""

    def get_extra_info(self, info: str) -> Any:
        """Its address."""
        return ("127.0.0.1", 80) if info == "server_addr" else None


class Network(httpcore.AsyncNetworkBackend):
    """Leads to such lines."""

    async def connect_tcp(self, *_arguments: Any, **_named: Any) -> httpcore.AsyncNetworkStream:
        """At once."""
        return Line()


async def to_webhook(events: Sequence[Event]) -> None:
    """Formatting, signing, HTTP; without sockets."""
    config = webhook.Config.model_validate(
        {"kind": "webhook", "url": "http://127.0.0.1/hook", "allow": ["127.0.0.1"], "allow_http": True, "secrets": [hmac_text(bytes(range(32)))]},
        context={"literals": True},
    )  # fmt: skip
    sink = WebhookSink("hook", config, Dialler(config, network=Network()))

    async def attempts(some: Sequence[Event]) -> None:
        for event in some:
            answered = await sink.attempt(event, Attempt(number=1, at=float(BEGIN), first=float(BEGIN)))
            assert answered.outcome == "delivered", answered

    await attempts(events[: CALLS // 4])
    await counted("to a webhook", CALLS, lambda: attempts(events[CALLS : 2 * CALLS]))
    await sink.close()


# --- the machine -------------------------------------------------------------------------------------------------------


class _Thing:
    def __init__(self, number: int) -> None:
        self.name, self.number = f"thing-{number}", number

    def add(self, more: int) -> int:
        return self.number + more


async def _next(number: int) -> int:
    return number + 1


async def yardstick(rounds: int) -> None:
    """What this interpreter and what comes with it cost: nothing of ours, and of no library that is installed.

    Never change it without recording the figures anew.
    """
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE seen (day INTEGER, id BLOB, PRIMARY KEY (day, id)) WITHOUT ROWID")
    known: dict[str, _Thing] = {}
    for number in range(rounds):
        thing = _Thing(number)
        known[thing.name] = thing
        text = json.dumps({"name": thing.name, "values": [thing.add(n) for n in range(8)]}).encode()
        digest = hashlib.blake2b(text, digest_size=16).digest()
        hmac.digest(digest, text, "sha256")
        zlib.crc32(text)
        database.execute("INSERT INTO seen VALUES (?, ?)", (await _next(number) % 7, digest))
        try:
            known[json.loads(text)["name"] + "?"]
        except KeyError:
            continue
    assert database.execute("SELECT count(*) FROM seen").fetchone() == (rounds,)
    database.close()


def until_told() -> None:
    """Says that it is ready, and runs on until the counting has been switched on: valgrind looks only at what runs."""
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        pass


async def main(folder: Path) -> None:
    """All stages."""
    until_told()
    await yardstick(WARM)
    await counted("yardstick", PAGE, lambda: yardstick(PAGE))
    store = await sqlite.open_store(sqlite.Config(kind="sqlite", path=folder / "poller.db"))
    shard = Shard(store, 0)
    await shard.believe()
    await way_in(shard)
    segments = await store.segments_after(0, 0, 1 << 40)
    await to_kafka(segments)
    await to_webhook(unpack(segments[1]))
    await mor_xml()
    await store.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        uv.run(main, Path(scratch))
    json.dump(stages, sys.stdout)
