"""Reading XML as it really comes: cut anywhere, broken, hostile, huge."""

import itertools
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import mor_support
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mor_support import WINDOW, call_xml, calls_page, mor_endpoint, read_answer

from poller.errors import BadAnswer, BadRecord, EmptyAnswer, Malformed, NotTheApi, PollerError, Truncated
from poller.sources.mor.xml import PROLOG, QUIET, Clean, Document

ENDPOINT = mor_endpoint("user_calls")
RECORDINGS = mor_endpoint("recordings")
ALL = (ENDPOINT, RECORDINGS, mor_endpoint("local_calls"), mor_endpoint("user_calls", timezone="Europe/Vilnius"))
NASTY = calls_page(
    call_xml(clid="Zoë &#x1;&lt;1&gt; \x02 \U0001f600", user="a\x00b")
    + call_xml(clid="&#8364; &amp; &#xFFFF;", uniqueid="1711847110.1")
    + call_xml(clid="<![CDATA[<raw> & ]]>x<!-- hidden -->y", uniqueid="1711847111.2")
).replace(b"</calls>", b"\xff\xfe</calls>")


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


def outcome(endpoint: object, parts: Iterable[bytes]) -> tuple[list[bytes], str]:
    """The records that came before the end or the fault, and which fault it was."""
    reading = endpoint.reading(endpoint.asks[0], WINDOW, None)  # type: ignore[attr-defined]
    records: list[bytes] = []
    try:
        for part in parts:
            records += reading.feed(part)
        records += reading.close().records
    except PollerError as error:
        return records, type(error).__name__
    return records, "whole"


@given(st.lists(st.integers(min_value=0, max_value=5000), max_size=40))
def test_cuts_do_not_matter(cuts: list[int]) -> None:
    """Control characters, references to them, broken bytes and long characters at every border of a chunk."""
    whole = read_answer(ENDPOINT, [NASTY])
    assert read_answer(ENDPOINT, pieces(NASTY, cuts)) == whole
    assert len(whole[0]) == 3


def test_byte_by_byte() -> None:
    """The smallest chunks of all."""
    assert read_answer(ENDPOINT, (bytes([byte]) for byte in NASTY)) == read_answer(ENDPOINT, [NASTY])


@settings(max_examples=150)
@given(
    st.integers(min_value=0, max_value=len(NASTY)),
    st.integers(min_value=0, max_value=30),
    st.binary(max_size=20),
    st.lists(st.integers(min_value=0, max_value=5000), max_size=5),
)
def test_damage_is_named_and_costs_no_earlier_record(at: int, gone: int, put: bytes, cuts: list[int]) -> None:
    """Any damage, cut anyhow: one of our errors or a whole answer, with the same records before it."""
    damaged = NASTY[:at] + put + NASTY[at + gone :]
    first = outcome(ENDPOINT, [damaged])
    again = outcome(ENDPOINT, pieces(damaged, cuts))
    assert [json.loads(record) for record in again[0]] == [json.loads(record) for record in first[0]]
    assert (first[1] == "whole") == (again[1] == "whole")


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_no_bytes_crash_a_reading(body: bytes) -> None:
    """Only our own errors come out, from every endpoint."""
    for endpoint in ALL:
        outcome(endpoint, [body])
        outcome(endpoint, [b"<page><calls_stat><calls><call>", body, b"</call></calls></calls_stat></page>"])


_FIELDS = (
    "uniqueid", "calldate2", "dispod", "nice_billsec", "server_id", "clid", "duration", "user_price", "id", "date", "size",
    "mp3_url", "source", "calldate", "orignator_channel", "user_id",
)  # fmt: skip
_TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "2024-03-31 04:05:09",
            "9" * 400,
            "1e999",
            "nan",
            "-1",
            "31/02/2024 25:00:00",
            "99999999999.1",
            "http://[",
            "//",
            "()",
        ]
    ),
    st.none(),
    st.integers(),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.sampled_from(["date", "timezone"]), st.text(max_size=20)),
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(_FIELDS), _TEXTS), st.sampled_from([None, 0, 10800, -3600]))
def test_no_record_crashes_keys_or_normalise(record: dict[str, object], offset: int | None) -> None:
    """Absurd values make a BadRecord or an event, never anything else; both functions agree which."""
    raw = json.dumps(record).encode()
    for endpoint in ALL:
        try:
            keys = endpoint.keys(raw, offset)
        except BadRecord:
            with pytest.raises(BadRecord):
                endpoint.normalise(raw, offset)
            continue
        assert endpoint.normalise(raw, offset).subject == keys.id


def test_long_texts_take_linear_time() -> None:
    """A field of a megabyte of spaces is no reason to stop (a careless pattern would take hours)."""
    spaces = " " * 1_000_000
    for field in ("clid", "dispod", "uniqueid", "nice_billsec", "src", "user_price"):
        raw = json.dumps({"calldate2": "2024-03-31 04:05:09", field: f"({spaces}x{spaces}<"}).encode()
        ENDPOINT.keys(raw, 0)
        ENDPOINT.normalise(raw, 0)
    for field in ("date", "duration", "size", "mp3_url"):
        raw = json.dumps({"id": "1", "date": "2024-03-31 04:05:09", field: f"{spaces}1{spaces}:"}).encode()
        try:
            RECORDINGS.normalise(raw, 0)
        except BadRecord:
            assert field == "date"


def test_control_characters_are_survived() -> None:
    """Raw, and as references; what XML allows stays."""
    records, _, _ = read_answer(ENDPOINT, [NASTY])
    first, second, third = (json.loads(record) for record in records)
    assert (first["clid"], first["user"]) == ("Zoë <1>  \U0001f600", "ab")
    assert second["clid"] == "€ & "
    assert third["clid"] == "<raw> & xy"


