"""Pure: the bytes of a JSON answer to records, and a record's loosely typed fields to text and numbers.

For vendors whose JSON is mostly right: bytes that are not UTF-8, raw control characters and half surrogates are mended, a
value that is nested too deeply stays in its own record, and everything else becomes the error that says what is wrong.
"""

import re
from collections.abc import Callable, Iterable
from typing import TypeAlias, TypeVar

import msgspec
from msgspec import Raw, Struct

from poller.errors import BadRecord, EmptyAnswer, Malformed, NotTheApi, Truncated

Text: TypeAlias = str | int | float | None
"""A field that may come as a string or a number; absent, null and "" mean the same."""

T = TypeVar("T")
S = TypeVar("S", bound=Struct)

_DEEP = 64
_LONGEST = 1e10  # seconds or bytes: beyond it a number is nonsense
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)|[\[\]{}]', re.DOTALL)
_UNFIT = re.compile(
    rb"[\x00-\x1f]"  # must be escaped inside a string
    rb"|(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}|\\[\"\\/bfnrt])"
    rb"|\\u[0-9a-fA-F]{4}"  # half of a surrogate pair
    rb"|\\"  # an escape that JSON does not know
)
_ONE_LINE = bytes.maketrans(b"\n\r", b"  ")
_fields = msgspec.json.Decoder(dict[str, Raw]).decode


class Gathered:
    """The half of a Reading that keeps an answer until its end: only there shows whether JSON is whole."""

    offset: int | None = None

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """No record yet."""
        self._parts.append(data)
        return []

    def _body(self) -> bytes:
        """All of it, once."""
        body = b"".join(self._parts)
        self._parts.clear()
        return body


def read(body: bytes, decode: Callable[[bytes], T], where: str) -> tuple[T, list[bytes]]:
    """Decodes a whole answer. The second value goes on to `records`. Raises a BadAnswer or NotTheApi.

    `where` names the endpoint in the errors. A msgspec.ValidationError (well-formed, another shape) passes through.
    """
    body = _readable(body, where)
    folded: list[bytes] = []
    for mend in (_as_it_is, _mended_strings):
        body = mend(body)
        try:
            return decode(body), folded
        except RecursionError:
            body, folded = _fold(body)
        except msgspec.ValidationError:
            raise
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    try:
        return decode(body), folded
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, RecursionError) as error:
        raise _fault(body, str(error), where) from None


def records(items: Iterable[Raw], folded: list[bytes], body: bytes) -> list[bytes]:
    """The items that `read` found in `body`, each on one line, with what was taken out for its depth put back."""
    found = [bytes(item) for item in items]
    for number, value in enumerate(folded):
        found = [record.replace(_place(number), value) for record in found]
    if b"\n" in body or b"\r" in body:  # between tokens only: inside a string they are escaped
        found = [record.translate(_ONE_LINE) for record in found]
    return found


def lines(body: bytes) -> str:
    """The first characters of an answer, for an error message."""
    return repr(body[:120].decode("utf-8", "replace"))


def _readable(body: bytes, where: str) -> bytes:
    """UTF-8 without a byte order mark; what cannot be decoded is replaced."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body.strip():
        raise EmptyAnswer(f"{where}: an empty answer where there is always a document")
    if body.isascii():  # the common case, and a tenth of the cost of decoding, which makes a copy
        return body
    try:
        body.decode()
    except UnicodeDecodeError:
        return body.decode("utf-8", "replace").encode()
    return body


def _as_it_is(body: bytes) -> bytes:
    return body


def _mended_strings(body: bytes) -> bytes:
    """Inside strings: control characters are escaped, half surrogates and unknown escapes become U+FFFD."""
    return _TOKEN.sub(lambda token: _UNFIT.sub(_fit, token[0]) if token[0][:1] == b'"' else token[0], body)


def _fit(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return match[1]
    return b"\\ufffd" if match[0][:1] == b"\\" else b"\\u%04x" % match[0][0]


def _place(number: int) -> bytes:
    return b'"\\u0000folded %d\\u0000"' % number


def _fold(body: bytes) -> tuple[bytes, list[bytes]]:
    """Replaces values nested deeper than `_DEEP` by short strings, so that only their own records are unreadable."""
    parts: list[bytes] = []
    folded: list[bytes] = []
    depth = kept = begin = 0
    for token in _TOKEN.finditer(body):
        if token[0] in {b"[", b"{"}:
            depth += 1
            if depth == _DEEP:
                begin = token.start()
        elif token[0] in {b"]", b"}"}:
            if depth == _DEEP:
                parts += body[kept:begin], _place(len(folded))
                folded.append(body[begin : token.end()])
                kept = token.end()
            depth -= 1
    parts.append(body[kept:])
    return b"".join(parts), folded


def _fault(body: bytes, said: str, where: str) -> Truncated | Malformed | NotTheApi:
    if body[:64].lstrip()[:1] not in {b"{", b"["}:
        return NotTheApi(f"{where}: not the API's JSON: {lines(body)}. Check base_url and what stands between")
    if "truncated" in said:
        return Truncated(f"{where}: the answer ends after {len(body)} bytes, before its document does")
    return Malformed(f"{where}: the answer cannot be read: {said}; it begins with {lines(body)}")


# --- one record ------------------------------------------------------------------------------------------------------


def fields(record: bytes, decode: Callable[[bytes], S], shape: type[S], ids: frozenset[str] = frozenset()) -> S:
    """The fields of a record, after the fast decoder failed: other types become text. Raises BadRecord.

    `ids`: fields that name the thing; what is neither text nor a number is no id, and counts as absent.
    """
    try:
        found = {name: raw for name, raw in _fields(record).items() if name not in ids or not _odd(raw)}
        values = {
            field.encode_name: found[field.encode_name] if field.type is Raw else _loose(found[field.encode_name])
            for field in msgspec.structs.fields(shape)
            if field.encode_name in found
        }
        return decode(msgspec.json.encode(values))
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"the record cannot be understood: {error}; it begins with {lines(record)}") from None


def _loose(raw: Raw) -> Raw | str:
    return bytes(raw).decode("utf-8", "replace") if _odd(raw) else raw


def _odd(raw: Raw) -> bool:
    """Neither text nor a number nor null."""
    return bytes(raw)[:1] in {b"[", b"{", b"t", b"f"}


def normal(value: Text) -> str:
    """The normal form of a declared field: absent = null = "", "196" = 196 = 196.0."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def words(value: Text) -> str | None:
    """A field's text; None where there is none."""
    return (value if value.__class__ is str else normal(value)).strip() or None


def number(value: Text) -> float | None:
    """A count of seconds or bytes; None where there is none. Raises BadRecord for what is no such number."""
    if not value and value != 0:
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        raise BadRecord(f"{str(value)[:40]!r} is no number") from None
    if -_LONGEST < found < _LONGEST:
        return found
    raise BadRecord(f"{str(value)[:40]!r} is out of range")
