"""The commands over a store: without a daemon, beside one, and the daemon's own start and end."""

import fcntl
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_command import command, run
from cli_daemon import until

from poller.admin_client import alive

Run = Callable[..., subprocess.CompletedProcess[str]]

CONFIG = """\
store: {kind: sqlite, path: poller.db}
server: {listen: '127.0.0.1:0'}
admin: {socket: p.sock}
sinks:
  out: {kind: ndjson, path: out.jsonl}
sources:
  office:
    kind: thulium
    base_url: http://127.0.0.1:9/api
    username: me
    password: {env: PASSWORD}
    endpoints: {connections: {}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the configuration lies."""
    (tmp_path / "poller.yaml").write_text(CONFIG)
    monkeypatch.setenv("PASSWORD", "geheim")
    return tmp_path


@pytest.fixture
def poller(folder: Path) -> Run:
    """`poller …` in that folder."""

    def quiet(*words: str) -> subprocess.CompletedProcess[str]:
        done = run(folder, *words)
        assert "geheim" not in done.stdout + done.stderr
        return done

    return quiet


@pytest.fixture
def daemon(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A running daemon; its one source cannot be reached."""
    with (folder / "log").open("wb") as log, subprocess.Popen(command("run"), cwd=folder, stderr=log) as process:
        try:
            until(lambda: alive(folder / "p.sock"))
            yield process
        finally:
            process.kill()


def test_where_there_is_no_store_looking_makes_none(poller: Run, folder: Path) -> None:
    done = poller("status")
    assert done.returncode == 1
    assert "there is no store at" in done.stderr
    assert not list(folder.glob("poller.db*"))


def test_looking_leaves_the_store_to_a_daemon_that_starts(poller: Run, folder: Path) -> None:
    poller("migrate")
    with (folder / "poller.db.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        looking = [
            poller(*words)
            for words in (("status",), ("sinks", "list"), ("dead-letters", "list"), ("dead-letters", "export"))
        ]
        changing = poller("sinks", "forget", "old")
    assert [done.returncode for done in looking] == [0, 0, 0, 0]
    assert changing.returncode == 1
    assert "in use by another poller" in changing.stderr


def test_without_a_daemon_the_store_answers(poller: Run) -> None:
    poller("migrate")
    told = json.loads(poller("status", "--json").stdout)
    assert (told["running"], told["store"]) == (False, "sqlite")
    assert [each["endpoint"] for each in told["endpoints"]] == ["thulium.connections"]
    assert poller("sinks", "forget", "out").returncode == 1


def test_beside_a_daemon_the_daemon_answers(poller: Run, daemon: subprocess.Popen[bytes]) -> None:
    told = json.loads(poller("status", "--json").stdout)
    assert told["running"]
    second = poller("run")
    assert (second.returncode, second.stdout) == (1, "")
    assert "Traceback" not in second.stderr
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(300) == 0
    assert not json.loads(poller("status", "--json").stdout)["running"]


def test_after_kill_9_the_next_one_starts(poller: Run, daemon: subprocess.Popen[bytes], folder: Path) -> None:
    daemon.kill()
    daemon.wait(300)
    assert (folder / "p.sock").exists()
    assert not json.loads(poller("status", "--json").stdout)["running"]
    with subprocess.Popen(command("run"), cwd=folder, stderr=subprocess.DEVNULL) as second:
        try:
            until(lambda: alive(folder / "p.sock"))
            assert json.loads(poller("status", "--json").stdout)["running"]
            second.send_signal(signal.SIGINT)
            assert second.wait(300) == 0
        finally:
            second.kill()
