"""Pure: the events of one commit, packed as the log keeps them (msgpack, then zstd)."""

import msgspec
import zstandard

from poller.identity import chain
from poller.model import Event, Position, Segment

_encode_into = msgspec.msgpack.Encoder().encode_into
_decode = msgspec.msgpack.Decoder(list[Event]).decode

QUICK = zstandard.ZstdCompressionParameters.from_level(1, hash_log=11, write_content_size=True)
"""Level 1 with a smaller table: events resemble the few right before them, and the table fits into the processor's nearest cache. A
fifth quicker for events of any kind, and of many what comes out is no larger, of a few by up to 3 %.
"""
_compress = zstandard.ZstdCompressor(compression_params=QUICK)
_decompress = zstandard.ZstdDecompressor()

RECENT = 24 << 20
"""Bytes of bodies whose events are kept as they were packed: most are delivered right after their commit, and the first sink need not
unpack them. Found by the packed bytes themselves, so they can be nothing else.
"""
_packed = bytearray()
"""Where events are put behind each other, in the loop's thread alone. Kept, since the system clears new memory page by page: for each
commit that would take half as long again as packing does.
"""
_MOST_KEPT = 16 << 20
_recent: dict[bytes, tuple[list[Event], int]] = {}


def pack(events: list[Event], after: Position, at: float) -> Segment:
    """A segment that follows `after`."""
    first = after.seq + 1
    _encode_into(events, _packed)
    data = _compress.compress(_packed)
    if len(_packed) > _MOST_KEPT:
        _packed.clear()
    size = sum(len(event.body) for event in events)
    _keep(data, events, size)
    return Segment(
        first=first,
        last=after.seq + len(events),
        chain=chain(after.chain, first, [_link(event) for event in events]),
        at=at,
        data=data,
        recorded_bytes=size,
        only=events[0].only if len({event.only for event in events}) == 1 else None,
    )


def _keep(data: bytes, events: list[Event], size: int) -> None:
    kept = sum(one for _, one in _recent.values()) + size
    while _recent and kept > RECENT:
        _, gone = _recent.pop(next(iter(_recent)))
        kept -= gone
    _recent[data] = (events, size)


def _link(event: Event) -> str:
    """The state too: after a restore the same thing may be polled again in another state, under the same id and number."""
    return event.id + event.seen.state.hex() if event.seen is not None else event.id


def unpack(segment: Segment) -> list[Event]:
    """The events of a segment; the seq of each is `segment.first` + its place."""
    recent = _recent.pop(segment.data, None)
    return recent[0] if recent is not None else _decode(_decompress.decompress(segment.data))


def end(segment: Segment) -> Position:
    """The position behind a segment."""
    return Position(segment.last, segment.chain)
