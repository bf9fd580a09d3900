"""Record batches as Kafka's protocol has them (magic 2). Pure.

The client library encodes each header of each record on its own, which costs more than all else that is done to an event on its way
out. Here what repeats is encoded once. The library's own builder makes the same bytes (`tests/sinks/kafka/test_kafka_batch.py`).
"""

from collections.abc import Callable
from struct import Struct

import zstandard
from aiokafka import codec
from aiokafka.record.util import calc_crc32c

from poller.segment import QUICK

_HEAD = Struct(">qiibIhiqqqhii")
"""Base offset, length from here on, leader epoch, magic, checksum, attributes, last offset, first and last time, producer's number and
epoch, first sequence, count of records.
"""
_MAGIC = 2
_AFTER_LENGTH, _AFTER_CHECKSUM = 12, 21
_TRANSACTIONAL = 0x10


def varint(number: int) -> bytes:
    """A number from 0 on, as the protocol has it."""
    number <<= 1  # the lowest bit is the sign
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class _Varints(dict[int, bytes]):
    """Small ones are at hand."""

    def __missing__(self, number: int) -> bytes:
        return varint(number)


VARINT = _Varints((number, varint(number)) for number in range(4096))
_BEGINNINGS = tuple(b"\0\0" + varint(number) for number in range(4096))
"""Of a record by its place: no attributes, no time beside the batch's."""


def header(name: str, value: bytes | None = None) -> bytes:
    """An encoded header; without a value its beginning, behind which `VARINT[len(value)]` and the value follow."""
    text = name.encode()
    return varint(len(text)) + text + (varint(len(value)) + value if value is not None else b"")


def record(key: bytes, value: bytes, *headers: bytes) -> bytes:
    """A record from its key on."""
    return b"".join((VARINT[len(key)], key, VARINT[len(value)], value, VARINT[len(headers)], *headers))


# Takes half the time of the library's level 3, and what it makes of many events alike is no larger.
_zstd = zstandard.ZstdCompressor(compression_params=QUICK).compress
_CODECS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "snappy": (2, codec.snappy_encode),
    "lz4": (3, codec.lz4_encode),
    "zstd": (4, _zstd),
}


class RecordBatch:
    """Records of one time for one partition. The library's accumulator takes it for a batch of its own."""

    def __init__(self, limit: int, compression: str, *, transactional: bool, at: int) -> None:
        """`limit`: bytes before compression. `at`: milliseconds since 1970."""
        self._limit = limit
        self._compression = compression
        self._attributes = _TRANSACTIONAL if transactional else 0
        self._at = at
        self._parts: list[bytes] = []
        self._size = _HEAD.size
        self._count = 0
        self._producer = (-1, -1, -1)
        self._built: bytes | None = None
        self._closed = False

    def append(self, encoded: bytes) -> bool:
        """Adds a record from its key on. False where there is no room; the first always finds some."""
        count = self._count
        beginning = _BEGINNINGS[count] if count < len(_BEGINNINGS) else b"\0\0" + varint(count)
        size = len(beginning) + len(encoded)
        length = VARINT[size]
        after = self._size + len(length) + size
        if self._closed or (count and after > self._limit):
            return False
        self._parts += (length, beginning, encoded)
        self._size = after
        self._count = count + 1
        return True

    # --- what the library asks -----------------------------------------------------------------------------------------

    def record_count(self) -> int:
        """How many there are."""
        return self._count

    def close(self) -> None:
        """Nothing is added any more."""
        self._closed = True

    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def _set_producer_state(self, producer_id: int, producer_epoch: int, first: int) -> None:
        if (
            self._built is not None
        ):  # it would be sent with the old numbers, which is how records come twice or not at all
            raise RuntimeError("a batch that was built has its numbers")
        self._producer = (producer_id, producer_epoch, first)

    def _build(self) -> bytes:
        """As it is sent, each time it is."""
        self._closed = True
        if self._built is None:
            self._built = self._encoded()
            self._parts.clear()
        return self._built

    def _encoded(self) -> bytes:
        records, attributes = b"".join(self._parts), self._attributes
        if self._compression in _CODECS:
            number, compress = _CODECS[self._compression]
            smaller = compress(records)
            if len(smaller) < len(records):
                records, attributes = smaller, attributes | number
        count = self._count
        head = bytearray(_HEAD.size)
        length = _HEAD.size - _AFTER_LENGTH + len(records)
        _HEAD.pack_into(
            head, 0, 0, length, -1, _MAGIC, 0, attributes, count - 1, self._at, self._at, *self._producer, count
        )
        whole = bytes(head[_AFTER_CHECKSUM:]) + records
        checksum: int = calc_crc32c(whole)
        return bytes(head[: _AFTER_CHECKSUM - 4]) + checksum.to_bytes(4) + whole
