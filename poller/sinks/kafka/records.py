"""Events as Kafka records, the other way round, and the progress record. Pure."""

import base64
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from typing import Self

import msgspec

from poller.event import CONTENT_TYPE, sequence
from poller.model import Event, Position, Progress, SeenKey
from poller.outgoing import recorded_time
from poller.protocols import Published
from poller.sinks.kafka.batch import VARINT, header

SEEN = "poller-seen"
_ALWAYS = 10
"""Headers that every event has."""
_FIXED = (
    header("content-type", CONTENT_TYPE.encode())
    + header("ce_specversion", b"1.0")
    + header("ce_datacontenttype", b"application/json")
)
_ID, _SUBJECT, _RECORDED = header("ce_id"), header("ce_subject"), header("ce_recordedtime")
_PARTITION_KEY, _TIME, _SEEN, _SEQUENCE = (
    header("ce_partitionkey"),
    header("ce_time"),
    header(SEEN),
    header("ce_sequence"),
)
_REPLAY = header("poller-replay", b"true")
_BEFORE = len(
    '{"specversion":"1.0","id":"","source":"","type":"","datacontenttype":"","dataschema":"","partitionkey":""'
)
"""Bytes of a body before its recorded time, beside its id and its key."""
_from_base64 = base64.b64decode
_seen = Struct(">i16s8s").pack


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One event of the log that is about to be sent, and its number."""

    seq: int
    event: Event


class Constants:
    """What repeats from event to event, by type and source; bounded, since both come from the configuration."""

    def __init__(self, topic_of: Callable[[str], str]) -> None:
        self._topic_of = topic_of
        self._known: dict[tuple[str, str], tuple[str, bytes]] = {}

    def of(self, event_type: str, source: str) -> tuple[str, bytes]:
        """The topic of an event and its first five headers, encoded."""
        found = self._known.get((event_type, source))
        if found is None:
            own = header("ce_type", event_type.encode()) + header("ce_source", source.encode())
            found = (self._topic_of(event_type), _FIXED + own)
            if len(self._known) < 4096:
                self._known[event_type, source] = found
        return found


def encoded(constant: bytes, seq: int, event: Event, key: bytes) -> bytes:
    """An event as a record, from its key on (the first two lengths and what follows them are `batch.record`'s).

    Headers: CloudEvents attributes, `poller-seen`, from which a lost store is rebuilt, and `poller-replay` where it is asked for.
    """
    body, size = event.body, VARINT[len(key)]
    identifier, subject = event.id.encode(), event.subject.encode("utf-8", "replace")
    number, recorded = sequence(seq).encode(), recorded_time(body, _BEFORE + len(identifier) + len(key))
    time, seen = event.time, event.seen
    count = _ALWAYS + (time is not None) + (seen is not None) + event.replay
    parts = [
        size, key, VARINT[len(body)], body, VARINT[count], constant,
        _ID, VARINT[len(identifier)], identifier,
        _SUBJECT, VARINT[len(subject)], subject,
        _SEQUENCE, VARINT[len(number)], number,
        _RECORDED, VARINT[len(recorded)], recorded,
        _PARTITION_KEY, size, key,
    ]  # fmt: skip
    if time is not None:
        at = time.encode()
        parts += (_TIME, VARINT[len(at)], at)
    if seen is not None:
        packed = pack_seen(seen)
        parts += (_SEEN, VARINT[len(packed)], packed)
    if event.replay:
        parts.append(_REPLAY)
    return b"".join(parts)


def pack_seen(seen: SeenKey) -> bytes:
    """Base64 of: the day in 4 bytes, the id's hash in 16, the state's in 8."""
    return b2a_base64(_seen(seen.day, seen.id, seen.state), newline=False)


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
