"""The example consumer as a real process against the real broker: killed, restarted, and each event counted once."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from delivery_events import call_event, call_id, segment_of
from example_receiver import EXAMPLES
from kafka_broker import ids, kafka_config, read_all
from source_case import load_module

from poller.model import Position, Segment
from poller.segment import end, pack
from poller.simulate.broker import Broker
from poller.sinks.kafka import build

PROGRAM = EXAMPLES / "consumer.py"
TOTALS = "SELECT type, events FROM totals"
HANDLED = "SELECT id FROM handled"


def ask(database: Path, question: str) -> list[tuple[Any, ...]]:
    """The rows; none before the program has made its tables."""
    with closing(sqlite3.connect(database, timeout=30)) as opened:
        try:
            return opened.execute(question).fetchall()
        except sqlite3.OperationalError:
            return []


@contextmanager
def running(broker: Broker, prefix: str, database: Path, group: str) -> Iterator[subprocess.Popen[bytes]]:
    """The program; ended with SIGKILL, unless it has ended."""
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP": broker.bootstrap,
        "KAFKA_TOPICS": f"{prefix}.calls,{prefix}.recordings",
        "KAFKA_GROUP": group,
        "DATABASE": str(database),
    }
    process = subprocess.Popen([sys.executable, str(PROGRAM)], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)


async def until(process: subprocess.Popen[bytes], there: Callable[[], bool]) -> None:
    """A killed member's partitions are given away only after its session has timed out, so this may take a while."""
    deadline = time.monotonic() + 240
    while not there():
        assert process.poll() is None, "it has ended"
        assert time.monotonic() < deadline
        await anyio.sleep(0.05)


async def roll_back(broker: Broker, topic: str, name: str) -> None:
    """An event that was sent in a transaction and taken back."""
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, transactional_id=f"{topic}-{name}")
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, call_event(name, 1).body)
        await producer.abort_transaction()
    finally:
        await producer.stop()


def again(segment: Segment, after: Position) -> Segment:
    """The same calls at a later place of the log, as a replay puts them there."""
    names = [f"c{number}" for number in range(segment.first, segment.last + 1)]
    events = [call_event(name, seq) for seq, name in enumerate(names, after.seq + 1)]
    return pack([msgspec.structs.replace(event, only=("kafka",), replay=True) for event in events], after, 1.7e9)


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.anyio
async def test_each_event_counts_once_whatever_is_killed(broker: Broker, prefix: str, tmp_path: Path) -> None:
    database, topic = tmp_path / "events.db", f"{prefix}.calls"
    log = [segment_of([f"c{number}" for number in range(1, 301)], Position())]
    for part in range(1, 4):
        log.append(segment_of([f"c{number}" for number in range(part * 300 + 1, part * 300 + 301)], end(log[-1])))
    log.append(again(log[0], end(log[-1])))
    log.append(segment_of(["last"], end(log[-1])))
    wanted = {call_id(f"c{number}") for number in range(1, 1201)} | {call_id("last")}

    def known() -> set[str]:
        return {row[0] for row in ask(database, HANDLED)}

    def seen(event_id: str) -> bool:
        return event_id in known()

    # One partition: when the last event is there, so is what came before it.
    sink = build("kafka", kafka_config(broker.bootstrap, prefix, partitions=1), shards=1)
    lane = await sink.lane(0)
    for number in range(3):
        await lane.send([log[number]])
        first = call_id(f"c{number * 300 + 1}")
        with running(broker, prefix, database, "one") as process:
            await until(process, partial(seen, first))
    await roll_back(broker, topic, "taken-back")
    await lane.send(log[3:])
    await lane.close()
    sent = ids(await read_all(broker.bootstrap, [topic]))
    assert set(sent) == wanted
    assert sent[call_id("c1")] == 2
    with running(broker, prefix, database, "one") as process:
        await until(process, partial(seen, call_id("last")))
        process.terminate()
        assert process.wait(120) == 0
    assert known() == wanted
    assert ask(database, TOTALS) == [("telephony.call.new", 1201)]
    # Another group has no offsets: it reads everything again.
    await (newest := await sink.lane(0)).send([segment_of(["behind"], end(log[-1]))])
    await newest.close()
    with running(broker, prefix, database, "two") as process:
        await until(process, partial(seen, call_id("behind")))
    assert ask(database, TOTALS) == [("telephony.call.new", 1202)]
    assert len(ask(database, "SELECT subject FROM things")) == 1202
    await sink.close()


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.anyio
async def test_what_could_not_be_written_is_read_again(broker: Broker, prefix: str, tmp_path: Path) -> None:
    """The database refuses in the middle of a batch: the program ends, and has committed nothing of it on its way out."""
    database = tmp_path / "events.db"
    segment = segment_of(["a", "b", "c"], Position())
    sink = build("kafka", kafka_config(broker.bootstrap, prefix, partitions=1), shards=1)
    lane = await sink.lane(0)
    await lane.send([segment])
    await lane.close()
    with closing(sqlite3.connect(database)) as opened:
        opened.executescript(load_module(PROGRAM).TABLES)
        opened.execute(
            "CREATE TRIGGER full BEFORE INSERT ON things WHEN NEW.subject = 'b' BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    with running(broker, prefix, database, "one") as process:
        await anyio.to_thread.run_sync(process.wait, 240)
        assert process.returncode == 1
    assert ask(database, HANDLED) == []
    with closing(sqlite3.connect(database)) as opened:
        opened.execute("DROP TRIGGER full")
    with running(broker, prefix, database, "one") as process:
        await until(process, lambda: bool(ask(database, TOTALS)))
    assert ask(database, TOTALS) == [("telephony.call.new", 3)]
    await sink.close()


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as opened:
        opened.executescript(load_module(PROGRAM).TABLES)
        yield opened


def in_state(event_id: str, revision: int) -> bytes:
    event = msgspec.json.decode(call_event("c1", 1).body)
    return msgspec.json.encode(event | {"id": event_id, "data": event["data"] | {"revision": revision}})


def test_the_highest_revision_stays(database: sqlite3.Connection) -> None:
    program: Any = load_module(PROGRAM)
    program.handle(database, [in_state("a", 1), in_state("c", 3)])
    program.handle(database, [in_state("b", 2), in_state("c", 3)])
    assert database.execute("SELECT revision FROM things").fetchall() == [(3,)]
    assert database.execute(TOTALS).fetchall() == [("telephony.call.new", 3)]


def test_a_batch_that_fails_leaves_nothing(database: sqlite3.Connection) -> None:
    program: Any = load_module(PROGRAM)
    with pytest.raises(ValueError, match="Expecting"):
        program.handle(database, [in_state("a", 1), b"cut"])
    assert database.execute(HANDLED).fetchall() == []
    program.handle(database, [in_state("a", 1)])
    assert database.execute(TOTALS).fetchall() == [("telephony.call.new", 1)]
