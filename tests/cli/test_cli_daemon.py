"""The commands that speak to a running daemon, through its real socket."""

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from subprocess import CompletedProcess

import anyio
import pytest
from admin_ledger import LETTER, Ledger

from poller.admin import serve_admin

pytestmark = pytest.mark.anyio


class Daemon:
    """Where it lives, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger()

    async def poller(self, *arguments: str) -> "CompletedProcess[bytes]":
        """`poller …` in the daemon's folder."""
        env = {**os.environ, "TERM": "dumb"}
        with anyio.fail_after(300):
            command = [sys.executable, "-m", "poller.cli", *arguments]
            return await anyio.run_process(command, cwd=self.folder, env=env, check=False)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """A daemon over a ledger."""
    (tmp_path / "poller.yaml").write_text("store: {kind: memory}\nadmin: {socket: p.sock}\n")
    found = Daemon(tmp_path)
    async with anyio.create_task_group() as tasks:
        await tasks.start(serve_admin, found.ledger, tmp_path / "p.sock")
        yield found
        tasks.cancel_scope.cancel()


async def test_status(daemon: Daemon) -> None:
    text = (await daemon.poller("status")).stdout.decode()
    assert "poller 1, running since 1970-01-01 00:00:00Z; memory store, 3 bytes, 4 ids seen" in text
    assert "Polling pauses: the sink `out` is full" in text
    assert "1970-01-01 00:01:00Z" in text
    assert "gone (not configured)" in text
    told = json.loads((await daemon.poller("status", "--json")).stdout)
    assert told["endpoints"][0]["open_gaps"] == 7
    sinks = json.loads((await daemon.poller("sinks", "list", "--json")).stdout)
    assert [each["sink"] for each in sinks] == ["out", "gone"]


async def test_what_vendors_wrote_does_not_steer_the_terminal(daemon: Daemon) -> None:
    for command in (("dead-letters", "list"), ("dead-letters", "show", "a/b")):
        done = await daemon.poller(*command)
        assert done.returncode == 0
        assert b"\x1b[31m" not in done.stdout
        assert "no �[31mid [bold]" in done.stdout.decode()


async def test_dead_letters_for_programs(daemon: Daemon) -> None:
    told = json.loads((await daemon.poller("dead-letters", "list", "--json", "--source", "s")).stdout)
    assert [each["id"] for each in told] == [LETTER.id]
    assert json.loads((await daemon.poller("dead-letters", "list", "--json", "--sink", "x")).stdout) == []
    await daemon.poller("dead-letters", "export", "-o", "letters.jsonl")
    (line,) = (await anyio.Path(daemon.folder / "letters.jsonl").read_text()).splitlines()
    assert json.loads(line)["body_base64"] == "/3s="


async def test_retry(daemon: Daemon) -> None:
    assert (await daemon.poller("dead-letters", "retry", "a/b")).returncode == 0
    assert (await daemon.poller("dead-letters", "retry", "--all")).returncode == 0
    assert (await daemon.poller("dead-letters", "retry", "a/b", "zz")).returncode == 1
    assert (await daemon.poller("dead-letters", "retry")).returncode == 2
    assert (await daemon.poller("dead-letters", "retry", "--all", "a/b")).returncode == 2


async def test_forget_and_rebuild(daemon: Daemon) -> None:
    assert (await daemon.poller("sinks", "forget", "old")).returncode == 0
    assert (await daemon.poller("sources", "forget", "old")).returncode == 0
    assert daemon.ledger.forgotten == ["sink old", "source old"]
    assert (await daemon.poller("state", "rebuild", "--accept-duplicates")).stdout == b"None True\n"


async def test_a_refusal_is_one_line_and_exit_1(daemon: Daemon) -> None:
    done = await daemon.poller("dead-letters", "show", "zz")
    assert (done.returncode, done.stderr) == (1, b"poller: there is no dead letter 'zz'\n")
    done = await daemon.poller("sinks", "forget", "out")
    assert (done.returncode, b"is configured" in done.stderr) == (1, True)
