"""`poller dead-letters`: through a daemon's socket, by the thousand, and what it says when it does not come to its end."""

import json
import os
import signal
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from admin_ledger import LETTER
from cli_daemon import Daemon
from delivery_events import call_event

from poller.admin import serve_admin
from poller.app import opened
from poller.cli.letters import Course
from poller.cli.steps import LONGEST, SHORTEST, Waits
from poller.config import load
from poller.kept import Which
from poller.model import DeadEvent, Position
from poller.operate import Work
from poller.segment import unpack
from poller.stores.sqlite import Config, open_read, open_store

pytestmark = pytest.mark.anyio


async def test_what_vendors_wrote_does_not_steer_the_terminal(daemon: Daemon) -> None:
    for words in (("list",), ("show", "a/b")):
        done = await daemon.poller("dead-letters", *words)
        assert done.returncode == 0
        assert b"\x1b[31m" not in done.stdout
        assert "no �[31mid [bold]" in done.stdout.decode()
    retried = await daemon.poller("dead-letters", "retry", "--sink", "x")
    assert "bad  still no �[31mJSON" in retried.stdout.decode()


async def test_for_programs(daemon: Daemon) -> None:
    told = json.loads((await daemon.poller("dead-letters", "list", "--json", "--source", "s")).stdout)
    assert [each["id"] for each in told] == [LETTER.id]
    assert json.loads((await daemon.poller("dead-letters", "list", "--json", "--reason", "x")).stdout) == []
    await daemon.poller("dead-letters", "export", "-o", "letters.jsonl")
    (line,) = (await anyio.Path(daemon.folder / "letters.jsonl").read_text()).splitlines()
    assert json.loads(line)["body_base64"] == "/3s="
    assert (await anyio.Path(daemon.folder / "letters.jsonl").stat()).st_mode & 0o777 == 0o600
    done = await daemon.poller("dead-letters", "show", "zz")
    assert (done.returncode, done.stderr) == (1, b"poller: there is no dead letter 'zz'\n")


async def test_a_long_list_says_how_many_more_there_are(daemon: Daemon) -> None:
    done = await daemon.poller("dead-letters", "list", "--sink", "many", "--json")
    assert [each["id"] for each in json.loads(done.stdout)] == [str(number) for number in range(1, 1_001)]
    assert done.stderr == b"poller: there are 1500 more: --limit 2500 shows them all\n"
    done = await daemon.poller("dead-letters", "list", "--sink", "many", "--limit", "1002")
    assert done.stdout.startswith(b"Dead letters: 1002, the oldest of 2500 ")
    assert [(asked.limit, asked.after.at) for asked in daemon.ledger.listings] == [(1_000, 0), (1_002, 0), (2, 1_000)]
    done = await daemon.poller("dead-letters", "list", "--sink", "many", "--limit", "2500")
    assert (done.stderr, done.stdout.startswith(b"Dead letters: 2500 ")) == (b"", True)


async def test_export_goes_on_until_the_end(daemon: Daemon) -> None:
    done = await daemon.poller("dead-letters", "export", "--sink", "many")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [str(number) for number in range(1, 2_501)]
    assert all(asked.bodies for asked in daemon.ledger.listings)
    done = await daemon.poller("dead-letters", "export", "-o", "no/such/folder")
    assert done.stderr == b"poller: no/such/folder cannot be written: No such file or directory\n"


async def test_retry_by_id(daemon: Daemon) -> None:
    assert (await daemon.poller("dead-letters", "retry", "a/b")).returncode == 0
    done = await daemon.poller("dead-letters", "retry", "a/b", "zz", "a/b", "b", "c", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "retried": 1,
        "failed": 3,
        "failures": [{"id": "zz", "error": None}, {"id": "b", "error": None}, {"id": "c", "error": None}],
        "ended": True,
        "error": None,
    }
    assert [asked.ids for asked in daemon.ledger.retries[1:]] == [("a/b", "zz", "b", "c"), ("b", "c")]


@pytest.mark.parametrize("words", [(), ("--all", "a/b"), ("--all", "--sink", "x"), ("a/b", "--reason", "x")])
async def test_what_is_meant_has_to_be_said(daemon: Daemon, words: tuple[str, ...]) -> None:
    assert (await daemon.poller("dead-letters", "retry", *words)).returncode == 2
    assert daemon.ledger.retries == []


async def test_retry_goes_on_until_the_end_and_waits_for_the_sink(daemon: Daemon) -> None:
    done = await daemon.poller("dead-letters", "retry", "--sink", "x", "--source", "y", "--reason", "z")
    assert done.returncode == 1
    assert b"Retried: 4; failed: 2\n" in done.stdout
    assert done.stderr == b"poller: 70000 events wait for out: the retry goes on when they are fewer\n"
    asked = daemon.ledger.retries
    assert {(one.which.sink, one.which.source, one.which.reason) for one in asked} == {("x", "y", "z")}
    assert [one.cursor and one.cursor.after.at for one in asked] == [None, *[1] * 8, 2, 3]
    assert {one.cursor.until for one in asked if one.cursor} == {9.0}


