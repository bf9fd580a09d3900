"""Lines on stderr: form, secrets, repetition."""

import io
import json
import logging

import pytest
from fake_clock import FakeClock
from structlog.testing import capture_logs

from poller.errors import Denied, StoreFault, StoreFull, Unreachable
from poller.log import LibraryLines, Outage, SharedOutage, get_logger, set_up
from poller.redact import Redactor

SECRET = "s3cr3t value"


def lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_json_lines_carry_level_time_and_fields_and_no_secret() -> None:
    out = io.StringIO()
    set_up(form="json", level="info", redact=Redactor(SECRET), stream=out)
    log = get_logger().bind(source="mor")
    log.info("asked", url="https://x/y?hash=0123abc&u=admin", nested={"password": "p", "list": [f"a {SECRET}", 3]})
    log.debug("not shown")
    (line,) = lines(out)
    assert line["level"] == "info"
    assert line["source"] == "mor"
    assert str(line["timestamp"]).endswith("Z")
    assert line["nested"] == {"password": "***", "list": ["a ***", 3]}
    assert "0123abc" not in out.getvalue()
    assert "admin" not in out.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_is_shown_without_the_secret(form: str) -> None:
    out = io.StringIO()
    set_up(form=form, level="info", redact=Redactor(SECRET), stream=out)  # type: ignore[arg-type]
    try:
        raise ValueError(f"bad {SECRET}")  # noqa: TRY301 it is what is logged
    except ValueError:
        get_logger().exception("broke")
    assert "Traceback" in out.getvalue()
    assert "ValueError: bad ***" in out.getvalue()
    assert SECRET not in out.getvalue()


def test_libraries_go_the_same_way_and_the_http_client_keeps_its_urls() -> None:
    out = io.StringIO()
    set_up(form="json", level="debug", redact=Redactor(SECRET), stream=out)
    logging.getLogger("httpx").info("HTTP Request: GET https://x/?hash=1")
    logging.getLogger("aiokafka.conn").error("no connection to %s: %s", "broker", SECRET)
    (line,) = lines(out)
    assert line["event"] == "no connection to broker: ***"
    assert line["library"] == "aiokafka.conn"
    assert line["level"] == "error"


def test_a_repeating_library_line_is_shown_once_a_minute_with_the_number_left_out() -> None:
    now = 0.0
    one = LibraryLines(60, lambda: now)
    record = logging.LogRecord("aiokafka", logging.ERROR, "", 0, "Unable to connect to %s", ("a",), None)
    with capture_logs() as shown:
        for now in range(121):  # noqa: B007 read by the clock above
            one.emit(record)
    assert [line.get("left_out") for line in shown] == [None, 59, 59]


def test_a_library_that_lost_a_connection_says_so_on_one_line_and_its_defects_keep_their_traceback() -> None:
    out = io.StringIO()
    set_up(form="json", level="info", redact=Redactor(SECRET), stream=out)
    for cause in (ConnectionResetError(104, f"reset by {SECRET}"), EOFError(), AssertionError("a defect")):
        error = LookupError("broken")
        error.__cause__ = cause
        logging.getLogger(f"aiokafka.{type(cause).__name__}").error("unexpected", exc_info=error)
    reset, ended, defect = lines(out)
    assert (reset["error"], ended["error"]) == ("LookupError: broken", "LookupError: broken")
    assert "exception" not in reset
    assert "exception" not in ended
    assert "AssertionError: a defect" in str(defect["exception"])


def test_a_broken_library_call_does_not_raise(capsys: pytest.CaptureFixture[str]) -> None:
    with capture_logs() as shown:
        LibraryLines(60).emit(logging.LogRecord("x", logging.ERROR, "", 0, "%d", ("no number",), None))
    assert shown == []
    assert "Logging error" in capsys.readouterr().err


@pytest.mark.anyio
async def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends() -> None:
    clock = FakeClock()
    with capture_logs() as shown:
        outage = Outage(get_logger().bind(source="mor"), clock)
        outage.ended()
        assert not outage
        for _ in range(100):
            outage.failed(Unreachable("no way"))
            await clock.advance(3)
        outage.failed(Denied("wrong"))
        outage.failed(Unreachable("no way"))
        assert outage.attempts == 102
        outage.ended()
        outage.ended()
        outage.failed(Unreachable("again"))
    assert [(line["event"], line.get("reason")) for line in shown] == [
        ("failing", "unreachable"),
        ("failing", "denied"),
        ("works again", None),
        ("failing", "unreachable"),
    ]
    assert shown[2]["after"] == "5m"
    assert shown[2]["attempts"] == 102
    assert shown[0]["source"] == "mor"


def test_an_outage_that_several_share_ends_when_it_works_for_all_who_met_it() -> None:
    with capture_logs() as shown:
        outage = SharedOutage(get_logger().bind(store="sqlite"), FakeClock())
        outage.ended("polls")
        for who in ("polls", "delivery", "polls"):
            outage.failed(who, StoreFault("the disk does not answer"))
        outage.ended("housekeeping")
        outage.ended("polls")
        assert [line["event"] for line in shown] == ["failing"]
        outage.failed("polls", StoreFull("no room"))
        outage.ended("delivery")
        outage.ended("polls")
        outage.ended("polls")
    assert [(line["event"], line.get("reason")) for line in shown] == [
        ("failing", "store"),
        ("failing", "store_full"),
        ("works again", None),
    ]
    assert shown[-1]["store"] == "sqlite"


FORGED = "no\n2026-01-01 [info] all is well\r\x1b[2J\x9b31m\u202e\ud800"


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_others_say_neither_makes_a_line_nor_steers_a_terminal(form: str) -> None:
    """As a value, as the sentence, deep in a list; in a traceback the lines stay, but none begins like one of ours."""
    out = io.StringIO()
    set_up(form=form, level="info", redact=Redactor(), stream=out)  # type: ignore[arg-type]
    log = get_logger().bind(source=FORGED)
    log.info(FORGED, said=FORGED, many=[FORGED], raw=FORGED.encode("utf-8", "replace"))
    assert out.getvalue().count("\n") == 1
    try:
        int(FORGED)
    except ValueError as error:
        error.add_note(FORGED)
        log.exception("failed")
    first, _, rest = out.getvalue().rstrip("\n").partition("\n")
    assert all(char.isprintable() for char in first)
    assert all(char.isprintable() or char == "\n" for char in rest)
    assert not [line for line in rest.splitlines() if line.startswith("2026-01-01")]
    out.getvalue().encode()
