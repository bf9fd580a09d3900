"""`poller reconcile`, through a daemon's socket: pieces, what it prints, exit codes."""

import json

import pytest
from cli_daemon import Daemon

pytestmark = pytest.mark.anyio

SPAN = ("--from", "2025-06-15T00:00:00Z", "--until", "2025-06-15T08:00:00Z")
BEGIN = 1_749_945_600


async def test_differences_are_shown_and_make_it_fail(daemon: Daemon) -> None:
    done = await daemon.poller("reconcile", "mor", *SPAN, "--endpoint", "user_calls")
    said = done.stdout.decode()
    assert done.returncode == 1
    assert [(one.endpoint, one.begin, one.end) for one in daemon.ledger.compared] == [
        ("user_calls", BEGIN, BEGIN + 6 * 3_600),
        ("user_calls", BEGIN + 6 * 3_600, BEGIN + 8 * 3_600),
    ]
    assert said.count("c[1]") == 2
    assert "missing: the vendor has it, and it was never published" in said
    assert "ids from before 2025-06-15 00:01:00Z are no longer kept (seen_ttl: " in said
    assert "what the vendor no longer shows is told of later ones only" in said
    assert "not complete yet" in said
    assert "6 records read again; not all as published." in said


async def test_for_programs(daemon: Daemon) -> None:
    done = await daemon.poller("reconcile", "mor", *SPAN, "--endpoint", "user_calls", "--json")
    figures = json.loads(done.stdout)
    assert done.returncode == 1
    assert (figures["equal"], figures["ended"], figures["records"]) == (False, True, 6)
    assert figures["counts"] == {"missing": 2, "changed": 0, "unknown": 2, "invalid": 0, "forgotten": 0}
    assert figures["pieces"][0]["result"]["differences"][0] == {
        "what": "missing", "id": "c[1]", "own": 60.0, "event": "e1",
    }  # fmt: skip


async def test_equal_is_zero(daemon: Daemon) -> None:
    daemon.ledger.differ = False
    done = await daemon.poller("reconcile", "mor", *SPAN)
    assert done.returncode == 0
    assert {one.endpoint for one in daemon.ledger.compared} == {"mor.user_calls"}
    assert "all as published" in done.stdout.decode()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nobody", *SPAN), 2, "there is no source 'nobody'; there are: "),
        (("mor", "--from", "1h", "--until", "2h"), 2, "is not before --until"),
        (("mor", "--from", "yesterday", "--until", "now"), 2, "yesterday"),
        (("mor", *SPAN, "--endpoint", "down"), 1, "no answer within 30 s"),
    ],
)
async def test_what_cannot_be_done_is_said(daemon: Daemon, words: tuple[str, ...], code: int, said: str) -> None:
    done = await daemon.poller("reconcile", *words)
    assert (done.returncode, said in done.stderr.decode()) == (code, True), done.stderr.decode()
