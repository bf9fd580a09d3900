"""What each answer means: every status, both forms of Retry-After, the header that says more, and the sentence for people."""

from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.each import Answered
from poller.redact import Redactor
from poller.sinks.webhook.verdict import Reply, judge

PLACE = "https://crm.example"
NOW = 1_800_000_000.0


def judged(
    status: int, body: bytes = b"", *, secrets: tuple[str, ...] = (), longest: float = 86_400.0, **headers: str
) -> Answered:
    reply = Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)
    return judge(reply, PLACE, now=NOW, longest=longest, redact=Redactor(*secrets))


def expected(status: int) -> tuple[str, str]:
    if 200 <= status < 300:
        return "delivered", ""
    named = {304: "server_error", 410: "gone", 429: "rate_limited", 408: "server_error", 425: "server_error"}
    if status in named:
        return "later", named[status]
    if status in {413, 431}:
        return "dead", "too_large"
    if status in {401, 403, 404}:
        return "dead", "refused"
    if 400 <= status < 500:
        return "dead", "client_error"
    return "later", "redirect" if 300 <= status < 400 else "server_error"


def test_every_status() -> None:
    for status in range(100, 1000):
        answered = judged(status, b"said so")
        assert (answered.outcome, answered.reason) == expected(status), status
        assert answered.slow_down is (status in {429, 502, 504})
        assert answered.disable is (status == 410)
        assert answered.at_large is (status in {401, 403, 404})
        assert answered.error.startswith(f"{status} from {PLACE}: said so.") is not (200 <= status < 300)


@pytest.mark.parametrize(
    ("status", "slow"), [(429, True), (503, True), (502, True), (504, True), (500, False), (301, False), (408, False)]
)
def test_retry_after_counts_with_every_answer_that_may_change(status: int, slow: bool) -> None:
    answered = judged(status, retry_after="120")
    assert (answered.retry_after, answered.slow_down) == (120, slow)


def test_304_is_no_redirect() -> None:
    answered = judged(304)
    assert "edirect" not in answered.error
    assert answered.error == (
        "304 from https://crm.example without a word. It says that nothing has changed, which is no answer to a POST: "
        "ask who answers at url"
    )


def test_503_without_retry_after_is_a_fault_of_its_own() -> None:
    answered = judged(503)
    assert (answered.reason, answered.slow_down) == ("server_error", False)
    assert judged(503, retry_after="1").reason == "rate_limited"


def test_a_date_counts_by_the_receiver_s_clock() -> None:
    theirs = NOW - 3600
    date, until = formatdate(theirs, usegmt=True), formatdate(theirs + 90, usegmt=True)
    assert judged(503, date=date, retry_after=until).retry_after == 90
    assert judged(503, retry_after=formatdate(NOW + 60, usegmt=True)).retry_after == 60
    assert judged(503, retry_after=formatdate(NOW - 60, usegmt=True)).retry_after == 0
    assert judged(503, date="nonsense", retry_after=formatdate(NOW + 60, usegmt=True)).retry_after == 60


def test_the_longest_wait_is_a_setting() -> None:
    two_days = str(2 * 86_400)
    assert judged(429, retry_after=two_days).retry_after == 86_400
    assert judged(429, retry_after=two_days, longest=7 * 86_400.0).retry_after == 2 * 86_400
    assert judged(429, retry_after="9" * 400).retry_after == 86_400


@pytest.mark.parametrize("text", ["soon", "-5", "", "1e9", "nan", "inf", "0x10"])
def test_a_wait_that_cannot_be_read_is_none(text: str) -> None:
    assert judged(429, retry_after=text).retry_after is None


@pytest.mark.parametrize("spelling", ["disable", " DISABLE ", "Disable"])
def test_disable_counts_with_every_answer(spelling: str) -> None:
    found = {status: judged(status, webhook_delivery=spelling) for status in (200, 302, 400, 410, 500)}
    assert all(answered.disable for answered in found.values())
    assert {status: (one.outcome, one.reason) for status, one in found.items()} == {
        200: ("delivered", ""),
        302: ("later", "disabled"),
        400: ("later", "disabled"),
        410: ("later", "gone"),
        500: ("later", "disabled"),
    }
    assert "It wants no more calls (webhook-delivery: disable)" in found[200].error


def test_abort_message_condemns_the_event_alone() -> None:
    for status in (302, 400, 429, 500):
        answered = judged(status, webhook_delivery="abort-message")
        assert (answered.outcome, answered.reason, answered.disable) == ("dead", "aborted", False)
    assert judged(204, webhook_delivery="abort-message").outcome == "delivered"
    assert judged(410, webhook_delivery="abort-message").disable
    assert judged(500, webhook_delivery="whatever").reason == "server_error"


def test_sentences_say_what_to_do() -> None:
    assert judged(302).error == (
        f"302 from {PLACE} without a word. Redirects are not followed: set url to where it leads, if that is right"
    )
    for location, shown in {
        "https://u:p@other.example:8443/path?token=1": " to https://other.example:8443",
        "/path?token=1": "",
        "http://[broken": "",
        "https://other.example:port/": "",
    }.items():
        assert judged(201, location=location).error == ""
        assert judged(500, location=location).error == f"500 from {PLACE} without a word."
        assert judged(301, location=location).error.startswith(f"301 from {PLACE}{shown} without a word.")
    assert judged(413).error.endswith("The receiver takes no body of this size")
    assert judged(404, b"\x1b[31mnot\r\nfound\x07\xff\xe2\x80\xae").error == (
        f"404 from {PLACE}: [31mnot found \ufffd. Check url, and the keys that the receiver knows"
    )


def test_a_secret_is_taken_out_before_the_text_is_cut() -> None:
    secret = "whsec_" + "c2VjcmV0" * 8
    for before in range(0, 400, 7):
        error = judged(500, b"x" * before + b" " + secret.encode() + b" after", secrets=(secret,)).error
        assert secret[6:16] not in error
        assert len(error) <= len(f"500 from {PLACE}: ") + len(" ….") + 300


headers = st.fixed_dictionaries(
    {},
    optional={
        "retry_after": st.text() | st.integers().map(str),
        "date": st.text(),
        "location": st.text() | st.text().map("https://{}/x".format),
        "webhook_delivery": st.sampled_from(["disable", "abort-message", ""]) | st.text(),
    },
)


@given(st.integers(100, 999), st.binary(max_size=9000), headers)
def test_no_answer_is_too_strange(status: int, body: bytes, headers: dict[str, Any]) -> None:
    answered = judged(status, body, **headers)
    assert answered.error.isprintable()
    assert len(answered.error) < 500
    assert answered.outcome == "delivered" or answered.reason
    assert answered.retry_after is None or 0 <= answered.retry_after <= 86_400
