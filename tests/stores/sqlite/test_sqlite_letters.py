"""How dead letters lie in the file: compressed, and found without reading the others."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from delivery_events import call_event
from msgspec import structs
from stores_content import dead_event

from poller.model import Position
from poller.stores.sqlite import Config, open_store
from poller.stores.sqlite.queries import SQL

pytestmark = pytest.mark.anyio

PAGE = {"at": 0.0, "id": "", "until": 9e9, "sink": "crm", "source": None, "reason": None, "limit": 9}


async def stored(path: Path) -> sqlite3.Connection:
    store = await open_store(Config(path=path))
    letter = structs.replace(dead_event(1), event=call_event("c1", 1))
    await store.delivered(await store.hold(0), "kafka", Position(), [letter])
    assert await store.letters([letter.id]) == [letter]
    await store.close()
    return sqlite3.connect(path)


async def test_events_are_kept_compressed(tmp_path: Path) -> None:
    event = call_event("c1", 1)
    with contextlib.closing(await stored(tmp_path / "poller.db")) as file:
        size, kept = file.execute("SELECT size, length(event) FROM dead_event").fetchone()
    assert size == len(event.body)
    assert kept < 0.75 * len(msgspec.msgpack.encode(event))


@pytest.mark.parametrize(
    ("statement", "bound"),
    [
        ("dead_event_heads", PAGE),
        ("dead_event_heads_of_sink", PAGE),
        ("dead_record_heads", PAGE),
        ("dead_events_like", {"start": "a", "limit": 2}),
        ("dead_records_like", {"start": "a", "limit": 2}),
        ("old_dead_letters", {"before": 1.0, "limit": 2}),
        ("oldest_dead_events", ("crm", 2)),
        ("dead_record_ids", ("mor",)),
        ("forget_dead_events", ("crm",)),
    ],
)
async def test_no_statement_reads_or_sorts_the_whole_table(tmp_path: Path, statement: str, bound: Any) -> None:
    with contextlib.closing(await stored(tmp_path / "poller.db")) as file:
        plan = [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {SQL[statement]}", bound)]
    assert any("INDEX" in step for step in plan)
    assert [step for step in plan if "SCAN" in step or "TEMP B-TREE" in step] == []
