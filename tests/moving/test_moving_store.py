"""A store is exported, and a new one is made of the file: what a sink lacked it lacks there, and nothing else is sent."""

import stat
from pathlib import Path
from typing import Any

import pytest
import zstandard
from moving_content import PAGES, PER_PAGE, SOURCES, call, fill
from stores_harness import KINDS

from poller import segment
from poller.app import opened
from poller.clock import SystemClock
from poller.config import Settings
from poller.errors import StoreRefused
from poller.health import meta_name
from poller.identity import shard_of
from poller.kept import LetterPlace, Which
from poller.marks import IMPORTING, marked
from poller.model import CheckpointKey, Event, Position, SeenKey
from poller.moving import arrive, leave
from poller.moving.back import take_back
from poller.moving.frames import verified
from poller.protocols import Store
from poller.stores.memory import Config as MemoryConfig
from poller.stores.memory import MemoryStore
from poller.stores.sqlite import Config, open_store

pytestmark = pytest.mark.anyio


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def whole(file: Path) -> bytes:
    return file.read_bytes()


def put(file: Path, data: bytes) -> None:
    file.write_bytes(data)


def there(path: Path) -> bool:
    return path.exists()


async def lacking(store: Store, sink: str) -> list[Event]:
    """What the sink would get, each checked to be in the shard of its source."""
    events = []
    for shard in range(store.shards):
        position = await store.position(sink, shard)
        assert position is not None
        for one in await store.segments_after(shard, position.seq, 1 << 30):
            found = segment.unpack(one)
            assert one == segment.pack(found, Position(one.first - 1, await before(store, shard, one.first)), one.at)
            for seq, event in enumerate(found, one.first):
                assert shard_of(event.source.split("/")[2], store.shards) == shard
                assert f'"sequence":"{seq:020}"'.encode() in event.body
                events += [event] if event.only is None or sink in event.only else []
    return events


async def before(store: Store, shard: int, first: int) -> bytes:
    """The chain in front of a number."""
    for one in await store.segments_after(shard, 0, 1 << 30):
        if one.last == first - 1:
            return one.chain
    found = await store.position("out", shard)
    assert found is not None
    assert found.seq == first - 1
    return found.chain


async def check(store: Store) -> None:
    """What `fill` made, in another store."""
    number = range(PER_PAGE * PAGES)
    assert {event.subject for event in await lacking(store, "out")} == {f"c{n}" for n in number if n >= 42}
    assert {event.subject for event in await lacking(store, "later")} == {
        f"c{n}" for n in number if n >= 70 and n not in (71, 74)
    }
    keys = [event.seen for n in number if (event := call(n, 1)).seen is not None and event.seen]
    assert await store.look_up(None, keys) == {}
    stranger = SeenKey(keys[0].day, b"s" * 16, b"s" * 8)
    assert list(await store.look_up(None, [stranger])) == [0]
    waiting = call(50, 1)
    assert waiting.seen is not None
    found = await store.find_event(shard_of(SOURCES[50 % 9], store.shards), waiting.seen)
    assert found is not None
    assert waiting.id in [event.id for event in segment.unpack(found)]
    assert await store.checkpoints() == {
        CheckpointKey(SOURCES[page % 9], "other.list"): b"%d" % page for page in range(3, PAGES)
    }
    shard = shard_of(SOURCES[32 % 9], store.shards)
    (kept,) = await store.retries("later", shard, [33])
    assert (kept.event, kept.attempts, kept.due) == (call(32, 33), 1, 5.0)
    assert [seq for n in range(store.shards) for seq in await store.done("later", n)] == []
    heads = await store.letter_heads(Which(), after=LetterPlace(), until=1e12, limit=100)
    assert sorted(head.id for head in heads) == ["event-5", "record-1", "record-2"]
    assert await store.get_meta(meta_name("later")) == '{"state": "disabled"}'
    assert await marked(store, IMPORTING) is None


async def test_from_one_file_to_another(folder: Path, file: Path, new: Settings) -> None:
    assert mode(file) == 0o600
    assert b"geheim" not in zstandard.ZstdDecompressor().stream_reader(whole(file)).read()
    counts = await arrive.bring(new, file)
    assert counts == {"events": 42, "retries": 1, "dead_records": 2, "dead_events": 1, "checkpoints": 9, "seen": 84}
    store = await open_store(Config(path=folder / "new.db"))
    await check(store)
    await store.close()
    async with opened(new):
        pass


@pytest.mark.parametrize("harness", [kind for kind in KINDS if kind != "memory"], indirect=True)
async def test_into_any_kind_of_store(harness: Any, file: Path) -> None:
    header, _ = await verified(file)
    store = await harness.open()
    await arrive.fill(store, {}, file, header, SystemClock())
    await check(store)
    assert (await store.facts()).seen_ids == PER_PAGE * PAGES
    store = await harness.reopen()
    await check(store)
    await store.close()


async def test_into_a_store_in_memory_with_many_shards(file: Path) -> None:
    store = MemoryStore(MemoryConfig(shards=16))
    await arrive.fill(store, {}, file, (await verified(file))[0], SystemClock())
    await check(store)


async def test_nobody_opens_what_was_exported_until_the_mark_is_taken_away(folder: Path, old: Settings) -> None:
    await leave.export(old, folder / "calls.state")
    with pytest.raises(
        StoreRefused,
        match=r"was exported to .*calls\.state at .* `poller state export --undo` lets this one be used again",
    ):
        async with opened(old):
            pass
    async with opened(old, looking=True):
        pass
    assert await take_back(old) == folder / "calls.state"
    async with opened(old):
        pass
    with pytest.raises(StoreRefused, match="was not exported"):
        await take_back(old)


async def test_an_export_can_be_made_again(old: Settings, file: Path) -> None:
    first = whole(file)
    await leave.export(old, file)
    assert whole(file) == first
    assert not there(file.with_name("calls.state.part"))


@pytest.mark.parametrize("cut", [1, 10, 500, 0.5, 0.999])
async def test_a_file_that_is_cut_or_changed_imports_nothing(
    file: Path, new: Settings, cut: float, folder: Path
) -> None:
    data = whole(file)
    at = int(cut if cut >= 1 else cut * len(data))
    for bad in (data[:at], data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]):
        put(file, bad)
        with pytest.raises(StoreRefused, match="no whole export"):
            await arrive.bring(new, file)
    assert not there(folder / "new.db")


async def test_an_import_that_was_finished_is_found_to_be_so(folder: Path, file: Path, new: Settings) -> None:
    counts = await arrive.bring(new, file)
    assert await arrive.bring(new, file) == counts
    store = await open_store(Config(path=folder / "new.db"))
    await check(store)
    await store.close()


async def test_a_store_that_holds_something_is_refused(folder: Path, file: Path, new: Settings) -> None:
    await fill(folder / "new.db")
    with pytest.raises(StoreRefused, match="holds something already"):
        await arrive.bring(new, file)


async def test_a_daemon_refuses_a_store_whose_import_is_not_finished(file: Path, new: Settings, folder: Path) -> None:
    store = await open_store(Config(path=folder / "new.db"))
    await store.put_meta(IMPORTING, '{"id": "x", "file": "/there/other.state", "at": 1}')
    await store.close()
    with pytest.raises(StoreRefused, match=r"import of /there/other\.state into this store is not finished"):
        async with opened(new):
            pass
    with pytest.raises(StoreRefused, match="another export"):
        await arrive.bring(new, file)
