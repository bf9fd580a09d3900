"""`poller check`: every line of its report, against a MOR that answers as it is told."""

import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from urllib.parse import parse_qs

import anyio
import pytest
from anyio.abc import ByteStream
from fake_clock import FakeClock
from http_peer import Asked, Peer, answer, peer
from mor_support import SECRET, call_xml, calls_page, mor_config
from polling_vendor import Listed

from poller.check import Finding, _describe, check
from poller.config import Settings
from poller.errors import ConfigError
from poller.model import Page, Window
from poller.stores.memory import Config

pytestmark = pytest.mark.anyio

NOW = 1_711_847_400.0
"""Two minutes and some after the usual call, 2024-03-31 01:10:00 UTC; MOR is three hours east."""
Form = dict[str, str]
Say = Callable[[Form], bytes]


def shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def page(form: Form, *calls: str, offset: int = 10_800) -> bytes:
    """What MOR answers to user_calls."""
    begin, end = (shown(int(form[name]) + offset) for name in ("period_start", "period_end"))
    return calls_page("".join(calls), begin=begin, end=end)


def call(at: float, number: int = 1) -> str:
    return call_xml(calldate2=shown(at + 10_800), uniqueid=f"{int(at)}.{number}")


@asynccontextmanager
async def saying(say: Say) -> AsyncIterator[Peer]:
    async def respond(asked: Asked, stream: ByteStream) -> None:
        await stream.send(say({name: values[0] for name, values in parse_qs(asked.body.decode()).items()}))

    async with peer(respond) as running:
        yield running


async def report(
    say: Say, endpoints: dict[str, dict[str, object]] | None = None, since: float = 3_600
) -> tuple[list[Finding], Peer]:
    """The findings, and what was asked."""
    async with saying(say) as running:
        source = mor_config(endpoints or {"user_calls": {}}, base_url=running.url)
        settings = Settings.model_validate({"store": Config(), "sources": {"mor-main": source}})
        return await check(settings, [], since=since, clock=FakeClock(NOW)), running


async def test_all_is_well() -> None:
    def say(form: Form) -> bytes:
        return answer(200, page(form, call(NOW - 100), call(NOW - 900, 2)), date=formatdate(NOW, usegmt=True))

    (finding,), running = await report(say, since=5 * 3_600)
    assert len(running.asked) == 1, "one real request"
    assert (finding.verdict, finding.error, finding.advice) == ("ok", None, [])
    assert (finding.begin, finding.end) == (NOW - 10 - 5 * 3_600, NOW - 10)
    assert (finding.records, finding.invalid, finding.more_pages) == (2, 0, False)
    assert (finding.oldest, finding.newest) == (NOW - 900, NOW - 100)
    assert (finding.offset, finding.filter_honoured) == (10_800, True)
    assert finding.skew is not None
    assert abs(finding.skew) < 2
    assert "from" not in finding.never_filled
    assert "q850_cause" not in finding.never_filled, "ANSWERED(16) tells it"
    assert "queue" in finding.never_filled, "MOR has none"
    assert SECRET not in repr(finding)


async def test_nothing_came_back() -> None:
    (finding,), _ = await report(lambda form: answer(200, page(form)))
    assert (finding.verdict, finding.records, finding.skew) == ("warning", 0, None)
    assert "--since" in finding.advice[0]


async def test_a_zone_is_learnt_from_no_less_than_three_hours() -> None:
    (finding,), _ = await report(lambda form: answer(200, page(form)), since=60)
    assert finding.end - finding.begin == 3 * 3_600


async def test_records_of_another_time() -> None:
    (finding,), _ = await report(lambda form: answer(200, page(form, call(NOW - 100), call(NOW - 90_000))))
    assert (finding.verdict, finding.filter_honoured) == ("warning", False)
    assert "outside the period" in finding.advice[0]


async def test_a_period_that_was_not_used() -> None:
    """MOR falls back to today when it does not like a parameter."""
    (finding,), _ = await report(lambda form: answer(200, page(form | {"period_start": "1711836000"}, call(NOW - 100))))
    assert finding.verdict == "failed"
    assert "another period" in (finding.error or "")


@pytest.mark.parametrize("skew", [-240, 240])
async def test_a_clock_that_differs(skew: int) -> None:
    def say(form: Form) -> bytes:
        return answer(200, page(form, call(NOW - 100)), date=formatdate(NOW + skew, usegmt=True))

    (finding,), _ = await report(say)
    assert finding.verdict == "warning"
    assert any("clock differs" in sentence for sentence in finding.advice)
    assert finding.skew == pytest.approx(skew, abs=2)


async def test_records_that_cannot_be_understood() -> None:
    (finding,), _ = await report(lambda form: answer(200, page(form, call(NOW - 100), call_xml(calldate2="nonsense"))))
    assert (finding.verdict, finding.records, finding.invalid) == ("warning", 2, 1)
    assert any("cannot be understood" in sentence for sentence in finding.advice)