def test_a_sink_that_takes_what_it_has_got_is_given_the_next_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    course = Course([], Which())
    waits = Waits(course)
    assert waits.next() == 0
    course.waiting = 5
    waited = [waits.next() for _ in range(9)]
    assert waited[0] == SHORTEST
    assert all(later == min(2 * one, LONGEST) for one, later in pairwise(waited))
    assert capsys.readouterr().err.count("\n") == 1, "said once, when it takes a while"
    course.waiting = 0
    assert waits.next() == 0
    course.waiting = 5
    assert waits.next() == SHORTEST
    assert capsys.readouterr().err == ""


async def test_what_breaks_off_says_what_was_done(daemon: Daemon) -> None:
    done = await daemon.poller("dead-letters", "retry", "--source", "down")
    assert (done.returncode, b"Retried: 2; failed: 1\n" in done.stdout) == (1, True)
    assert done.stderr.endswith(b"poller: the store is full\nRetried: 2. The same command goes on with the rest\n")
    figures = json.loads((await daemon.poller("dead-letters", "retry", "--source", "down", "--json")).stdout)
    assert (figures["retried"], figures["ended"], figures["error"]) == (2, False, "the store is full")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_after_the_step_under_way(daemon: Daemon, number: signal.Signals) -> None:
    daemon.ledger.never_ends = True
    out, told = await daemon.stopped(number, "dead-letters", "retry", "--all", "--json")
    assert json.loads(out)["retried"] == 2 * len(daemon.ledger.retries), "every step that was asked for is counted"
    assert b"poller: stopped\nRetried: " in told


# --- over a real store -----------------------------------------------------------------------------------------------

CONFIG = """\
store: {kind: sqlite, path: poller.db}
admin: {socket: p.sock}
sinks:
  out: {kind: ndjson, path: out.jsonl, start_from: earliest}
  other: {kind: ndjson, path: other.jsonl, start_from: earliest}
sources:
  office: {kind: thulium, base_url: 'http://127.0.0.1:9/api', username: me, password: {env: PASSWORD}, endpoints: {connections: {}}}
"""
COUNT = 1_234


async def fill(path: Path) -> None:
    """An empty log, and dead letters of two sinks in turn."""
    store = await open_store(Config(path=path))
    held = await store.hold(0)
    for sink in ("out", "other"):
        letters = [letter_of(number, sink) for number in range(COUNT) if (number % 2 > 0) == (sink == "other")]
        await store.delivered(held, sink, Position(), letters)
    await store.close()


def letter_of(number: int, sink: str) -> DeadEvent:
    return DeadEvent(
        id=f"{sink}-{number:05d}", sink=sink, shard=0, seq=number, reason="backlog" if number % 3 else "exhausted",
        error="it said no", event=call_event(f"c{number}", number + 1), at=1_000.0 + number,
    )  # fmt: skip


@pytest.fixture
async def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "poller.yaml").write_text(CONFIG)
    monkeypatch.setenv("PASSWORD", "geheim")
    await fill(tmp_path / "poller.db")
    return tmp_path


@pytest.fixture(params=["alone", "beside a daemon"])
async def place(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Daemon]:
    """A filled store without a daemon, and one that a daemon holds (which delivers nothing)."""
    found = Daemon(folder)
    if request.param == "alone":
        yield found
        return
    async with opened(load(folder / "poller.yaml", os.environ)) as app, anyio.create_task_group() as tasks:
        await tasks.start(serve_admin, Work(app, running=True), folder / "p.sock")
        yield found
        tasks.cancel_scope.cancel()


async def test_letters_by_the_thousand(place: Daemon) -> None:
    done = await place.poller("dead-letters", "export", "--sink", "other", "-o", "letters.jsonl")
    assert (done.returncode, done.stderr) == (0, b"")
    exported = [
        json.loads(line) for line in (await anyio.Path(place.folder / "letters.jsonl").read_text()).splitlines()
    ]
    assert [each["id"] for each in exported] == [f"other-{number:05d}" for number in range(1, COUNT, 2)]
    assert json.loads(exported[0]["body"])["subject"] == "c1"
    done = await place.poller("dead-letters", "retry", "--sink", "out", "--reason", "backlog", "--json")
    wanted = [number for number in range(0, COUNT, 2) if number % 3]
    assert (done.returncode, json.loads(done.stdout)["retried"]) == (0, len(wanted))
    done = await place.poller("dead-letters", "retry", "--sink", "out", "--reason", "backlog")
    assert (done.returncode, done.stdout) == (0, b"Nothing to retry: there is no such dead letter.\n")
    done = await place.poller("dead-letters", "retry", "--sink", "ouch")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"there is no sink ouch, and no dead letter of one; there are: " in done.stderr
    done = await place.poller("dead-letters", "retry", "--all", "--json")
    assert (done.returncode, json.loads(done.stdout)["retried"]) == (0, COUNT - len(wanted))
    assert json.loads((await place.poller("dead-letters", "list", "--json")).stdout) == []


async def test_what_was_retried_is_in_the_log_once(folder: Path) -> None:
    assert (await Daemon(folder).poller("dead-letters", "retry", "--all")).returncode == 0
    store = await open_read(Config(path=folder / "poller.db"))
    segments = await store.segments_after(0, 0, 1 << 40)
    events = [event for one in segments for event in unpack(one)]
    assert [event.subject for event in events] == [f"c{number}" for number in range(COUNT)]
    assert [event.only for event in events[:2]] == [("out",), ("other",)]
    assert len(segments) == -(-COUNT // 500), "so many commits"
    await store.close()
