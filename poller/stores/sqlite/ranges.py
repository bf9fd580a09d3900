"""Numbers packed as runs: what was sent out of order is mostly one long run with a few holes."""

from collections.abc import Iterable

import msgspec

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[int, int]]).decode


def pack(numbers: Iterable[int]) -> bytes:
    """[(from the last run's end to this one's beginning, its length), …] as msgpack; empty for none."""
    runs: list[tuple[int, int]] = []
    end = 0
    for number in sorted(set(numbers)):
        if runs and number == end:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number - end, 1))
        end = number + 1
    return _encode(runs) if runs else b""


def unpack(data: bytes) -> list[int]:
    """Ascending."""
    numbers: list[int] = []
    end = 0
    for gap, length in _decode(data) if data else []:
        numbers.extend(range(end + gap, end + gap + length))
        end += gap + length
    return numbers
