"""How dead letters lie in the database: compressed, counted, and found without reading the others."""

from typing import Any

import msgspec
import pytest
from delivery_events import call_event
from msgspec import structs
from postgres_server import Server
from stores_content import dead_event, dead_record

from poller.kept import LetterPlace, Which
from poller.model import PageCommit, Position
from poller.stores.postgres import PostgresStore
from poller.stores.postgres.queries import SQL

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

PAGE = {"at": 900.0, "id": "", "until": 9e9, "source": None, "reason": None, "limit": 9}
MANY = """
INSERT INTO poller.dead_event (id, sink, shard, seq, source, reason, error, at, size, event)
SELECT md5(n::text), 'sink-' || n % 5, 0, n, 'mor', 'bad', '', n, 10, '' FROM generate_series(1, 3000) AS n;
INSERT INTO poller.dead_record (id, source, endpoint, ask, reason, error, raw, at)
SELECT md5(n::text), 'mor-' || n % 5, 'e', '', 'bad', '', '', n FROM generate_series(1, 3000) AS n;
ANALYZE poller.dead_event, poller.dead_record;
"""


async def test_events_are_kept_compressed(store: PostgresStore, postgres_server: Server, database: str) -> None:
    event = call_event("c1", 1)
    letter = structs.replace(dead_event(1), event=event)
    await store.delivered(await store.hold(0), "kafka", Position(), [letter])
    assert await store.letters([letter.id]) == [letter]
    ((size, kept),) = postgres_server.sql("SELECT size, octet_length(event) FROM poller.dead_event", database)
    assert size == len(event.body)
    assert kept < 0.75 * len(msgspec.msgpack.encode(event))


@pytest.mark.parametrize(
    ("statement", "bound"),
    [
        ("dead_event_heads", PAGE),
        ("dead_event_heads_of_sink", PAGE | {"sink": "sink-1"}),
        ("dead_record_heads", PAGE),
        ("dead_events_like", {"start": "ab", "limit": 2}),
        ("dead_records_like", {"start": "ab", "limit": 2}),
        ("some_dead_events", {"ids": ["a", "b"]}),
        ("dead_record_ids", {"source": "mor-1"}),
        ("expire_dead_letters", {"before": 100.0, "limit": 2}),
        ("discard_dead_events", {"sink": "sink-1", "keep": 10, "limit": 2}),
    ],
)
async def test_no_statement_reads_or_sorts_the_whole_table(
    store: PostgresStore, postgres_server: Server, database: str, statement: str, bound: dict[str, object]
) -> None:
    for each in filter(str.strip, MANY.split(";")):
        postgres_server.sql(each, database)

    async def explain(session: Any) -> list[str]:
        cursor = await session.connection.execute(f"EXPLAIN {SQL[statement]}", bound)
        return [row[0] for row in await cursor.fetchall()]

    plan = await store._database.call(explain)
    assert any("Index" in step for step in plan), plan
    assert [step for step in plan if "Seq Scan on dead_e" in step or "Seq Scan on dead_r" in step] == []
    assert [step for step in plan if "Sort" in step and statement.endswith(("heads", "like", "sink"))] == [], plan


async def test_letters_go_and_come_and_are_counted(
    store: PostgresStore, postgres_server: Server, database: str
) -> None:
    """Also by hand, and where an insert or a delete finds nothing to do."""
    held = await store.hold(0)
    held = await store.commit_page(held, PageCommit(dead=[dead_record(1), dead_record(2)]))
    for _ in range(2):
        held = await store.commit_page(held, PageCommit(dead=[dead_record(1)]))
        await store.delivered(held, "kafka", Position(), [dead_event(1), dead_event(2)])
    await store.commit_page(held, PageCommit(closes=("record-1", "nothing")))
    postgres_server.sql("DELETE FROM poller.dead_event WHERE id = 'event-2'", database)
    totals = [(total.what, total.letters, total.bytes) for total in await store.letter_totals()]
    assert totals == [("event", 1, len(dead_event(1).event.body)), ("record", 1, len(dead_record(2).raw))]
    assert await store.forget_sink("kafka")
    assert [total.what for total in await store.letter_totals()] == ["record"]


@pytest.mark.parametrize("words", ["a\0b", "half \ud800"])
async def test_words_that_the_database_does_not_take_find_nothing(store: PostgresStore, words: str) -> None:
    assert await store.letters_like(words, 9) == []
    assert await store.letters([words]) == []
    for which in (Which(sink=words), Which(source=words), Which(reason=words)):
        assert await store.letter_heads(which, after=LetterPlace(), until=9.0, limit=9) == []
