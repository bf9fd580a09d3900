"""The commands that speak to a running daemon, through its real socket."""

import json

import pytest
from cli_daemon import Daemon

pytestmark = pytest.mark.anyio


async def test_status(daemon: Daemon) -> None:
    text = (await daemon.poller("status")).stdout.decode()
    assert "poller 1, running since 1970-01-01 00:00:00Z; memory store, 3 bytes, 4 ids seen" in text
    assert "Polling pauses: the sink `out` is full" in text
    assert "1970-01-01 00:01:00Z" in text
    assert "gone (not configured)" in text
    told = json.loads((await daemon.poller("status", "--json")).stdout)
    assert told["endpoints"][0]["open_gaps"] == 7
    sinks = json.loads((await daemon.poller("sinks", "list", "--json")).stdout)
    assert [each["sink"] for each in sinks] == ["out", "gone", "crm"]
    assert [(each["state"], each["retrying"]) for each in sinks] == [(None, 0), (None, 0), ("down", 2)]
    (line,) = [line for line in text.splitlines() if line.startswith("crm")]
    assert line.split() == ["crm", "-", "down", "7", "2", "-", "0", "-"]


async def test_one_source(daemon: Daemon) -> None:
    text = (await daemon.poller("sources", "show", "pbx")).stdout.decode()
    for said in ("pbx (mor, id pbx)", "refused: it is not taken", "behind: 2400 s", "late rows: 3, 7000 s at most",
                 "Ladder of user 5", "Open gaps of user 5", "50% read", "denied"):  # fmt: skip
        assert said in " ".join(text.split()), said
    assert "\x1b" not in text
    assert "601 234" not in text
    told = json.loads((await daemon.poller("sources", "show", "pbx", "--json")).stdout)
    assert told["endpoints"][0]["asks"][0]["polls"][1]["duplicate"] == 20
    assert (await daemon.poller("sources", "show", "nobody")).returncode == 1


@pytest.mark.parametrize("said", [("sources", "show"), ("dead-letters", "list", "--source")])
async def test_a_word_that_is_no_text_is_the_name_of_nothing(daemon: Daemon, said: tuple[str, ...]) -> None:
    came = await daemon.poller(*said, "\udcff")
    assert came.returncode == 1
    assert b"is no text in UTF-8, so nothing has that name" in came.stderr


async def test_the_way_of_a_call(daemon: Daemon) -> None:
    text = (await daemon.poller("journey", "48601234567.7")).stdout.decode()
    for said in ("this call, event abab", "by a poll of s, mor.user_calls", "0 updated, 40 known",
                 "kafka: delivered, topic telephony.calls, partition 3", "attempt 2: dead (gone: 410)", "no longer kept",
                 "Dead letter that holds it: a/b", "Looked: The whole log: 9 events."):  # fmt: skip
        assert said in text, said
    assert "601 234" not in text
    assert "+48 601 234 567" in (await daemon.poller("journey", "x", "--numbers")).stdout.decode()
    told = json.loads((await daemon.poller("journey", "x", "--json")).stdout)
    assert told["legs"][1]["stops"][1]["letter"] == "a/b"
    assert told["legs"][1]["body"]["data"]["from"]["number"] == "+48 601 234 567"
    assert (await daemon.poller("journey", "nothing")).stdout.startswith(b"Nothing is known of nothing")
    assert (await daemon.poller("journey", "")).returncode == 1


async def test_forget_and_rebuild(daemon: Daemon) -> None:
    assert (await daemon.poller("sinks", "forget", "old")).returncode == 0
    assert (await daemon.poller("sources", "forget", "old")).returncode == 0
    assert daemon.ledger.forgotten == ["sink old", "source old"]
    assert (await daemon.poller("state", "rebuild", "--accept-duplicates")).stdout == b"None True\n"


async def test_webhooks(daemon: Daemon) -> None:
    text = (await daemon.poller("webhook", "status")).stdout.decode()
    assert [line.split()[:3] for line in text.splitlines()[2:4]] == [
        ["crm", "https://crm.example", "down"],
        ["erp", "https://erp.example:8443", "up"],
    ]
    assert text.splitlines()[4:] == ["crm: down since 1970-01-01 00:01:00Z: 503 �[31m[bold]"]
    told = json.loads((await daemon.poller("webhook", "status", "--json")).stdout)
    assert [each["failures"] for each in told] == [7, 0]


WHOLE = """\
url:               https://crm.example
state:             down since 1970-01-01 00:01:00Z
why:               503 �[31m[bold]
said last:         503 again (1970-01-01 00:01:30Z)
failed in a row:   7
next try:          1970-01-01 00:02:00Z
waiting:           5
to be tried again: 2, the next one at 1970-01-01 01:00:00Z
oldest:            1970-01-01 00:00:30Z
dead letters:      1
"""


async def test_one_webhook_in_full(daemon: Daemon) -> None:
    assert (await daemon.poller("webhook", "status", "crm")).stdout.decode() == WHOLE
    lines = (await daemon.poller("webhook", "status", "erp")).stdout.decode().splitlines()
    assert lines[1:4] == ["state:             up", "failed in a row:   0", "next try:          -"]
    done = await daemon.poller("webhook", "status", "zz")
    assert (done.returncode, done.stderr) == (1, b"poller: there is no webhook zz\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("enable", "disabled"), "disabled is enabled: one event is tried, the others follow once it is taken"),
        (("enable", "down"), "down is not disabled but down: one event is tried at once"),
        (
            ("enable", "slowed"),
            "slowed is not disabled: it asked for fewer calls. One event is tried at once all the same",
        ),
        (("enable", "up"), "up is not disabled: nothing to do"),
        (("disable", "up"), "up is disabled; once it may be called again: poller webhook enable up"),
        (
            ("disable", "disabled", "--why", "moves"),
            "disabled is disabled already, since 1970-01-01 00:01:00Z: moves",
        ),
    ],
)
async def test_switching_a_webhook(daemon: Daemon, words: tuple[str, ...], sentence: str) -> None:
    done = await daemon.poller("webhook", *words)
    assert (done.returncode, done.stdout.decode()) == (0, f"{sentence}\n")
    assert json.loads((await daemon.poller("webhook", *words, "--json")).stdout)["before"] == words[1]


async def test_a_refusal_is_one_line_and_exit_1(daemon: Daemon) -> None:
    done = await daemon.poller("sinks", "forget", "out")
    assert (done.returncode, b"is configured" in done.stderr) == (1, True)
