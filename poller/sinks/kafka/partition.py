"""The Java client's default partitioner, so that other producers of the same keys agree with us."""

from struct import Struct

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
_WORDS = tuple(Struct(f"<{count}I").unpack_from for count in range(64))


def murmur2(data: bytes) -> int:
    """MurmurHash2 as Kafka uses it, unsigned; a word at a time."""
    size = len(data)
    count = size >> 2
    h = 0x9747B28C ^ size
    for k in _WORDS[count](data) if count < 64 else Struct(f"<{count}I").unpack_from(data):
        k = k * _M & _MASK  # noqa: PLW2901 one name for one register, as in every telling of this function
        h = (h * _M & _MASK) ^ ((k ^ k >> 24) * _M & _MASK)
    if rest := size & 3:
        h = (h ^ int.from_bytes(data[-rest:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key in a topic with that many."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
