"""Bytes that were good once, changed a little: what finds more than bytes that never were.

`SCHEDULES=20000 pytest tests/fuzz` looks for longer. What is found becomes a file under `tests/data/corpus`, which is tried each time.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

CORPUS = Path(__file__).resolve().parents[1] / "data" / "corpus"
_NUMBERS = (b"0", b"-1", b"1e999", b"9" * 400, b"99999999999", b"null", b"true", b"NaN", b"1:1:1")
_TEXTS = (
    b"\x00",
    b"\x1b[2J",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\r\n",
    "\u202e\ufeff".encode(),
    b"'",
    b'"',
    b"\\",
)
JSON = (
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b'""',
    b"\\ud800",
    b"\\u0000",
    b"\\x",
    b"[" * 200,
    b'{"a":' * 200,
    *_NUMBERS,
    *_TEXTS,
)
XML = (
    b"<", b">", b"</", b"/>", b"&", b"&amp;", b"&lol;", b"&#0;", b"&#xD800;", b"&#x110000;", b"<!--", b"-->", b"<![CDATA[", b"]]>",
    b"<?x ?>", b"<!DOCTYPE x>", b"<calls>", b"</calls>", b"<call>", b"</call>", b"<error>no</error>", b"<a>" * 200, *_NUMBERS, *_TEXTS,
)  # fmt: skip
YAML = (b":", b": ", b"- ", b"\n", b"\n  ", b"\t", b"&a ", b"*a", b"<<: *a", b"!!int ", b"!!timestamp ", b"!!python/none ", b"{", b"}", b"[", b"]",
        b"|", b">", b"---\n", b"%YAML 1.1\n", b"? ", b'"\\U00110000"', b'"\\ud800"', b"#", *_NUMBERS, *_TEXTS)  # fmt: skip
Change = tuple[str, int, int, int, bytes]
_WHAT = ("flip", "delete", "repeat", "insert", "replace", "move", "cut")


def looked_for(examples: int) -> Callable[[Any], Any]:
    """So many examples, or as many as `SCHEDULES` says."""
    return settings(
        max_examples=int(os.environ.get("SCHEDULES", examples)),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def changes(tokens: Sequence[bytes], most: int = 5) -> st.SearchStrategy[list[Change]]:
    """What to do to any bytes: where (a place, a second one), how much, and which bytes to put there."""
    place = st.integers(0, 1 << 16)
    put = st.sampled_from(tokens) | st.binary(max_size=4)
    return st.lists(st.tuples(st.sampled_from(_WHAT), place, place, st.integers(1, 64), put), min_size=1, max_size=most)


def changed(data: bytes, todo: Sequence[Change]) -> bytes:
    """The bytes after all of it."""
    for what, first, second, size, put in todo:
        at, other = first % (len(data) + 1), second % (len(data) + 1)
        match what:
            case "flip" if at < len(data):
                data = data[:at] + bytes([data[at] ^ (1 << size % 8)]) + data[at + 1 :]
            case "delete":
                data = data[:at] + data[at + size :]
            case "repeat":
                data = data[:at] + data[at : at + size] * 3 + data[at + size :]
            case "insert":
                data = data[:at] + put + data[at:]
            case "replace":
                data = data[:at] + put + data[at + len(put) :]
            case "move":
                data = data[:at] + data[other : other + size] + data[at:]
            case "cut" if size > 56:  # seldom: nothing else is seen behind it
                data = data[:at]
    return data


def corpus(target: str) -> list[Path]:
    """What was found before."""
    return sorted((CORPUS / target).iterdir())
