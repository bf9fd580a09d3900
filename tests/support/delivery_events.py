"""Events and segments for tests of the way out."""

from hashlib import blake2b

import msgspec

from poller.event import Encoder, WindowData, instant, window_event
from poller.identity import Identity, event_id, window_key
from poller.model import (
    HOUR,
    CallData,
    Event,
    Keys,
    Normal,
    Party,
    Position,
    SeenKey,
    Segment,
    Window,
    utc,
)
from poller.segment import pack

SOURCE = "fono-1"
_identity = Identity(SOURCE, "call")
_encoder = Encoder(SOURCE, "call")


def seen_key(call: str, state: str = "") -> SeenKey:
    """The key of a call in a state."""
    return _identity.seen_key(Keys(call, 20_000, state))


def call_event(call: str, seq: int, *, state: str = "", new: bool = True, size: int = 0, at: float = 1.7e9) -> Event:
    """An event as the way in writes it. `size`: bytes of raw record that cannot be compressed."""
    raw = "".join(blake2b(f"{call}{part}".encode(), digest_size=64).hexdigest() for part in range(size // 128))
    data = CallData(
        call_id=call,
        from_=Party("+48 22 123 45 67", "Jan 600100200"),
        to=Party("196"),
        vendor=msgspec.Raw(msgspec.json.encode({"call_id": call, "price": "0.10", "raw": raw})),
    )
    normal = Normal(data=data, subject=call, time=None, partition_key=call)
    return _encoder.event(normal, seen_key(call, state), new=new, seq=seq, recorded=instant(at))


def hour_event(seq: int, *only: str, begin: int = 1_700_049_600) -> Event:
    """What tells a whole hour to the sinks that ask."""
    data = WindowData(
        source=SOURCE, endpoint="fonouc.cdrs", kind="call", from_=utc(begin), until=utc(begin + HOUR), counts=None,
        late_by_seconds=None,
    )  # fmt: skip
    key = window_key(SOURCE, data.endpoint, Window(begin, begin + HOUR))
    return window_event(data, key, seq=seq, recorded=instant(1.7e9), only=only)


def call_id(call: str) -> str:
    """The event id of a new call."""
    return event_id(seen_key(call), new=True)


def segment_of(calls: list[str], after: Position, *, size: int = 0) -> Segment:
    """A segment of new calls."""
    at = 1.7e9
    events = [call_event(call, seq, size=size, at=at) for seq, call in enumerate(calls, after.seq + 1)]
    return pack(events, after, at)


def segments(count: int, each: int) -> list[Segment]:
    """`count` segments of `each` calls, named c1, c2, …"""
    out: list[Segment] = []
    position = Position()
    for _ in range(count):
        names = [f"c{number}" for number in range(position.seq + 1, position.seq + each + 1)]
        out.append(segment_of(names, position))
        position = Position(out[-1].last, out[-1].chain)
    return out