def test_a_defect_of_the_parser_costs_one_record() -> None:
    finding = Finding(source="phones", endpoint="phones.calls")
    records = [b'{"id": "a", "own": 5, "defect": 1}', b'{"id": "b", "own": 5}']
    _describe(Listed(), Window(0, 10), records, Page(), finding)
    assert (finding.records, finding.invalid, finding.verdict) == (2, 1, "warning")
    assert "a defect of this program" in finding.advice[0]


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (answer(200, b"<html><body>Please log in</body></html>", content_type="text/html"), ""),
        (answer(200, b""), ""),
        (answer(200, b"<page><calls"), ""),
        (answer(500, b"oops"), "500"),
    ],
)
async def test_what_cannot_be_read(said: bytes, word: str) -> None:
    (finding,), running = await report(lambda _: said)
    assert finding.verdict == "failed"
    assert finding.error is not None
    assert word in finding.error
    assert finding.advice
    assert len(running.asked) == 1, "what may pass is not a refusal: no variant is tried"


async def test_who_says_nothing() -> None:
    (finding,), _ = await report(lambda _: b"", {"user_calls": {"timeout": "500ms"}})
    assert finding.verdict == "failed"
    assert finding.error is not None
    assert "within 0.5 s" in finding.error
    assert finding.advice


async def test_a_wrong_hash_everywhere() -> None:
    (finding,), running = await report(lambda _: answer(200, b"<status><error>Incorrect hash</error></status>"))
    assert finding.verdict == "failed"
    assert len(running.asked) == 1
    assert any("refuses" in sentence for sentence in finding.advice)


def _hashed(form: Form, *values: str) -> bool:
    text = "".join([*(form[value] for value in values), SECRET])
    return form["hash"] == hashlib.sha1(text.encode()).hexdigest()


async def test_the_variant_that_works_is_named_and_asked_for_first() -> None:
    """Every wrong hash is logged at the vendor: the second user is asked with what worked for the first."""

    def say(form: Form) -> bytes:
        if not _hashed(form, "s_user"):
            return answer(200, b"<status><error>Incorrect hash</error></status>")
        return answer(200, b"<page><local_calls></local_calls></page>")

    endpoints: dict[str, dict[str, object]] = {"local_calls": {"users": [5, 9], "hash": "from_till_user"}}
    findings, running = await report(say, endpoints)
    assert [finding.ask for finding in findings] == ["s_user=5", "s_user=9"]
    for finding in findings:
        assert finding.verdict == "warning"
        assert finding.error is None
        assert any("refused as configured" in sentence for sentence in finding.advice)
        assert finding.works_with is not None
        assert "user" in finding.works_with
    assert len(running.asked) <= 4


async def test_a_name_that_is_not_configured() -> None:
    settings = Settings.model_validate({"store": Config(), "sources": {"mor-main": mor_config({"user_calls": {}})}})
    with pytest.raises(ConfigError, match="there is no source oops; the configuration has mor-main"):
        await check(settings, ["oops"], since=60)


# --- the command ------------------------------------------------------------------------------------------------------


async def command(folder: Path, say: Say, *arguments: str) -> tuple[int, str]:
    """`poller check …` as typed, against this vendor."""
    async with saying(say) as running:
        source = {
            "kind": "mor", "base_url": running.url, "username": "admin", "version": "x13",
            "api_secret": {"env": "MOR_SECRET"}, "endpoints": {"user_calls": {}},
        }  # fmt: skip
        config = {"store": {"kind": "sqlite", "path": str(folder / "p.db")}, "sources": {"mor-main": source}}
        (folder / "poller.yaml").write_text(json.dumps(config))
        done = await anyio.run_process(
            [sys.executable, "-m", "poller.cli", "check", *arguments],
            cwd=folder, env={**os.environ, "MOR_SECRET": SECRET, "TERM": "dumb"}, check=False,
        )  # fmt: skip
        assert SECRET not in (done.stdout + done.stderr).decode()
        return done.returncode, done.stdout.decode()


async def test_the_command_says_it_to_people_and_to_programs(tmp_path: Path) -> None:
    def well(form: Form) -> bytes:
        return answer(200, page(form, call(int(form["period_end"]) - 60)))

    code, text = await command(tmp_path, well)
    assert code == 0
    for line in ("mor-main: mor.user_calls: ok", "came back      1 records", "its zone       UTC+3 h", "honoured"):
        assert line in text
    code, text = await command(tmp_path, well, "--json")
    (finding,) = json.loads(text)
    assert (code, finding["verdict"], finding["records"]) == (0, "ok", 1)
    assert not (tmp_path / "p.db").exists(), "the store is left alone"


async def test_the_command_fails_where_an_endpoint_does(tmp_path: Path) -> None:
    code, text = await command(tmp_path, lambda _: answer(500, b"oops"))
    assert code == 1
    assert "mor-main: mor.user_calls: failed" in text
    assert (await command(tmp_path, lambda _: answer(500, b"oops"), "nobody"))[0] == 2
    assert (await command(tmp_path, lambda _: answer(500, b"oops"), "--since", "soon"))[0] == 2
