"""Answers that are nearly JSON, and fields that are nearly right."""

import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, Struct

from poller.errors import BadRecord, EmptyAnswer, Malformed, NotTheApi, PollerError, Truncated
from poller.jsontext import Text, fields, normal, number, read, records, words

decode = msgspec.json.Decoder(list[Raw]).decode


class Row(Struct):
    """A few loosely typed fields."""

    name: Text = ""
    size: Text = ""
    whole: Raw = Raw(b"null")


row = msgspec.json.Decoder(Row).decode


def rows(body: bytes) -> list[bytes]:
    """The records of a list."""
    found, folded = read(body, decode, "here")
    return records(found, folded, body)


SOUND = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(SOUND, max_size=4))
def test_sound_json_is_read_as_it_is(value: list[object]) -> None:
    for ascii_only in (True, False):
        body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace")
        assert [json.loads(found) for found in rows(body)] == json.loads(body)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", EmptyAnswer),
        (b"  ", EmptyAnswer),
        (b"\xef\xbb\xbf", EmptyAnswer),
        (b"<html>", NotTheApi),
        (b"error", NotTheApi),
        (b'[{"a":1}', Truncated),
        (b'[{"a":"x', Truncated),
        (b"[1] 2", Malformed),
        (b"[1,]", Malformed),
        (b"[NaN]", Malformed),
        (b"[" * 100_000, Malformed),
    ],
)
def test_what_cannot_be_read_says_why(body: bytes, error: type[PollerError]) -> None:
    with pytest.raises(error, match="here"):
        rows(body)


def test_byte_order_mark_and_line_ends() -> None:
    assert rows(b'\xef\xbb\xbf[{"a":\r\n1},\n{"b":"\\n"}]') == [b'{"a":  1}', b'{"b":"\\n"}']


def test_only_damaged_strings_are_mended() -> None:
    body = b'[{"a":"x\x00\ty","n":1729989067.10},{"b":"\\ud800","c":"\\ud83d\\ude00\\u00e9\\\\ud800"},{"d":"\xff\xfe"}]'
    first, second, third = rows(body)
    assert first == b'{"a":"x\\u0000\\u0009y","n":1729989067.10}'
    assert second == b'{"b":"\\ufffd","c":"\\ud83d\\ude00\\u00e9\\\\ud800"}'
    assert json.loads(third) == {"d": "\ufffd\ufffd"}


def test_deep_values_stay_in_their_records_as_they_were() -> None:
    deep = b'{"a":' + b"[" * 3000 + b'"]["' + b"]" * 3000 + b"}"
    assert rows(b"[" + deep + b',{"b":2},' + deep + b"]") == [deep, b'{"b":2}', deep]


@pytest.mark.parametrize(
    "tail", [b'"' * 200_000, b'\\"' * 200_000, b'"\\u' * 100_000, b"[" * 400_000, b'{"a":' * 80_000]
)
def test_hostile_answers_take_linear_time(tail: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(PollerError):
        rows(b'[{"a":"\x01' + tail)
    assert time.process_time() - begun < 20  # quadratic would take hours


def test_fields_of_other_types_become_text_and_numbers_keep_their_spelling() -> None:
    found = fields(b'{"name":[1, 2],"size":true,"whole":1.10,"else":{}}', row, Row)
    assert (found.name, found.size, bytes(found.whole)) == ("[1, 2]", "true", b"1.10")
    for broken in (b"", b"[]", b'{"name":', b'{"name":1e999}', b'{"name":"\xff"}'):
        with pytest.raises(BadRecord):
            fields(broken, row, Row)


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), ("", ""), (0, "0"), (196.0, "196"), ("196", "196"), (1.5, "1.5"), ("007", "007")]
)
def test_normal_form(value: Text, text: str) -> None:
    assert normal(value) == text
    assert words(value) == (text or None)


def test_numbers() -> None:
    assert [number(value) for value in (None, "", 0, "0", "12", 1.5, "-3")] == [None, None, 0, 0, 12, 1.5, -3]
    for value in ("1:20", "x", 1e300, "inf", "nan", 10**400, "9" * 5000):
        with pytest.raises(BadRecord):
            number(value)
