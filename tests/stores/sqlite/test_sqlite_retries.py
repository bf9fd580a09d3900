"""What the second version of the file holds: how an older file gets it, and that outcomes are written whole."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given
from stores_content import dead_event, dead_events, event, key, page, retry, segment

from poller.errors import StoreFault, StoreFull, StoreRefused
from poller.kept import Attempted, LetterPlace, Which
from poller.model import CheckpointKey, Held, Position, Sighting
from poller.segment import end, unpack
from poller.stores.sqlite import Config, SqliteStore, migrate, migrations, open_read, open_store, pending, ranges

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "poller.db"


def first_version(path: Path) -> None:
    """A file as the first version wrote it: one segment of two events, one of them delivered to nobody, a dead letter."""
    script = migrations.FILES[0].read_text(encoding="utf-8")
    kept, dead = segment([1, 2], Position()), dead_event(9)
    # An event had one field less.
    old = msgspec.msgpack.encode(msgspec.msgpack.decode(msgspec.msgpack.encode(dead.event))[:-1])
    with contextlib.closing(sqlite3.connect(path)) as first:
        first.executescript(f"PRAGMA journal_mode = WAL; {script}")
        first.executescript(f"PRAGMA application_id = {migrations.OURS}; PRAGMA user_version = 1;")
        first.execute("INSERT INTO shard VALUES (0, 3, 2, ?)", (kept.chain,))
        first.execute(
            "INSERT INTO segment VALUES (0, 2, 1, ?, ?, ?, ?)", (kept.at, kept.chain, kept.recorded_bytes, kept.data)
        )
        first.execute("INSERT INTO position VALUES ('kafka', 0, 2, ?), ('hook', 0, 0, x'')", (kept.chain,))
        first.execute("INSERT INTO seen VALUES (?, ?, ?, 1)", (key(1).day, key(1).id, key(1).state))
        row = (dead.id, dead.sink, 0, dead.seq, dead.reason, dead.error, old, dead.at)
        first.execute("INSERT INTO dead_event VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        first.execute("INSERT INTO checkpoint VALUES ('mor', 'user_calls', '', x'01')")
        first.execute("INSERT INTO meta VALUES ('a', 'b')")
        first.execute("UPDATE counter SET value = 1 WHERE name IN ('seen', 'dead_event')")
        first.commit()


@pytest.mark.parametrize("way", [migrate, open_store])
async def test_a_file_of_the_first_version_is_brought_up_to_date(path: Path, way: Callable[[Config], Any]) -> None:
    first_version(path)
    config = Config(path=path)
    with pytest.raises(
        StoreRefused,
        match=r"lacks the migrations 0002_retries, 0003_dead_letters, 0004_segment_sinks: run `poller migrate`",
    ):
        await open_read(config)
    assert await pending(config) == ["0002_retries", "0003_dead_letters", "0004_segment_sinks"]
    opened = await way(config)
    if isinstance(opened, SqliteStore):
        await opened.close()
    else:
        assert opened == ["0002_retries", "0003_dead_letters", "0004_segment_sinks"]
    assert await pending(config) == []
    store = await open_store(config)
    held = await store.hold(0)
    assert held == Held(0, 4, end(segment([1, 2], Position())))
    assert await store.positions() == {("kafka", 0): held.last, ("hook", 0): Position()}
    assert [e.id for s in await store.segments_after(0, 0, 1 << 20) for e in unpack(s)] == [event(1).id, event(2).id]
    assert await store.look_up(None, [key(1), key(2)]) == {1: Sighting(key(2).day, 0)}
    assert await dead_events(store) == [dead_event(9)]
    (head,) = await store.letter_heads(Which(source="mor", sink="kafka"), after=LetterPlace(), until=9.0, limit=9)
    assert (head.id, head.at) == (dead_event(9).id, 9.0)
    (total,) = await store.letter_totals()
    assert (total.letters, total.bytes) == (1, head.size)
    assert await store.checkpoints() == {CheckpointKey("mor", "user_calls"): b"\x01"}
    assert await store.get_meta("a") == "b"
    assert await store.done("hook", 0) == ()
    assert await store.retrying() == {}
    facts = await store.facts()
    assert (facts.seen_ids, facts.dead_records, facts.dead_events) == (1, 0, 1)
    await store.attempted(held, "hook", Attempted(position=Position(), done=(2,), later=[retry(2)]))
    await store.commit_page(held, page(held, [3]))
    await store.close()
    look = await open_read(config)
    assert (await look.done("hook", 0), await look.retries("hook", 0, [2])) == ((2,), [retry(2)])
    await look.close()


async def test_a_store_without_room_takes_outcomes(path: Path) -> None:
    store = await open_store(Config(path=path, max_bytes="1KiB"))
    held = await store.hold(0)
    with pytest.raises(StoreFull):
        await store.commit_page(held, page(held, [1]))
    await store.attempted(
        held, "hook", Attempted(position=Position(), done=(2,), later=[retry(2)], dead=[dead_event(1)])
    )
    assert await store.retrying() == {("hook", 0): 1}
    await store.close()


async def test_outcomes_are_all_there_or_none(path: Path) -> None:
    """The dead letter stands before the position, and nothing of what failed halfway is left."""
    store = await open_store(Config(path=path))
    held = await store.hold(0)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TRIGGER stuck BEFORE UPDATE OF done ON position BEGIN SELECT raise(ABORT, 'stuck'); END")
        other.commit()
    with pytest.raises(StoreFault):
        await store.attempted(held, "hook", Attempted(position=Position(), later=[retry(2)], dead=[dead_event(1)]))
    assert (await store.retrying(), await dead_events(store), await store.positions()) == ({}, [], {})
    assert (await store.facts()).dead_events == 0
    await store.close()


@given(st.lists(st.integers(0, 400) | st.integers(0, 1 << 60)))
def test_numbers_are_packed_as_runs(numbers: list[int]) -> None:
    assert ranges.unpack(ranges.pack(numbers)) == sorted(set(numbers))


def test_a_long_run_is_short() -> None:
    assert len(ranges.pack([*range(1 << 40, (1 << 40) + 10_000), (1 << 40) + 10_001])) < 20
