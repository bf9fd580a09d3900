"""`poller replay`: through a daemon's socket, on a store without a daemon, and what it says when it does not come to its end."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
from cli_command import command
from cli_daemon import Daemon, until
from replay_store import fill

from poller.admin import serve_admin
from poller.admin_client import alive

SPAN = ("--since", "2025-06-15T15:00:00Z", "--until", "2025-06-15T16:00:00Z")
"""An hour in which all of them were first seen."""


# --- beside a daemon -------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_it_goes_on_until_the_end_and_waits_for_the_sink(daemon: Daemon) -> None:
    done = await daemon.poller("replay", "--sink", "out", *SPAN, "--type", "telephony.call.*")
    said = done.stdout.decode()
    assert done.returncode == 0
    assert "Events before 2025-06-15 15:00:05Z are no longer kept (retention: 1w)" in said
    assert "Sent on their way to out again, first seen from 2025-06-15 15:00:00Z until 2025-06-15 16:00:00Z: 6" in said
    assert "telephony.call.new  6" in said
    assert done.stderr.decode() == "poller: 70000 events wait for out: the replay goes on when they are fewer\n"
    first, *waited, third = daemon.ledger.asked_again
    assert (first.since, first.until) == (1_749_999_600.0, 1_750_003_200.0)
    assert first.types == ("telephony.call.new", "telephony.call.updated")
    assert first.cursor is None
    assert [(mark.seq, mark.last) for asked in (*waited, third) for mark in asked.cursor or ()] == [
        *[(1, 9)] * 8,
        (2, 9),
    ]


@pytest.mark.anyio
async def test_for_programs(daemon: Daemon) -> None:
    done = await daemon.poller("replay", "--sink", "out", *SPAN, "--dry-run", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (
        0,
        {
            "sink": "out",
            "since": 1_749_999_600.0,
            "until": 1_750_003_200.0,
            "dry_run": True,
            "events": 6,
            "types": {"telephony.call.new": 6},
            "kept_from": 1_749_999_605.0,
            "ended": True,
            "reached": 1_750_003_200.0,
            "error": None,
        },
    )
    assert all(asked.dry_run for asked in daemon.ledger.asked_again)


@pytest.mark.anyio
async def test_what_breaks_off_says_how_to_go_on(daemon: Daemon) -> None:
    done = await daemon.poller("replay", "--sink", "down", *SPAN)
    assert done.returncode == 1
    assert done.stderr.decode() == (
        "poller: the store is full\nThe events before 2025-06-15 15:01:00Z are done; the rest: "
        "--since 2025-06-15T15:01:00.500Z --until 2025-06-15T16:00:00.000Z\n"
    )
    assert ": 3\n" in done.stdout.decode()
    told = await daemon.poller("replay", "--sink", "down", *SPAN, "--json")
    figures = json.loads(told.stdout)
    assert (told.returncode, figures["ended"], figures["error"]) == (1, False, "the store is full")
    rest = ("--since", "2025-06-15T15:01:00.500Z", "--until", "2025-06-15T16:00:00.000Z")
    await daemon.poller("replay", "--sink", "out", *rest)
    assert daemon.ledger.asked_again[-1].since == figures["reached"] == 1_749_999_660.5


@pytest.mark.anyio
async def test_a_sink_that_nobody_knows(daemon: Daemon) -> None:
    done = await daemon.poller("replay", "--sink", "nobody", *SPAN)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"poller: there is no sink nobody in the configuration; there are: out\n"


@pytest.mark.anyio
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_after_the_step_under_way(daemon: Daemon, number: signal.Signals) -> None:
    daemon.ledger.never_ends = True
    out, told = await daemon.stopped(number, "replay", "--sink", "out", *SPAN, "--json")
    assert json.loads(out)["events"] == 3 * len(daemon.ledger.asked_again), "every step that was asked for is counted"
    assert b"poller: stopped\nThe events before 2025-06-15 15:" in told
    assert b"the rest: --since 2025-06-15T15:" in told


@pytest.mark.anyio
async def test_a_daemon_that_dies_loses_nothing_but_the_rest(tmp_path: Path) -> None:
    (tmp_path / "poller.yaml").write_text("store: {kind: memory}\nadmin: {socket: p.sock}\n")
    there = Daemon(tmp_path)
    there.ledger.never_ends = True
    async with anyio.create_task_group() as tasks:
        await tasks.start(serve_admin, there.ledger, tmp_path / "p.sock")

        async def leave() -> None:
            await there.ledger.asked_thrice.wait()
            tasks.cancel_scope.cancel()

        tasks.start_soon(leave)
        with anyio.CancelScope(shield=True):
            done = await there.poller("replay", "--sink", "out", *SPAN)
    assert done.returncode == 1
    assert "did not answer" in done.stderr.decode()
    assert "the rest: --since 2025-06-15T15:" in done.stderr.decode()


# --- bad usage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--since", "yesterday"), "'yesterday' is no time: write now, a duration such as 24h, or a date"),
        (("--since", "24h", "--until", "soon"), "'soon' is no time"),
        (("--since", "1h", "--until", "2h"), "nothing lies between"),
        (("--since", "now"), "nothing lies between"),
        (("--since", "2026-01-31", "--until", "2026-01-31"), "nothing lies between"),
        (("--since", "1h", "--type", "telephony.fax.new"), "is no type of event; there are: telephony.call.new"),
        ((), "Missing option '--since'"),
    ],
)
def test_bad_usage(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    (tmp_path / "poller.yaml").write_text("store: {kind: memory}\n")
    done = subprocess.run(
        command("replay", "--sink", "out", *words), cwd=tmp_path, capture_output=True, text=True, timeout=300,
        check=False, env={**os.environ, "TERM": "dumb", "COLUMNS": "300"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr


# --- over a real store -----------------------------------------------------------------------------------------------

CONFIG = """\
store: {kind: sqlite, path: poller.db}
server: {listen: '127.0.0.1:0'}
admin: {socket: p.sock}
sinks:
  out: {kind: ndjson, path: out.jsonl, start_from: earliest}
  other: {kind: ndjson, path: other.jsonl, start_from: earliest}
