"""What goes wrong with a file on a disk: a clear sentence each, and nothing lost."""

# ruff: noqa: ASYNC240 nothing else runs while a test looks at its files

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from stores_content import DAY0, dead_event, dead_events, key, page

from poller.errors import Outdated, StoreFault, StoreFull, StoreRefused
from poller.model import PageCommit, Position, Sighting
from poller.stores.sqlite import Config, SqliteStore, migrate, migrations, obstacles, open_read, open_store, pending

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "poller.db"


async def filled(path: Path, numbers: int = 1) -> None:
    store = await open_store(Config(path=path))
    held = await store.hold(0)
    for number in range(numbers):
        held = await store.commit_page(held, page(held, [number]))
    await store.close()


async def test_all_its_files_are_the_owners_alone(path: Path) -> None:
    """Calls of other people, whatever the umask; the files beside it get the mode of the database."""
    before = os.umask(0)
    try:
        store = await open_store(Config(path=path))
        held = await store.hold(0)
        await store.commit_page(held, page(held, [0]))
        assert sorted(each.name for each in path.parent.iterdir()) == [
            path.name, f"{path.name}-shm", f"{path.name}-wal", f"{path.name}.lock",
        ]  # fmt: skip
        assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}
        await store.close()
    finally:
        os.umask(before)


async def last_seq(path: Path) -> int:
    store = await open_store(Config(path=path))
    try:
        return (await store.hold(0)).last.seq
    finally:
        await store.close()


KILLED = """
import anyio, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from stores_content import page
from poller.stores.sqlite import Config, open_store
async def main():
    store = await open_store(Config(path=Path(sys.argv[1])))
    held = await store.hold(0)
    start = held.last.seq
    for number in range(start, start + int(sys.argv[3])):
        held = await store.commit_page(held, page(held, [number]))
    os.kill(os.getpid(), signal.SIGKILL)
anyio.run(main)
"""


def killed(path: Path, commits: int) -> None:
    """A daemon that is killed with its log not folded."""
    support = str(Path(__file__).parents[2] / "support")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), support, str(commits)], timeout=300, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.with_name("poller.db-wal").stat().st_size > 0


def backup(path: Path, to: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as live, contextlib.closing(sqlite3.connect(to)) as copy:
        live.backup(copy)


# --- opening ---------------------------------------------------------------------------------------------------------


async def test_a_second_daemon_is_refused_and_told_who_has_the_file(path: Path) -> None:
    store = await open_store(Config(path=path))
    link = path.with_name("other.db")
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(StoreRefused, match=rf"in use by another poller \(pid {os.getpid()}\)"):
            await open_store(Config(path=name))
    with pytest.raises(StoreRefused, match="in use"):
        await migrate(Config(path=path))
    await store.close()
    await store.close()
    await (await open_store(Config(path=path))).close()


async def test_a_killed_daemon_leaves_no_lock_and_loses_nothing(path: Path) -> None:
    killed(path, 3)
    assert await last_seq(path) == 3


@pytest.mark.parametrize("noise", [b"\xff", b'{"pid":', b"[" * 200, bytes(64)])
async def test_a_note_that_a_crash_left_in_pieces_keeps_nobody_out(path: Path, noise: bytes) -> None:
    await filled(path)
    path.with_name(f"{path.name}.lock").write_bytes(noise)
    assert await last_seq(path) == 1


async def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match=r"nowhere of the store .* does not exist: create it"):
        await open_store(Config(path=tmp_path / "nowhere" / "poller.db"))


async def test_a_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="is a folder"):
        await open_store(Config(path=tmp_path))


async def test_no_database(path: Path) -> None:
    path.write_bytes(b"hello, this is a text file, and a long one too " * 100)
    before = path.read_bytes()
    with pytest.raises(StoreRefused, match=r"damaged or no SQLite database \(SQLite said: file is not a database\)"):
        await open_store(Config(path=path))
    assert path.read_bytes() == before
    path.unlink()
    await (await open_store(Config(path=path))).close()


