"""Pure: an event as the body and the headers of one call."""

from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct

from poller import __version__
from poller.each import Attempt
from poller.event import CONTENT_TYPE, instant
from poller.model import Event
from poller.outgoing import Outgoing
from poller.signing import SIGNATURE, SigningKey, sign
from poller.sinks.webhook.config import Config

Headers = list[tuple[bytes, bytes]]
_Shape = Callable[[bytes], tuple[Headers, bytes]]

_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
"""What a CloudEvents header shows as it is (HTTP protocol binding 3.1.3.2); a line break is never among it."""
_STRUCTURED = CONTENT_TYPE.lower().encode()
"""The published library for Node.js takes the charset in no other case, although it has none."""
_attributes = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


class Call(Struct, frozen=True):
    """One attempt, ready to be sent."""

    headers: Headers
    body: bytes
    signatures: tuple[str, ...]
    """Without their versions; a receiver may repeat them in its answer."""

    def __repr__(self) -> str:
        """Without signatures."""
        return f"<Call of {len(self.body)} bytes>"


class Format:
    """Makes the calls of one webhook."""

    def __init__(self, config: Config, keys: Sequence[SigningKey]) -> None:
        self._outgoing = Outgoing(vendor=config.vendor == "include", mask_numbers=config.mask_numbers)
        self._keys = keys
        self._shape: _Shape = _SHAPES[config.format]
        self._constant: Headers = [
            (b"host", config.url.authority.encode()),
            (b"user-agent", f"poller/{__version__}".encode()),
            (b"accept", b"*/*"),
            (b"accept-encoding", b"identity"),  # the answer's first bytes are for people
        ]

    def call(self, event: Event, attempt: Attempt) -> Call:
        """The call for one attempt, signed. Raises ValueError where the event's bytes are no event."""
        try:
            shaped, body = self._shape(self._outgoing.body(event.body))
        except (msgspec.MsgspecError, KeyError) as error:
            raise ValueError(f"the event's bytes are no event ({type(error).__name__})") from None
        signed = sign(self._keys, event.id, int(attempt.at), body)
        headers = [
            *self._constant,
            *shaped,
            (b"content-length", b"%d" % len(body)),
            *((name.encode(), value.encode()) for name, value in signed.items()),
            (b"poller-attempt", b"%d" % attempt.number),
            (b"poller-first-attempt", instant(attempt.first).encode()),
        ]
        if event.replay:
            headers.append((b"poller-replay", b"true"))
        return Call(headers, body, tuple(each.partition(",")[2] for each in signed[SIGNATURE].split(" ")))


def _structured(body: bytes) -> tuple[Headers, bytes]:
    return [(b"content-type", _STRUCTURED)], body


def _binary(body: bytes) -> tuple[Headers, bytes]:
    """`data` alone; the attributes are headers."""
    envelope = _attributes(body)
    data = bytes(envelope.pop("data"))
    headers = [(b"content-type", _text(envelope.pop("datacontenttype")))]
    return headers + list(_as_headers(envelope)), data


def _as_headers(attributes: dict[str, Raw]) -> Iterator[tuple[bytes, bytes]]:
    for name, raw in attributes.items():
        yield b"ce-" + name.encode(), _text(raw)


def _text(raw: Raw) -> bytes:
    """An attribute as a header's value: percent-encoded."""
    return quote(msgspec.json.decode(raw, type=str), safe=_SAFE).encode()


class _Standard(Struct):
    type: Raw
    timestamp: Raw
    data: Raw


def _standard(body: bytes) -> tuple[Headers, bytes]:
    """As Standard Webhooks suggests it. `timestamp`: when the thing began, or where that is not known when we saw it."""
    envelope = _attributes(body)
    plain = _Standard(envelope["type"], envelope.get("time", envelope["recordedtime"]), envelope["data"])
    return [(b"content-type", b"application/json")], _encode(plain)


_SHAPES: dict[str, _Shape] = {"cloudevents": _structured, "cloudevents-binary": _binary, "standard": _standard}
