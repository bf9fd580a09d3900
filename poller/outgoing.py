"""Pure: what a sink's own settings make of an event's body, and the few facts that are read out of a body without decoding it."""

import re
from hashlib import blake2b

import msgspec
from msgspec import Raw

from poller.event import sequence
from poller.model import Event

_decode = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode
_RECORDED = b'"recordedtime":"'
_LONG_NUMBER = re.compile(r"\d(?:[\s().-]?\d){3,}")
_KEPT = 3


class Outgoing:
    """Applies `vendor` and `mask_numbers` of a sink. `changes` is False where bodies pass as they are."""

    def __init__(self, *, vendor: bool, mask_numbers: bool) -> None:
        # The raw record shows numbers in fields that nobody can list, so masking leaves it out as well.
        self._vendor = vendor and not mask_numbers
        self._mask = mask_numbers
        self.changes = not self._vendor or self._mask

    def body(self, body: bytes) -> bytes:
        """The body that this sink may show."""
        if not self.changes:
            return body
        envelope = _decode(body)
        data = _decode(envelope["data"])
        if not self._vendor:
            data.pop("vendor", None)
        if self._mask:
            for side in ("from", "to"):
                if side in data:
                    data[side] = Raw(_encode(_masked_party(data[side])))
        envelope["data"] = Raw(_encode(data))
        return _encode(envelope)


def _masked_party(raw: Raw) -> object:
    party = msgspec.json.decode(raw)
    if not isinstance(party, dict):
        return party
    return {name: masked(value) if isinstance(value, str) else value for name, value in party.items()}


def masked(text: str) -> str:
    """All but the last three digits of every number as long as a telephone's become `*`."""

    def stars(match: re.Match[str]) -> str:
        number = match[0]
        hidden = sum(char.isdigit() for char in number) - _KEPT
        out = []
        for char in number:
            out.append("*" if char.isdigit() and hidden > 0 else char)
            hidden -= char.isdigit()
        return "".join(out)

    return _LONG_NUMBER.sub(stars, text)


def for_sink(event: Event, sink: str) -> bool:
    """Whether an entry of the log is meant for this sink."""
    return event.only is None or sink in event.only


def dead_id(sink: str, shard: int, seq: int, event_id: str) -> str:
    """The same event in the same place of the log is the same dead letter."""
    return blake2b(f"{sink}\0{shard}\0{seq}\0{event_id}".encode(), digest_size=16).hexdigest()


def recorded_time(body: bytes) -> bytes:
    """When the event was first seen, as its body says it; empty where it says nothing.

    It stands before `data`, and a quote inside a value is escaped, so the first match is the attribute itself.
    """
    at = body.find(_RECORDED)
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
