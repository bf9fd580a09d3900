"""Events as Kafka records, the other way round, and the progress record. Pure."""

import base64
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from typing import NamedTuple, Self

import msgspec

from poller.event import CONTENT_TYPE, sequence
from poller.model import Event, Position, Progress, SeenKey
from poller.outgoing import recorded_time
from poller.protocols import Published

Headers = list[tuple[str, bytes]]

_CONTENT = ("content-type", CONTENT_TYPE.encode())
_VERSION = ("ce_specversion", b"1.0")
_DATA = ("ce_datacontenttype", b"application/json")
SEEN = "poller-seen"
_REPLAY = ("poller-replay", b"true")
_from_base64 = base64.b64decode
_day = Struct(">i").pack


class Entry(NamedTuple):
    """One event of the log that is about to be sent, and its number."""

    seq: int
    event: Event


class Constants:
    """What repeats from event to event, by type and source; bounded, since both come from the configuration."""

    def __init__(self, topic_of: Callable[[str], str]) -> None:
        self._topic_of = topic_of
        self._known: dict[tuple[str, str], tuple[str, Headers]] = {}

    def of(self, event_type: str, source: str) -> tuple[str, Headers]:
        """The topic of an event and its first five headers."""
        found = self._known.get((event_type, source))
        if found is None:
            constant = [_CONTENT, _VERSION, _DATA, ("ce_type", event_type.encode()), ("ce_source", source.encode())]
            found = (self._topic_of(event_type), constant)
            if len(self._known) < 4096:
                self._known[event_type, source] = found
        return found


def headers(constant: Headers, seq: int, event: Event, key: bytes) -> Headers:
    """CloudEvents attributes as headers, `poller-seen`, from which a lost store is rebuilt, and `poller-replay` where it is asked for."""
    out = [
        *constant,
        ("ce_id", event.id.encode()),
        ("ce_subject", event.subject.encode("utf-8", "replace")),
        ("ce_sequence", sequence(seq).encode()),
        ("ce_recordedtime", recorded_time(event.body)),
        ("ce_partitionkey", key),
    ]
    if event.time is not None:
        out.append(("ce_time", event.time.encode()))
    if event.seen is not None:
        out.append((SEEN, pack_seen(event.seen)))
    if event.replay:
        out.append(_REPLAY)
    return out


def pack_seen(seen: SeenKey) -> bytes:
    """Base64 of: the day in 4 bytes, the id's hash in 16, the state's in 8."""
    return b2a_base64(_day(seen.day) + seen.id + seen.state, newline=False)


def unpack_seen(packed: bytes) -> SeenKey | None:
    """None where the header is not ours."""
    try:
        raw = _from_base64(packed, validate=True)
    except ValueError:
        return None
    if len(raw) != 28:
        return None
    return SeenKey(int.from_bytes(raw[:4], "big", signed=True), raw[4:20], raw[20:])


def published(
    key: bytes | None, value: bytes | None, pairs: Iterable[tuple[str, bytes]], at: float
) -> Published | None:
    """A record of an event topic as it was sent; None where it is not one of ours."""
    found = dict(pairs)
    identifier, kind, source = found.get("ce_id"), found.get("ce_type"), found.get("ce_source")
    if value is None or identifier is None or kind is None or source is None:
        return None
    packed, time = found.get(SEEN), found.get("ce_time")
    return Published(
        id=_text(identifier),
        seen=unpack_seen(packed) if packed is not None else None,
        type=_text(kind),
        source=_text(source),
        subject=_text(found.get("ce_subject", b"")),
        time=_text(time) if time is not None else None,
        key=_text(key or b""),
        body=value,
        at=at,
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


# --- progress ----------------------------------------------------------------------------------------------------------


class Identity(msgspec.Struct, frozen=True):
    """Where the progress of a shard is kept: the record's key, which is the transactional id, and the topic."""

    id: str
    topic: str

    @classmethod
    def of(cls, text: str) -> Self:
        """From its text: both with a space between them, which neither can hold."""
        identifier, _, topic = text.partition(" ")
        return cls(identifier, topic)

    def __str__(self) -> str:
        """As the store remembers it."""
        return f"{self.id} {self.topic}"


class _Progress(msgspec.Struct, omit_defaults=True):
    seq: int
    chain: str
    at: float
    moved: Identity | None = None
    shards: int = 0


_decode = msgspec.json.Decoder(_Progress).decode


def pack_progress(progress: Progress) -> bytes:
    """`{seq, chain, at, shards}`: the last segment that the transaction holds, and when; `moved: {id, topic}`: where to go on."""
    moved = Identity.of(progress.moved) if progress.moved is not None else None
    place = progress.position
    return msgspec.json.encode(_Progress(place.seq, place.chain.hex(), progress.at, moved, progress.shards))


def unpack_progress(value: bytes | None) -> Progress | None:
    """None for a tombstone and for what is not ours."""
    try:
        found = _decode(value or b"")
        moved = str(found.moved) if found.moved is not None else None
        return Progress(Position(found.seq, bytes.fromhex(found.chain)), found.at, moved, found.shards)
    except (msgspec.DecodeError, ValueError):
        return None


def last_progress(records: Sequence[tuple[bytes | None, bytes | None]], key: bytes) -> Progress | None:
    """The last progress record of a key among (key, value) pairs."""
    for found, value in reversed(records):
        if found == key:
            return unpack_progress(value)
    return None
