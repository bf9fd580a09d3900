"""Pure: raw records to the fields that are read."""

from typing import TypeVar

import msgspec

from poller.errors import BadRecord

T = TypeVar("T", bound=msgspec.Struct)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read_record(record: bytes, decoder: msgspec.json.Decoder[T], what: str) -> T:
    """The record's fields as text. Raises BadRecord."""
    try:
        return decoder.decode(record)
    except _UNREADABLE:
        return _soften(record, decoder, what)


def _soften(record: bytes, decoder: msgspec.json.Decoder[T], what: str) -> T:
    """Figures are read as text and nulls as absent: XML has neither, but a record may come back from elsewhere."""
    try:
        found = msgspec.json.decode(record, type=dict[str, object])
        texts = {name: _text(value) for name, value in found.items() if value is not None}
        return msgspec.convert(texts, type=decoder.type)
    except _UNREADABLE as error:
        raise BadRecord(f"the {what} is not as MOR sends them: {str(error)[:200]}") from None


def _text(value: object) -> object:
    try:
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    except ValueError:  # a figure of thousands of digits
        return value
