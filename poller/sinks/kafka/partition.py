"""The Java client's default partitioner, so that other producers of the same keys agree with us."""

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
_SEED = 0x9747B28C
_LANE = 8
"""Bytes of a lane: a 32-bit value times a 32-bit constant stays within its own."""
_FEW = 4
_WORDS = tuple(Struct(f"<{count}I").unpack_from for count in range(64))


def murmur2(data: bytes) -> int:
    """MurmurHash2 as Kafka uses it, unsigned; a word at a time."""
    size = len(data)
    count = size >> 2
    h = _SEED ^ size
    for k in _WORDS[count](data) if count < 64 else Struct(f"<{count}I").unpack_from(data):
        k = k * _M & _MASK  # noqa: PLW2901 one name for one register, as in every telling of this function
        h = (h * _M & _MASK) ^ ((k ^ k >> 24) * _M & _MASK)
    if rest := size & 3:
        h = (h ^ int.from_bytes(data[-rest:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def hashes_of(keys: Sequence[bytes]) -> list[int]:
    """What the partitioner takes modulo the number of partitions, for many keys.

    Those of one length are hashed together, which is three to five times as fast.
    """
    by_size: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        by_size.setdefault(len(key), []).append(place)
    out = [0] * len(keys)
    for places in by_size.values():
        same = [keys[place] for place in places]
        hashes = _murmur2_lanes(same) if len(same) > _FEW else map(murmur2, same)
        for place, found in zip(places, hashes, strict=True):
            out[place] = found & 0x7FFFFFFF
    return out


def _murmur2_lanes(keys: list[bytes]) -> tuple[int, ...]:
    """`murmur2` of keys of one length. Each key has a lane in one large number, and each step is taken for all lanes together.

    What a product or a shift leaves in the upper half of a lane is cut off before it counts.
    """
    size = len(keys[0])
    words, rest = divmod(size, 4)
    ones, mask, lanes = _lanes(len(keys))
    fill = b"\0" * (-size % 4)  # so that what is left over is a column like the others
    whole = Struct(f"<{(size + 3) // 4}I")
    columns = list(zip(*whole.iter_unpack(fill.join(keys) + fill), strict=True)) if size else []
    h = ones * (_SEED ^ size)
    for column in columns[:words]:
        k = int.from_bytes(lanes.pack(*column), "little") * _M & mask
        h = (h * _M ^ ((k ^ k >> 24) & mask) * _M) & mask
    if rest:
        h = (h ^ int.from_bytes(lanes.pack(*columns[words]), "little")) * _M & mask
    h = ((h ^ h >> 13) & mask) * _M & mask
    h = (h ^ h >> 15) & mask
    return lanes.unpack(h.to_bytes(len(keys) * _LANE, "little"))


@lru_cache(maxsize=64)
def _lanes(count: int) -> tuple[int, int, Struct]:
    """A 1 in each lane, the lower half of each lane, and the lanes as bytes."""
    ones = int.from_bytes((1).to_bytes(_LANE, "little") * count, "little")
    return ones, ones * _MASK, Struct(f"<{count}Q")