async def test_a_database_of_another_program_is_not_touched(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (a)")
    before = path.read_bytes()
    with pytest.raises(StoreRefused, match="database of another program"):
        await open_store(Config(path=path))
    assert path.read_bytes() == before


async def test_a_newer_schema(path: Path) -> None:
    await filled(path)
    with contextlib.closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    for opening in (open_store, open_read, pending, migrate):
        with pytest.raises(StoreRefused, match="schema version 99 and this poller knows"):
            await opening(Config(path=path))
    with contextlib.closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {migrations.NEWEST}")
    assert await last_seq(path) == 1


@pytest.fixture
def guarded() -> Iterator[Path]:
    """A folder that another user can reach, and this process as that user where it is root."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    if os.getuid() == 0:
        os.seteuid(0)
    folder.chmod(0o700)
    shutil.rmtree(folder)


def drop_rights() -> None:
    if os.getuid() == 0:
        os.seteuid(65534)


async def test_a_read_only_folder(guarded: Path) -> None:
    guarded.chmod(0o555)
    drop_rights()
    with pytest.raises(StoreRefused, match="cannot be locked: Permission denied"):
        await open_store(Config(path=guarded / "poller.db"))


async def test_a_read_only_file(guarded: Path) -> None:
    path = guarded / "poller.db"
    await filled(path)
    guarded.chmod(0o777)
    path.with_name("poller.db.lock").chmod(0o666)
    path.chmod(0o444)
    drop_rights()
    with pytest.raises(StoreRefused, match=r"cannot be (written|opened).*right"):
        await open_store(Config(path=path))


# --- damage ----------------------------------------------------------------------------------------------------------


async def test_pages_damaged_in_the_middle(path: Path) -> None:
    store = await open_store(Config(path=path))
    held = await store.hold(0)
    await store.commit_page(held, PageCommit(seen=[(key(n), 0) for n in range(20_000)]))
    await store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 8 // 4096 * 4096)
        file.write(os.urandom(size * 3 // 4 // 4096 * 4096))
    store = await open_store(Config(path=path))
    with pytest.raises(StoreRefused, match="damaged"):
        await store.look_up(None, [key(n) for n in range(20_000)])
    await store.close()


async def test_damage_is_found_at_the_start_after_a_kill(path: Path) -> None:
    await filled(path, 50)
    killed(path, 2)
    with path.open("r+b") as file:
        file.seek(8 * 4096)
        file.write(os.urandom(10 * 4096))
    with pytest.raises(StoreRefused, match="damaged"):
        await open_store(Config(path=path))


# --- room ------------------------------------------------------------------------------------------------------------


async def test_a_full_disk_loses_nothing_and_goes_on(path: Path) -> None:
    store = await open_store(Config(path=path))
    held = await store.hold(0)
    held = await store.commit_page(held, page(held, [1]))
    writer = store._database.writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    many = page(held, list(range(2, 2000)))
    with pytest.raises(StoreFull, match="no room left"):
        await store.commit_page(held, many)
    assert await store.look_up(None, [key(2)]) == {0: Sighting(DAY0, 0)}
    writer.execute("PRAGMA max_page_count = 1000000")
    assert (await store.commit_page(held, many)).last.seq == 1999
    await store.close()


async def test_at_max_bytes_pages_wait_and_positions_move(path: Path) -> None:
    await filled(path)
    store = await open_store(Config.model_validate({"path": path, "max_bytes": "1KiB"}))
    held = await store.hold(0)
    with pytest.raises(StoreFull, match=r"store\.max_bytes is 1KiB: raise it"):
        await store.commit_page(held, page(held, [1]))
    await store.delivered(held, "kafka", held.last, [dead_event(1)])
    assert await store.position("kafka", 0) == held.last
    assert len(await dead_events(store)) == 1
    facts = await store.facts()
    assert facts.limit_bytes == 1024
    assert facts.bytes > 1024
    await store.close()


async def test_at_min_free_pages_wait(path: Path) -> None:
    store = await open_store(Config.model_validate({"path": path, "min_free": "1000000GiB"}))
    held = await store.hold(0)
    with pytest.raises(StoreFull, match=r"store\.min_free is 1000000GiB: free some"):
        await store.commit_page(held, page(held, [1]))
    await store.delivered(held, "kafka", Position())
    await store.close()


# --- another program, another file -----------------------------------------------------------------------------------


async def test_another_programs_lock_is_a_fault_that_passes(path: Path) -> None:
    store = await open_store(Config(path=path))
    held = await store.hold(0)
    store._database.writer.execute("PRAGMA busy_timeout = 10")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFault, match="locked by another program"):
            await store.commit_page(held, page(held, [1]))
        other.execute("ROLLBACK")
    assert (await store.commit_page(held, page(held, [1]))).last.seq == 1
    await store.close()


async def test_another_program_that_folds_the_log_costs_nothing(path: Path) -> None:
    store = await open_store(Config(path=path))
    held = await store.hold(0)
    held = await store.commit_page(held, page(held, [1]))
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    with pytest.raises(Outdated, match="changed by another program"):
        await store.commit_page(held, page(held, [2]))
    again = await store.hold(0)
    assert again.last == held.last
    await store.commit_page(again, page(again, [2]))
    await store.close()
    assert await last_seq(path) == 2


@pytest.mark.parametrize("in_place", [True, False])
async def test_an_older_copy_under_a_running_daemon(path: Path, tmp_path: Path, *, in_place: bool) -> None:
    store = await open_store(Config(path=path))
    held = await store.hold(0)
    held = await store.commit_page(held, page(held, [1]))
    backup(path, tmp_path / "backup")
    later = await store.commit_page(held, page(held, [2]))
    store._database.writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    store._database._remember()
    later = await store.commit_page(later, page(later, [3]))
    if in_place:
        shutil.copyfile(tmp_path / "backup", path)
    else:
        (tmp_path / "backup").rename(path)
    with pytest.raises(Outdated, match="replaced"):
        await store.commit_page(later, page(later, [4]))
    again = await store.hold(0)
    assert again.last == held.last
    assert set(await store.look_up(None, [key(1), key(2), key(3)])) == {1, 2}
    assert path.with_name("poller.db-wal.replaced").exists()
    again = await store.commit_page(again, page(again, [5]))
    await store.close()
    assert await last_seq(path) == 2


@pytest.mark.parametrize("in_place", [True, False])
async def test_an_older_copy_beside_the_log_of_a_killed_daemon(path: Path, tmp_path: Path, *, in_place: bool) -> None:
    await filled(path, 5)
    backup(path, tmp_path / "backup")
    await filled(path, 40)
    killed(path, 3)
    if in_place:
        shutil.copyfile(tmp_path / "backup", path)
    else:
        (tmp_path / "backup").rename(path)
    assert await last_seq(path) == 5
    assert path.with_name("poller.db-wal.replaced").exists()


async def test_a_fold_that_broke_off_is_finished(path: Path, tmp_path: Path) -> None:
    """By a full disk or a kill: some pages of the file are new, the rest is as it was, and the log has everything."""
    await filled(path, 20)
    killed(path, 300)
    whole = tmp_path / "whole.db"
    for end in ("", "-wal"):
        shutil.copyfile(f"{path}{end}", f"{whole}{end}")
    with contextlib.closing(sqlite3.connect(whole)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    with path.open("r+b") as file:
        file.write(whole.read_bytes()[:4096])
    with (
        contextlib.closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as alone,
        pytest.raises(sqlite3.DatabaseError, match="malformed"),
    ):
        alone.execute("SELECT * FROM shard").fetchall()
    assert await last_seq(path) == 320
    assert not path.with_name("poller.db-wal.replaced").exists()


async def test_an_older_copy_beside_a_log_that_stayed_because_somebody_looked(path: Path, tmp_path: Path) -> None:
    await filled(path, 5)
    backup(path, tmp_path / "backup")
    await filled(path, 40)
    store = await open_store(Config(path=path))
    held = await store.hold(0)
    await store.commit_page(held, page(held, [41]))
    look = await open_read(Config(path=path))
    await store.close()
    await look.close()
    assert path.with_name("poller.db-wal").stat().st_size > 0
    shutil.copyfile(tmp_path / "backup", path)
    assert await last_seq(path) == 5


async def test_a_log_that_stayed_because_somebody_looked_is_used(path: Path) -> None:
    store = await open_store(Config(path=path))
    held = await store.hold(0)
    await store.commit_page(held, page(held, [1]))
    look = await open_read(Config(path=path))
    await store.close()
    await look.close()
    assert await last_seq(path) == 1


async def test_what_would_keep_us_from_the_file(tmp_path: Path) -> None:
    assert obstacles(Config(path=tmp_path / "poller.db")) == []
    (said,) = obstacles(Config(path=tmp_path / "nowhere" / "poller.db"))
    assert "does not exist" in said
    with tempfile.TemporaryDirectory() as name:  # whose parents everybody may pass
        folder = Path(name)
        (folder / "poller.db").touch(0o444)
        folder.chmod(0o555)
        with as_nobody():
            blocked = obstacles(Config(path=folder / "poller.db"))
        folder.chmod(0o755)
    assert [sentence.rpartition("is not")[2] for sentence in blocked] == [" writable for this user"] * 2


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere."""
    if root := os.geteuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


async def test_a_copy_with_its_own_log_is_taken_whole(path: Path, tmp_path: Path) -> None:
    killed(path, 4)
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for file in tmp_path.glob("poller.db*"):
        shutil.copy(file, copy)
    assert await last_seq(copy / "poller.db") == 4


async def test_a_replacement_that_is_damaged_is_said_and_can_be_mended(path: Path, tmp_path: Path) -> None:
    store = await open_store(Config(path=path))
    held = await store.hold(0)
    held = await store.commit_page(held, page(held, [1]))
    backup(path, tmp_path / "backup")
    (tmp_path / "bad").write_bytes(b"no database at all, really not " * 500)
    (tmp_path / "bad").rename(path)
    for _ in range(2):
        with pytest.raises(StoreRefused, match="damaged"):
            await store.hold(0)
    with pytest.raises(StoreFault):
        await store.look_up(None, [key(1)])
    (tmp_path / "backup").rename(path)
    assert (await store.hold(0)).last == held.last
    await store.close()


# --- looking and migrating -------------------------------------------------------------------------------------------


async def test_looking_beside_a_daemon_changes_nothing(path: Path) -> None:
    store = await open_store(Config(path=path))
    held = await store.hold(0)
    await store.delivered(held, "kafka", Position(), [dead_event(1)])
    look: SqliteStore = await open_read(Config(path=path))
    assert len(await dead_events(look)) == 1
    with pytest.raises(StoreRefused, match="cannot be written"):
        await look.put_meta("a", "b")
    held = await store.commit_page(held, page(held, [1]))
    await look.close()
    await store.commit_page(held, page(held, [2]))
    await store.close()
    look = await open_read(Config(path=path))
    assert (await look.facts()).seen_ids == 2
    await look.close()
    assert await last_seq(path) == 2


async def test_looking_where_there_is_nothing(path: Path) -> None:
    with pytest.raises(StoreRefused, match="no store at"):
        await open_read(Config(path=path))
    assert not path.exists()


async def test_migrations_are_reported_and_applied_once(path: Path) -> None:
    config = Config(path=path)
    missing = await pending(config)
    assert missing == sorted(missing) != []
    assert not path.exists()
    assert await migrate(config) == missing
    assert await pending(config) == []
    assert await migrate(config) == []
    await filled(path)


async def test_a_call_that_passes_its_deadline_ends(path: Path) -> None:
    store = await open_store(Config(path=path))
    held = await store.hold(0)
    await store.commit_page(held, PageCommit(seen=[(key(n), 0) for n in range(5000)]))
    store._deadline = -1.0
    with pytest.raises(StoreFault, match="took longer than its deadline"):
        await store.look_up(None, [key(n) for n in range(5000)])
    with pytest.raises(StoreFault, match="took longer than its deadline"):
        await store.commit_page(held, PageCommit(seen=[(key(n, day=0), 0) for n in range(50_000)]))
    store._deadline = 30.0
    assert (await store.facts()).seen_ids == 5000
    assert await store.look_up(None, [key(1), key(1, day=0)]) == {1: Sighting(0, 0)}
    await store.close()


async def test_it_says_how_much_room_the_disk_has(path: Path) -> None:
    store = await open_store(Config.model_validate({"path": path, "min_free": "96MiB"}))
    try:
        facts = await store.facts()
    finally:
        await store.close()
    assert facts.least_free_bytes == 96 << 20
    assert facts.free_bytes is not None
    assert 0 < facts.free_bytes <= shutil.disk_usage(path.parent).total
