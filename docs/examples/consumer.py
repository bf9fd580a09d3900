"""Consumes poller's events from Kafka: each once, whatever is killed in between. `pip install aiokafka`

The effect of an event and its id are written in one transaction of this program's own database; only then is the offset
committed. What is read again after a crash, or was published again by a replay, has an id that is known already.
"""

import asyncio
import json
import os
import signal
import sqlite3
from contextlib import closing

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

TABLES = """
CREATE TABLE IF NOT EXISTS handled (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS things (source TEXT, subject TEXT, revision INTEGER, data TEXT, PRIMARY KEY (source, subject));
CREATE TABLE IF NOT EXISTS totals (type TEXT PRIMARY KEY, events INTEGER);
"""
NEWER = """
INSERT INTO things VALUES (?, ?, ?, ?) ON CONFLICT (source, subject)
DO UPDATE SET revision = excluded.revision, data = excluded.data WHERE excluded.revision > revision
"""
COUNTED = "INSERT INTO totals VALUES (?, 1) ON CONFLICT (type) DO UPDATE SET events = events + 1"


def handle(database: sqlite3.Connection, values: list[bytes]) -> None:
    """All of it or, where anything fails, nothing. What you do with an event belongs where `things` and `totals` are."""
    with database:
        for event in map(json.loads, values):
            if not database.execute("INSERT OR IGNORE INTO handled VALUES (?)", (event["id"],)).rowcount:
                continue  # handled before
            data = event["data"]
            database.execute(NEWER, (event["source"], event["subject"], data["revision"], json.dumps(data)))
            database.execute(COUNTED, (event["type"],))


async def consume(consumer: AIOKafkaConsumer, database: sqlite3.Connection) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    while not stopped.is_set():
        batches = await consumer.getmany(timeout_ms=500, max_records=500)
        if not batches:
            continue
        handle(database, [record.value for records in batches.values() for record in records])
        try:
            await consumer.commit()
        except KafkaError as error:  # such as: another consumer of the group has the partition now, and reads it again
            print(f"offsets not committed, which does no harm, since the ids are known: {error!r}")


async def main() -> None:
    consumer = AIOKafkaConsumer(
        *os.environ.get("KAFKA_TOPICS", "telephony.calls,telephony.recordings").split(","),
        bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
        group_id=os.environ.get("KAFKA_GROUP", "example"),
        isolation_level="read_committed",  # not the default: without it, what was rolled back is read too
        enable_auto_commit=False,  # else offsets are committed by the clock, before the work is done
        auto_offset_reset="earliest",  # a new group begins with what is kept
    )
    with closing(sqlite3.connect(os.environ.get("DATABASE", "events.db"))) as database:
        database.executescript(TABLES)
        await consumer.start()
        try:
            await consume(consumer, database)
        finally:
            await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main())
