"""Pure: the events of one commit, packed as the log keeps them (msgpack, then zstd)."""

import msgspec
import zstandard

from poller.identity import chain
from poller.model import Event, Position, Segment

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Event]).decode
_compress = zstandard.ZstdCompressor(level=1, write_content_size=True)
_decompress = zstandard.ZstdDecompressor()


def pack(events: list[Event], after: Position, at: float) -> Segment:
    """A segment that follows `after`."""
    first = after.seq + 1
    return Segment(
        first=first,
        last=after.seq + len(events),
        chain=chain(after.chain, first, [_link(event) for event in events]),
        at=at,
        data=_compress.compress(_encode(events)),
        recorded_bytes=sum(len(event.body) for event in events),
    )


def _link(event: Event) -> str:
    """The state too: after a restore the same thing may be polled again in another state, under the same id and number."""
    return event.id + event.seen.state.hex() if event.seen is not None else event.id


def unpack(segment: Segment) -> list[Event]:
    """The events of a segment; the seq of each is `segment.first` + its place."""
    return _decode(_decompress.decompress(segment.data))


def end(segment: Segment) -> Position:
    """The position behind a segment."""
    return Position(segment.last, segment.chain)