@pytest.mark.parametrize("declared", ["ISO-8859-1", "windows-1257", "utf-16", "klingon"])
def test_wrong_charset_is_survived(declared: str) -> None:
    """UTF-8 whatever the prolog says."""
    page = calls_page(call_xml(clid="Žaneta €")).replace(b'encoding="UTF-8"', f'encoding="{declared}"'.encode())
    records, _, _ = read_answer(ENDPOINT, [page])
    assert json.loads(records[0])["clid"] == "Žaneta €"


def test_a_mark_and_space_before_the_document_are_survived() -> None:
    """A byte order mark, empty lines and comments, cut anywhere."""
    page = "\ufeff\r\n <!-- cached -->".encode() + calls_page(call_xml())
    assert len(read_answer(ENDPOINT, [page])[0]) == 1
    assert len(read_answer(ENDPOINT, (bytes([byte]) for byte in page))[0]) == 1


def test_broken_bytes_are_replaced() -> None:
    """Latin-1 inside UTF-8 costs its character and no more."""
    page = calls_page(call_xml(clid="Zo@")).replace(b"Zo@", b"Zo\xeb!")
    records, _, _ = read_answer(ENDPOINT, [page])
    assert json.loads(records[0])["clid"] == "Zo�!"


_BOMB = '<?xml version="1.0"?><!DOCTYPE page [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><page>&b;</page>'


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (_BOMB, Malformed),
        ('<!DOCTYPE page SYSTEM "file:///etc/passwd"><page/>', Malformed),
        ("<page>&nbsp;</page>", Malformed),
        ("<page><calls></page>", Malformed),
        ("<page></page><page></page>", Malformed),
        ("<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", NotTheApi),
        ("<!-- proxy --> <!doctype HTML PUBLIC 'x'><html>", NotTheApi),
        ("\ufeff  <html><head>", NotTheApi),
        ("Internal Server Error", NotTheApi),
        ('{"error": "no"}', NotTheApi),
        ("", EmptyAnswer),
        (" \n\t ", EmptyAnswer),
        ('<?xml version="1.0" encoding="UTF-8"?>', Truncated),
        ("<pag", Truncated),
        ("<page><calls_stat>", Truncated),
        ("<page/>", BadAnswer),
        ("<other/>", BadAnswer),
    ],
)
def test_what_is_no_answer(body: str, error: type[PollerError]) -> None:
    """Trap 1: 200 with something else. Named, and the same whether it comes whole or in bytes; no entity is ever expanded."""
    for parts in ([body.encode()], [bytes([byte]) for byte in body.encode()]):
        with pytest.raises(error):
            read_answer(ENDPOINT, parts)


def test_fields_keep_their_shape() -> None:
    """Elements inside are objects, repeated ones lists, empty ones empty texts."""
    found = Document("call", "calls")
    (record,) = found.feed(
        b"<page><calls><call><calldate> <date>x</date><timezone/></calldate><n>1</n><n></n><e/><s> </s></call></calls></page>"
    )
    assert json.loads(record) == {"calldate": {"date": "x", "timezone": ""}, "n": ["1", ""], "e": "", "s": " "}


def test_only_the_lists_own_elements_are_records() -> None:
    """A field named like a record, and an `error` field, are fields."""
    found = Document("call", "calls")
    records = found.feed(
        b"<page><calls><call><call>1</call><error>no</error></call></calls><call><x>2</x></call></page>"
    )
    assert [json.loads(record) for record in records] == [{"call": "1", "error": "no"}]
    assert found.error is None


def test_endless_prolog_and_endless_nothing_are_cut() -> None:
    """A page for ever holds no memory for ever."""
    with pytest.raises(Malformed, match="no document began"):
        read_answer(RECORDINGS, (b" " * 1000 for _ in range(PROLOG)))
    junk = b"<x>" + b"y" * 60_000 + b"</x>"
    with pytest.raises(Malformed, match="without one <recording>"):
        read_answer(RECORDINGS, (part for part in [b"<page>", *[junk] * (QUIET // len(junk) + 2)]))


LARGE = """
from pathlib import Path
from mor_support import WINDOW, call_xml, calls_page, mor_endpoint

def resident():
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096

endpoint = mor_endpoint("user_calls")
block = (call_xml() * 1000).encode()
reading = endpoint.reading(endpoint.asks[0], WINDOW, None)
head, _, tail = calls_page(call_xml(), total=61_001).partition(b"</call></calls>")
count = len(reading.feed(head)) + len(reading.feed(b"</call>" + block))
before = resident()
for _ in range(60):
    for start in range(0, len(block), 1 << 16):
        count += len(reading.feed(block[start : start + (1 << 16)]))
grown = resident() - before
count += len(reading.feed(b"</calls>" + tail))
assert reading.close().total == count == 61_001
print(grown)
"""
"""In a process of its own, where no memory is free that others left."""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel says the process's size")
def test_a_large_answer_stays_small_in_memory() -> None:
    """60,000 calls (20 MB of XML) leave nothing behind; one empty element each would be 5 MB."""
    support = Path(mor_support.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", LARGE], cwd=support, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 3 << 20


@given(st.binary(max_size=200), st.lists(st.integers(min_value=0, max_value=200), max_size=10))
def test_cleaning_does_not_depend_on_cuts(data: bytes, cuts: list[int]) -> None:
    """Nor does it leave anything that XML refuses."""
    whole, cut = Clean(), Clean()
    once = whole.feed(data) + whole.feed(b"", final=True)
    parts = b"".join(cut.feed(part) for part in pieces(data, cuts)) + cut.feed(b"", final=True)
    assert parts == once
    text = once.decode()
    assert not any(ord(char) < 0x20 and char not in "\t\n\r" for char in text)
    assert "\ufffe" not in text
