"""`poller state export` and `import` as people use them: what is said, signals, and the way back."""

import json
import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import anyio
import pytest
from cli_command import command, run
from moving_content import CONFIG, add_seen, fill

PATIENCE = 120.0
"""Seconds; nothing here takes more than a few, but for a loaded machine."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("old", "new"):
        (tmp_path / f"{name}.yaml").write_text(CONFIG.replace("STORE", f"{name}.db"))
    anyio.run(fill, tmp_path / "old.db")
    return tmp_path


def poller(folder: Path, *words: str, code: int = 0) -> str:
    done = run(folder, *words, PASSWORD="geheim")
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_store_moves(folder: Path) -> None:
    said = poller(folder, "state", "export", "-c", "old.yaml", "calls.state")
    counts = "checkpoints 9, dead events 1, dead records 2, events 42, retries 1, seen 84"
    assert said == f"Exported to calls.state: {counts}\n"
    assert stat.S_IMODE((folder / "calls.state").stat().st_mode) == 0o600
    refused = poller(folder, "run", "-c", "old.yaml", code=1)
    assert f"this store was exported to {folder / 'calls.state'} at " in refused
    assert "`poller state export --undo`" in refused
    assert json.loads(poller(folder, "status", "-c", "old.yaml", "--json"))["seen_ids"] == 84
    assert json.loads(poller(folder, "state", "import", "-c", "new.yaml", "calls.state", "--json"))["seen"] == 84
    assert (
        poller(folder, "state", "import", "-c", "new.yaml", "calls.state") == f"Imported from calls.state: {counts}\n"
    )
    assert json.loads(poller(folder, "status", "-c", "new.yaml", "--json"))["seen_ids"] == 84


def test_the_way_back(folder: Path) -> None:
    assert "was not exported" in poller(folder, "state", "export", "--undo", "-c", "old.yaml", code=1)
    poller(folder, "state", "export", "-c", "old.yaml", "calls.state")
    said = poller(folder, "state", "export", "--undo", "-c", "old.yaml")
    assert (
        said == f"Daemons may open the store again. Delete {folder / 'calls.state'}: it must not be imported any more\n"
    )
    assert "is no export of this store" in poller(folder, "state", "export", "-c", "old.yaml", "calls.state", code=1)
    poller(folder, "state", "export", "-c", "old.yaml", "again.state")


def test_a_file_or_undo(folder: Path) -> None:
    for words in ((), ("--undo", "calls.state")):
        said = poller(folder, "state", "export", *words, "-c", "old.yaml", code=2)
        assert "name a file to write, or give --undo" in said


def test_where_there_is_no_store(folder: Path) -> None:
    said = poller(folder, "state", "export", "-c", "new.yaml", "calls.state", code=1)
    assert "there is no store at" in said
    assert "there is no store at" in poller(folder, "state", "export", "--undo", "-c", "new.yaml", code=1)
    assert not list(folder.glob("new.db*"))


# --- signals ---------------------------------------------------------------------------------------------------------


def interrupted(folder: Path, there: Path, size: int, *words: str) -> str:
    """SIGINT once a file has come to a size; what is said at the end."""
    process = subprocess.Popen(
        command(*words), cwd=folder, env={**os.environ, "PASSWORD": "geheim"}, text=True, stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not there.exists() or there.stat().st_size < size:
            assert process.poll() is None, "it has ended before"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=PATIENCE)[1]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1, said
    return said


def test_a_signal_leaves_both_stores_as_they_were(folder: Path) -> None:
    add_seen(folder / "old.db", 400_000)
    words = ("state", "export", "-c", "old.yaml", "calls.state")
    said = interrupted(folder, folder / "calls.state.part", 1 << 16, *words)
    assert said == "poller: the export was stopped; both stores are as they were before\n"
    assert not list(folder.glob("calls.state*"))
    assert "was not exported" in poller(folder, "state", "export", "--undo", "-c", "old.yaml", code=1)
    poller(folder, *words)

    words = ("state", "import", "-c", "new.yaml", "calls.state")
    said = interrupted(folder, folder / "new.db-wal", 1 << 20, *words)
    assert said == "poller: the import was stopped; both stores are as they were before\n"
    assert json.loads(poller(folder, "status", "-c", "new.yaml", "--json"))["seen_ids"] == 0
    assert json.loads(poller(folder, *words, "--json"))["seen"] == 400_084