sources:
  office:
    kind: thulium
    base_url: http://127.0.0.1:9/api
    username: me
    password: {env: PASSWORD}
    endpoints: {connections: {}}
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration and a filled store."""
    (tmp_path / "poller.yaml").write_text(CONFIG)
    monkeypatch.setenv("PASSWORD", "geheim")

    anyio.run(fill, tmp_path / "poller.db", "out", "other")
    return tmp_path


@pytest.fixture
def poller(folder: Path) -> Run:
    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command(*words), cwd=folder, capture_output=True, text=True, timeout=300, check=False)

    return run


@pytest.fixture
def served(folder: Path) -> Iterator[Path]:
    """The same with a daemon over it, which has delivered everything."""
    with (folder / "log").open("wb") as log, subprocess.Popen(command("run"), cwd=folder, stderr=log) as process:
        try:
            until(lambda: alive(folder / "p.sock") and len(lines(folder / "out.jsonl")) == 30)
            yield folder
        finally:
            process.kill()


def lines(path: Path) -> list[dict[str, str]]:
    whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
    return [json.loads(line) for line in whole.splitlines()]


TEN = ("--since", "2025-06-15T17:11:40+02:00", "--until", "2025-06-15T15:21:40Z")
"""Ten minutes from the sixth call on."""


def test_a_running_daemon_sends_them_again(served: Path, poller: Run) -> None:
    told = json.loads(poller("replay", "--sink", "out", *TEN, "--dry-run", "--json").stdout)
    assert told["types"] == {"telephony.call.new": 7, "telephony.call.updated": 3}
    done = poller("replay", "--sink", "out", *TEN)
    assert (done.returncode, done.stderr) == (0, "")
    until(lambda: len(lines(served / "out.jsonl")) >= 40)
    first, again = lines(served / "out.jsonl")[:30], lines(served / "out.jsonl")[30:]
    assert [event["subject"] for event in again] == [f"c{number}" for number in range(5, 15)]
    assert [event.pop("sequence") for event in again] == [f"{number:020d}" for number in range(31, 41)]
    before = [{name: value for name, value in event.items() if name != "sequence"} for event in first[5:15]]
    assert again == before, "nothing else about them has changed"
    assert len(lines(served / "other.jsonl")) == 30, "nobody else gets them"
    third = poller("replay", "--sink", "out", *TEN, "--type", "*.updated")
    assert third.returncode == 0
    until(lambda: len(lines(served / "out.jsonl")) >= 43)
    assert len(lines(served / "out.jsonl")) == 43, "copies are not copied"


def test_without_a_daemon_they_go_out_when_one_starts(folder: Path, poller: Run) -> None:
    counted = poller("replay", "--sink", "out", *TEN, "--dry-run")
    assert counted.returncode == 0
    assert "Would be sent to out again" in counted.stdout
    assert json.loads(poller("status", "--json").stdout)["sinks"][1]["pending"] == 30
    done = poller("replay", "--sink", "out", *TEN, "--json")
    assert (done.returncode, json.loads(done.stdout)["events"]) == (0, 10)
    assert json.loads(poller("status", "--json").stdout)["sinks"][1]["pending"] == 40
    nothing = poller("replay", "--sink", "out", "--since", "2024-01-01", "--until", "2024-01-02")
    assert nothing.returncode == 0
    assert nothing.stdout == (
        "Nothing to send again: out has no such event first seen from 2024-01-01 00:00:00Z until 2024-01-02 00:00:00Z.\n"
    )
    unknown = poller("replay", "--sink", "crm", *TEN)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == "poller: there is no sink crm in the configuration; there are: out, other\n"
    with subprocess.Popen(command("run"), cwd=folder, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: len(lines(folder / "out.jsonl")) == 40)
            until(lambda: len(lines(folder / "other.jsonl")) == 30)
        finally:
            process.kill()
