"""A move that fails or is stopped leaves both stores as they were, and a file that is none of ours is left alone."""

import gzip
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import anyio
import pytest
import zstandard
from delivery_model import Crashed, Fuse, Fused, ModelSink, ModelTopics
from fake_clock import FakeClock
from moving_content import add_seen
from stores_harness import KINDS

from poller.app import opened
from poller.clock import SystemClock
from poller.config import Settings
from poller.errors import SinkFault, StoreRefused
from poller.health import meta_name
from poller.marks import EXPORTED, IMPORTING, Mark, marked
from poller.model import Position, Progress
from poller.moving import arrive, leave
from poller.moving.back import refuse_imported, take_back
from poller.moving.course import Course
from poller.moving.frames import SinkState, verified
from poller.protocols import Store
from poller.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio


def stopping(scope: anyio.CancelScope, doing: str, done: int = 1) -> Course:
    """As by Ctrl-C, once so much of a stretch is done."""

    def look(course: Course) -> None:
        if course.doing == doing and course.done >= done:
            scope.cancel()

    return Course(look)


def names(folder: Path, begin: str = "calls.state") -> list[str]:
    return [path.name for path in folder.glob(f"{begin}*")]


def whole(file: Path) -> bytes:
    return file.read_bytes()


async def daemon_may_open(settings: Settings) -> None:
    async with opened(settings):
        pass


async def contents(store: Store) -> tuple[Any, ...]:
    facts = await store.facts()
    lasts = [await store.segments_after(shard, 0, 1 << 20) for shard in range(store.shards)]
    return (
        facts.seen_ids,
        facts.dead_records,
        facts.dead_events,
        await store.positions(),
        await store.checkpoints(),
        lasts,
    )


# --- the export ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("doing", "done"), [("settling with the sinks", 0), ("writing", 0), ("writing", 50)])
async def test_an_export_that_is_stopped_leaves_no_file_and_no_mark(
    old: Settings, folder: Path, doing: str, done: int
) -> None:
    with anyio.CancelScope() as scope:
        await leave.export(old, folder / "calls.state", course=(course := stopping(scope, doing, done)))
    assert (course.counts, course.left) == (None, "")
    assert not names(folder)
    await daemon_may_open(old)


async def test_an_export_of_a_marked_store_that_is_stopped_leaves_the_mark(
    old: Settings, file: Path, folder: Path
) -> None:
    before = whole(file)
    with anyio.CancelScope() as scope:
        await leave.export(old, file, course=stopping(scope, "writing"))
    assert whole(file) == before
    assert names(folder) == ["calls.state"]
    with pytest.raises(StoreRefused, match="was exported"):
        await daemon_may_open(old)


async def test_a_signal_at_the_very_end_is_too_late(old: Settings, folder: Path) -> None:
    with anyio.CancelScope() as scope:
        course = Course(lambda course: scope.cancel() if course.counts is not None else None)
        await leave.export(old, folder / "calls.state", course=course)
    assert course.counts is not None
    assert (await verified(folder / "calls.state"))[1] == course.counts
    with pytest.raises(StoreRefused, match="was exported"):
        await daemon_may_open(old)


