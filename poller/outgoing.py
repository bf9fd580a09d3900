"""Pure: what a sink's own settings make of an event's body, and the few facts that are read out of a body without decoding it."""

from hashlib import blake2b

import msgspec
from msgspec import Raw, structs

from poller.event import WINDOW, sequence
from poller.masking import mask
from poller.model import Event

_decode = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode
_RECORDED = b'"recordedtime":"'
_NULL = Raw(b"null")
_WINDOW = f'"{WINDOW}"'.encode()


class Outgoing:
    """Applies `vendor` and `mask_numbers` of a sink. `changes` is False where bodies pass as they are."""

    def __init__(self, *, vendor: bool, mask_numbers: bool) -> None:
        # The raw record shows numbers in fields that nobody can list, so masking leaves it out as well.
        self._vendor = vendor and not mask_numbers
        self._prices = vendor
        self._mask = mask_numbers
        self.changes = not self._vendor or self._mask

    def body(self, body: bytes) -> bytes:
        """The body that this sink may show."""
        return _encode(self._shown(body)) if self.changes else body

    def event(self, event: Event) -> Event:
        """The event that this sink may show, its subject and its key included."""
        if not self.changes:
            return event
        envelope = self._shown(event.body)
        body = _encode(envelope)
        if not self._mask:
            return structs.replace(event, body=body)
        subject, key = (msgspec.json.decode(envelope[name], type=str) for name in ("subject", "partitionkey"))
        return structs.replace(event, subject=subject, key=key, body=body)

    def _shown(self, body: bytes) -> dict[str, Raw]:
        envelope = _decode(body)
        data = _decode(envelope["data"])
        if not self._vendor:
            data.pop("vendor", None)
        if not self._prices and "cost" in data:
            data["cost"] = _NULL
        if self._mask and bytes(envelope["type"]) != _WINDOW:  # which has times, and numbers of nobody
            mask(envelope, data)
        envelope["data"] = Raw(_encode(data))
        return envelope


def for_sink(event: Event, sink: str) -> bool:
    """Whether an entry of the log is meant for this sink."""
    return event.only is None or sink in event.only


def dead_id(sink: str, shard: int, seq: int, event_id: str) -> str:
    """The same event in the same place of the log is the same dead letter."""
    return blake2b(f"{sink}\0{shard}\0{seq}\0{event_id}".encode(), digest_size=16).hexdigest()


def recorded_time(body: bytes, past: int = 0) -> bytes:
    """When the event was first seen, as its body says it; empty where it says nothing. `past`: bytes that stand before it for certain.

    It stands before `data`, and a quote inside a value is escaped, so the first match is the attribute itself.
    """
    at = body.find(_RECORDED, past)
    if at < 0:
        return b""
    begin = at + len(_RECORDED)
    return body[begin : body.find(b'"', begin)]


def renumbered(body: bytes, seq: int) -> bytes:
    """The same event as entry `seq` of the log."""
    envelope = _decode(body)
    envelope["sequence"] = Raw(_encode(sequence(seq)))
    return _encode(envelope)


def as_update(event: Event, identifier: str, revision: int) -> Event:
    """An event that was written as the first state of its thing, as the later state that it has turned out to be."""
    kind = event.type.replace(".new", ".updated")
    envelope = _decode(event.body)
    data = _decode(envelope["data"])
    data["revision"] = Raw(str(revision).encode())
    envelope |= {"id": Raw(_encode(identifier)), "type": Raw(_encode(kind)), "data": Raw(_encode(data))}
    return Event(
        identifier, kind, event.source, event.subject, event.time, event.key, event.seen, _encode(envelope), event.only
    )
