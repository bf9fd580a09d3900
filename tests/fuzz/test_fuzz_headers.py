"""Headers of others, and files with headers and keys that people hand over."""

import zlib
from collections.abc import Mapping

from fuzz_mutations import Change, changed, changes, looked_for
from hypothesis import given
from hypothesis import strategies as st

from poller.answer import _Inflated
from poller.backoff import http_date, retry_after
from poller.errors import ConfigError
from poller.page.access import Access, from_here
from poller.received import headers_of, judge
from poller.redact import Redactor
from poller.signing import ID, SIGNATURE, TIMESTAMP, hmac_text, read_key, sign
from poller.sinks.webhook import verdict
from poller.sinks.webhook.verdict import Reply

TOKENS = (
    b",",
    b" ",
    b"v1,",
    b"v1a,",
    b"=",
    b".",
    b"-",
    b"+",
    b"GMT",
    b"99999",
    b"Sat",
    b":",
    b"\r\n",
    b"\x00",
    b"\xff",
    b"1e9",
    b"inf",
    b"nan",
    b";",
)
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
KEY = read_key(hmac_text(bytes(range(32))))
BODY = b'{"id":"e1"}'
SIGNED = b"\r\n".join(f"{name}: {value}".encode() for name, value in sign([KEY], "e1", 1_000, BODY).items())  # type: ignore[list-item]
LATIN = st.text(st.characters(max_codepoint=255), max_size=40)


@looked_for(300)
@given(
    text=changes(TOKENS).map(lambda todo: changed(DATE, todo).decode("latin-1")) | st.text(max_size=40),
    now=st.floats(0, 1e11),
)
def test_dates_and_waits(text: str, now: float) -> None:
    """A number within bounds, or nothing."""
    at, wait = http_date(text), retry_after(text, now=now, limit=3_600)
    assert at is None or abs(at) < 1e12
    assert wait is None or 0 <= wait <= 3_600


@looked_for(300)
@given(todo=changes(TOKENS), body=st.just(BODY) | st.binary(max_size=30))
def test_a_changed_call_is_judged_and_never_taken_for_another(todo: list[Change], body: bytes) -> None:
    try:
        headers = headers_of(changed(SIGNED, todo))
    except ConfigError:
        return
    found = judge([KEY], headers, body, now=1_001, tolerance=60)
    assert found.message
    if found:
        assert (headers[ID], headers[TIMESTAMP], body) == ("e1", "1000", BODY)
        assert any(each in headers[SIGNATURE] for each in sign([KEY], "e1", 1_000, BODY)[SIGNATURE].split())  # type: ignore[list-item]


@looked_for(200)
@given(
    text=st.text(max_size=60)
    | changes(TOKENS).map(lambda todo: changed(hmac_text(bytes(32)).encode(), todo).decode("latin-1"))
)
def test_keys_are_read_or_refused_without_being_repeated(text: str) -> None:
    try:
        read_key(text)
    except ValueError as error:
        assert len(text) < 8 or text not in str(error)  # noqa: PT017 most are refused


NAMES = st.sampled_from(["retry-after", "date", "location", "webhook-delivery"])
HEADERS = st.dictionaries(
    NAMES, LATIN | st.sampled_from(["disable", "abort-message", "9" * 400, "http://[", "//x:99999"]), max_size=4
)


@looked_for(200)
@given(status=st.integers(100, 999), headers=HEADERS, body=st.binary(max_size=60))
def test_a_receiver_s_answer_has_one_meaning_and_one_line(status: int, headers: Mapping[str, str], body: bytes) -> None:
    found = verdict.judge(Reply(status, headers, body), "https://crm.example", now=1e9, longest=60, redact=Redactor())
    assert found.outcome in {"delivered", "later", "dead"}
    assert found.retry_after is None or 0 <= found.retry_after <= 60
    assert (found.error or "x").isprintable()


@looked_for(200)
@given(
    headers=st.dictionaries(st.sampled_from(["origin", "host", "sec-fetch-site", "authorization"]), LATIN, max_size=4),
    said=st.text(max_size=60),
)
def test_nobody_gets_in_by_chance(headers: Mapping[str, str], said: str) -> None:
    access = Access("of-the-tests-0123456789")
    ticket = access.ticket(1_000)
    from_here(headers)
    assert not access.bearer(headers)
    assert not access.fits(said.encode("utf-8", "replace").decode())
    assert not access.holds(said.encode("utf-8", "replace").decode(), 1_000)
    assert access.holds(ticket, 1_001)
    assert not any(
        access.holds(ticket[:at] + "0" + ticket[at + 1 :], 1_001) for at in range(len(ticket)) if ticket[at] != "0"
    )


@looked_for(150)
@given(
    todo=changes((b"\x1f\x8b", b"\x00" * 8)),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    gzip=st.booleans(),
)
def test_compressed_data_comes_in_small_pieces(todo: list[Change], sizes: list[int], *, gzip: bool) -> None:
    """Whatever it claims to be: the pieces that the size is counted by, or the library's own error."""
    data = zlib.compress(bytes(300_000) + b"end", 9, wbits=31 if gzip else 15)
    data = changed(data, todo)
    unpack, at, number, total = _Inflated(gzip=gzip), 0, 0, 0
    try:
        while at < len(data):
            size = sizes[number % len(sizes)]
            for piece in unpack.feed(data[at : at + size]):
                assert len(piece) <= 256 << 10
                total += len(piece)
            at, number = at + size, number + 1
    except zlib.error:
        return
    assert total <= 1_200 * len(data) + 65_536
