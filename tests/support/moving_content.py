"""A store that is about to move: what is in it, and who has what."""

import sqlite3
from contextlib import closing
from pathlib import Path

from delivery_events import call_event
from msgspec import structs
from stores_content import dead_event, dead_record, retry

from poller import segment
from poller.health import meta_name
from poller.kept import Attempted
from poller.model import CheckpointKey, Event, PageCommit
from poller.stores.sqlite import Config, open_store

SOURCES = [f"office-{number}" for number in range(9)]
CONFIG = """\
store: {kind: sqlite, path: STORE}
server: {listen: '127.0.0.1:0'}
admin: {socket: p.sock}
sinks:
  out: {kind: ndjson, path: out.jsonl}
  later: {kind: ndjson, path: later.jsonl}
sources:
  office-0:
    kind: thulium
    base_url: http://127.0.0.1:9/api
    username: me
    password: {env: PASSWORD}
    endpoints: {connections: {}}
"""
PER_PAGE, PAGES = 7, 12


def call(number: int, seq: int) -> Event:
    """One call of one of the sources."""
    source = f"/poller/{SOURCES[number % len(SOURCES)]}/calls"
    return structs.replace(call_event(f"c{number}", seq, new=True, at=1000.0 + number), source=source)


async def fill(path: Path) -> None:
    """84 calls of 9 sources in 12 commits. `out` has 40 of them, `later` 70 and two more, and has one to try again."""
    store = await open_store(Config(path=path))
    held = await store.hold(0)
    positions = {}
    for page in range(PAGES):
        events = [call(page * PER_PAGE + i, held.last.seq + 1 + i) for i in range(PER_PAGE)]
        packed = segment.pack(events, held.last, 1000.0 + page)
        seen = [(event.seen, packed.first + i) for i, event in enumerate(events) if event.seen is not None]
        checkpoint = {CheckpointKey(SOURCES[page % 9], "other.list"): b"%d" % page}
        held = await store.commit_page(held, PageCommit(segment=packed, seen=seen, checkpoints=checkpoint))
        positions[packed.last] = segment.end(packed)
    await store.delivered(held, "out", positions[42])
    kept = structs.replace(retry(33, sink="later"), event=call(32, 33))
    letter = structs.replace(dead_event(5, sink="later"), event=call(4, 5))
    came = Attempted(position=positions[70], done=(72, 75), later=[kept], dead=[letter])
    await store.attempted(held, "later", came)
    await store.commit_page(held, PageCommit(dead=[dead_record(1), dead_record(2)]))
    await store.put_meta(meta_name("later"), '{"state": "disabled"}')
    await store.close()


def add_seen(store: Path, count: int) -> None:
    """Ids over 30 days, which no compression makes smaller."""
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO seen "
            "SELECT 20000 + i * 30 / ?, randomblob(16), randomblob(8), 0 FROM n", (count, count)
        )  # fmt: skip
        connection.execute("UPDATE counter SET value = value + ? WHERE name = 'seen'", (count,))