@contextmanager
def files_at_most(size: int) -> Iterator[Callable[[Course], None]]:
    """The kernel lets no file grow beyond it, from the first word of the writing on: as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def begin(course: Course) -> None:
        if course.doing == "writing":
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    try:
        yield begin
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


async def test_a_disk_that_fills_up(old: Settings, folder: Path) -> None:
    add_seen(folder / "old.db", 60_000)
    with files_at_most(1 << 20) as begin, pytest.raises(StoreRefused, match=r"File too large: .*the room on its disk"):
        await leave.export(old, folder / "calls.state", course=Course(begin))
    assert not names(folder)
    await daemon_may_open(old)
    await leave.export(old, folder / "calls.state")
    assert (await verified(folder / "calls.state"))[1]["seen"] == 60_084


async def test_a_folder_that_is_not_there(old: Settings, folder: Path) -> None:
    with pytest.raises(StoreRefused, match="cannot be written: No such file or directory: check its folder"):
        await leave.export(old, folder / "nowhere" / "calls.state")
    await daemon_may_open(old)


async def test_a_name_that_is_too_long(old: Settings, folder: Path) -> None:
    with pytest.raises(StoreRefused, match="cannot be written: File name too long"):
        await leave.export(old, folder / ("a" * 300))
    await daemon_may_open(old)


async def test_a_file_that_is_something_else_is_not_overwritten(old: Settings, folder: Path) -> None:
    store = folder / "old.db"
    for path in (folder / "old.yaml", store, folder):
        with pytest.raises(StoreRefused, match="already, and it is no export of this store"):
            await leave.export(old, path)
    await leave.export(old, folder / "one.state")
    other = folder / "other.state"
    other.write_bytes(whole(folder / "one.state"))
    await take_back(old)
    with pytest.raises(StoreRefused, match="already, and it is no export of this store"):
        await leave.export(old, other)
    await daemon_may_open(old)


# --- taking an export back -------------------------------------------------------------------------------------------


OLD = "poller.kafka.0 progress"
SETTLED = Position(90, b"c" * 16)


@pytest.mark.parametrize(
    ("progress", "imported"),
    [
        (Progress(SETTLED, 1.0), False),
        (None, False),
        (Progress(Position(100, b"b" * 16), 1.0), True),
        (Progress(SETTLED, 1.0, moved="other.kafka.0 progress"), True),
    ],
)
async def test_what_was_imported_is_not_taken_back(progress: Progress | None, imported: bool) -> None:
    store = MemoryStore()
    await store.delivered(await store.hold(0), "kafka", SETTLED)
    topics = ModelTopics(FakeClock())
    topics.progress |= {OLD: progress} if progress is not None else {}
    sink: Any = ModelSink("kafka", topics, Fuse())
    mark = Mark("id", "calls.state", 1.0, {"kafka": OLD})
    said = pytest.raises(StoreRefused, match=r"calls\.state .* was imported, or that has begun")
    with said if imported else nullcontext():
        await refuse_imported(store, sink, mark)


# --- the import ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def store(harness: Any) -> AsyncIterator[Any]:
    yield await harness.open()
    await harness.close()


@pytest.mark.parametrize("harness", KINDS, indirect=True)
@pytest.mark.parametrize("done", [1, 60, 130])
async def test_an_import_that_is_stopped_leaves_an_empty_store(store: Any, file: Path, done: int) -> None:
    header, counts = await verified(file)
    before = await contents(store)
    with anyio.CancelScope() as scope:
        course = stopping(scope, "", done)
        await arrive.fill(store, {}, file, header, SystemClock(), course)
    assert scope.cancelled_caught
    assert course.left == ""
    assert await contents(store) == before
    assert await marked(store, IMPORTING) is None
    assert await store.get_meta(meta_name("later")) is None
    await arrive.fill(store, {}, file, header, SystemClock())
    assert (await contents(store))[:3] == (84, counts["dead_records"], counts["dead_events"])


@pytest.mark.parametrize("harness", ["memory"], indirect=True)
async def test_an_import_that_was_killed_before_is_still_to_be_finished(store: Any, file: Path) -> None:
    header, _ = await verified(file)
    fuse = Fuse()
    fuse.set(25, fuse.crash)

    killed: Any = Fused(store, fuse)
    killed.shards = 1
    with pytest.raises(Crashed):
        await arrive.fill(killed, {}, file, header, SystemClock())
    assert await marked(store, IMPORTING) is not None
    with anyio.CancelScope() as scope:
        await arrive.fill(store, {}, file, header, SystemClock(), course=(course := stopping(scope, "", 1)))
    assert scope.cancelled_caught
    assert "import the file again" in course.left
    assert await marked(store, IMPORTING) is not None
    await arrive.fill(store, {}, file, header, SystemClock())
    assert (await contents(store))[:3] == (84, 2, 1)


class Failing(ModelSink):
    """There is no room for its progress, or it goes away once it has begun."""

    widens = True

    async def widen(self) -> None:
        if not self.widens:
            raise SinkFault("the broker is away")


@pytest.mark.parametrize("harness", ["memory"], indirect=True)
@pytest.mark.parametrize("early", [True, False])
async def test_a_sink_that_fails(store: Any, file: Path, early: bool) -> None:
    """Before anything begins there, the store is empty again; afterwards it waits for the import to be run again."""
    header, _ = await verified(file)
    header.sinks[0] = SinkState(header.sinks[0].name, header.sinks[0].position, "poller.later.0 progress")
    topics, fuse = ModelTopics(FakeClock()), Fuse()
    topics.progress["poller.later.0 progress"] = Progress(header.sinks[0].position, 1.0)
    sink = Failing(header.sinks[0].name, topics, fuse)
    sink.widens = not early

    async def fail() -> None:
        raise SinkFault("the broker is away")

    def look(course: Course) -> None:
        if course.closing:
            fuse.set(1, fail)

    given: Any = {sink.name: sink}
    with pytest.raises(SinkFault, match="away"):
        await arrive.fill(store, given, file, header, SystemClock(), Course(look))
    assert (await marked(store, IMPORTING) is None) == early
    assert ((await store.facts()).seen_ids == 0) == early
    sink.widens = True
    await arrive.fill(store, given, file, header, SystemClock())
    assert (await store.facts()).seen_ids == 84


@pytest.mark.parametrize("harness", ["memory"], indirect=True)
async def test_a_signal_while_it_begins_in_the_sinks_is_too_late(store: Any, file: Path) -> None:
    header, _ = await verified(file)
    with anyio.CancelScope() as scope:
        await arrive.fill(store, {}, file, header, SystemClock(), stopping(scope, "beginning in the sinks", 0))
    assert await marked(store, IMPORTING) is None
    assert await marked(store, EXPORTED) is None
    assert (await store.facts()).seen_ids == 84


FOREIGN = {
    "empty": b"",
    "text": b"sinks: {}\n",
    "gzip": gzip.compress(b"poller state" * 100),
    "zstd of something else": zstandard.compress(b"poller state" * 100),
    "zstd of a long frame": zstandard.compress(b"\xff" * 5000),
    "random": os.urandom(5000),
}


@pytest.mark.parametrize("what", FOREIGN)
async def test_a_foreign_file_is_refused_in_a_sentence(what: str, new: Settings, folder: Path) -> None:
    path = folder / "foreign.state"
    path.write_bytes(FOREIGN[what])
    with pytest.raises(StoreRefused, match=r"foreign\.state is no whole export of a store \(.*make it anew with"):
        await arrive.bring(new, path)
    assert not names(folder, "new.db")


async def test_a_file_that_is_missing_or_a_folder(new: Settings, folder: Path) -> None:
    for path, said in ((folder / "none.state", "No such file"), (folder, "Is a directory")):
        with pytest.raises(StoreRefused, match=rf"cannot be read: {said}"):
            await arrive.bring(new, path)
