"""Pure: the events of one commit, packed as the log keeps them (msgpack, then zstd)."""

import msgspec
import zstandard

from poller.identity import chain
from poller.model import Event, Position, Segment

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Event]).decode
_compress = zstandard.ZstdCompressor(level=1, write_content_size=True)
_decompress = zstandard.ZstdDecompressor()

RECENT = 8
"""Segments whose events are kept as they were packed: most are delivered right after their commit, about as many at once, and the
first sink need not unpack them. Found by the packed bytes themselves, so they can be nothing else.
"""
_recent: dict[bytes, list[Event]] = {}


def pack(events: list[Event], after: Position, at: float) -> Segment:
    """A segment that follows `after`."""
    first = after.seq + 1
    data = _compress.compress(_encode(events))
    _recent[data] = events
    if len(_recent) > RECENT:
        del _recent[next(iter(_recent))]
    return Segment(
        first=first,
        last=after.seq + len(events),
        chain=chain(after.chain, first, [_link(event) for event in events]),
        at=at,
        data=data,
        recorded_bytes=sum(len(event.body) for event in events),
        only=events[0].only if len({event.only for event in events}) == 1 else None,
    )


def _link(event: Event) -> str:
    """The state too: after a restore the same thing may be polled again in another state, under the same id and number."""
    return event.id + event.seen.state.hex() if event.seen is not None else event.id


def unpack(segment: Segment) -> list[Event]:
    """The events of a segment; the seq of each is `segment.first` + its place."""
    return _recent.pop(segment.data, None) or _decode(_decompress.decompress(segment.data))


def end(segment: Segment) -> Position:
    """The position behind a segment."""
    return Position(segment.last, segment.chain)
