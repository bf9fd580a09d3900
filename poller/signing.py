"""Signatures after Standard Webhooks (specification 1.0.0): keys, the three `webhook-` headers, and their verification.

Pure: no I/O, and the clock is given. What is signed is `id.timestamp.body`, with HMAC-SHA256 (`v1`) or Ed25519 (`v1a`).
The library for Ed25519 is loaded with the first such key: it costs 7 MB, and most keys are of the other kind.
"""

import binascii
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE = 300.0
"""Seconds either way between the attempt and the receiver's clock; what every published library allows."""

_SHORTEST, _LONGEST = 24, 64
_VERSIONS = ("v1", "v1a")
_ID = re.compile(r"[!-\-/-~]+")
"""Printable ASCII without the dot. With one, bytes could move between id, timestamp and body under the same signature."""
_TIMESTAMP = re.compile(r"[0-9]{1,15}")

Failure: TypeAlias = Literal[
    "header_missing", "id_invalid", "timestamp_invalid", "too_old", "too_new", "no_known_version", "signature_wrong"
]


class HmacKey:
    """A secret that both sides know (`whsec_`). Takes its 24 to 64 bytes; raises ValueError."""

    __slots__ = ("_secret",)
    version = "v1"

    def __init__(self, secret: bytes) -> None:
        if not _SHORTEST <= len(secret) <= _LONGEST:
            raise ValueError(f"a whsec_ key holds {_SHORTEST} to {_LONGEST} bytes, this one {len(secret)}")
        self._secret = secret

    def __repr__(self) -> str:
        """Never the secret."""
        return "<HmacKey>"

    def sign(self, content: bytes) -> bytes:
        """The 32 bytes of the signature."""
        return hmac.digest(self._secret, content, "sha256")

    def fits(self, content: bytes, signature: bytes) -> bool:
        """Whether this key made the signature."""
        return hmac.compare_digest(self.sign(content), signature)


class PublicKey:
    """The half that verifies (`whpk_`) and is no secret. Takes its 32 bytes; raises ValueError."""

    __slots__ = ("_key", "raw")
    version = "v1a"

    def __init__(self, raw: bytes) -> None:
        if len(raw) != 32:
            raise ValueError(f"a whpk_ key holds 32 bytes, this one {len(raw)}")
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 see the top

        self.raw = raw
        self._key = Ed25519PublicKey.from_public_bytes(raw)

    def __repr__(self) -> str:
        """Says which: it may be seen by everybody."""
        return f"<PublicKey {_text('whpk', self.raw)}>"

    def fits(self, content: bytes, signature: bytes) -> bool:
        """Whether the private half made the signature."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 see the top

        try:
            self._key.verify(signature, content)
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """The half that signs (`whsk_`). Takes its 64 bytes, the seed and then the public key; raises ValueError."""

    __slots__ = ("_key", "public")
    version = "v1a"

    def __init__(self, raw: bytes) -> None:
        if len(raw) != 64:
            raise ValueError(f"a whsk_ key holds 64 bytes (seed and public key), this one {len(raw)}")
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 see the top

        self._key = Ed25519PrivateKey.from_private_bytes(raw[:32])
        self.public = PublicKey(self._key.public_key().public_bytes_raw())
        if self.public.raw != raw[32:]:
            raise ValueError("the two halves of this whsk_ key do not belong together: it is cut or mixed up")

    def __repr__(self) -> str:
        """Its public half."""
        return f"<PrivateKey of {self.public!r}>"

    def sign(self, content: bytes) -> bytes:
        """The 64 bytes of the signature."""
        return self._key.sign(content)

    def fits(self, content: bytes, signature: bytes) -> bool:
        """Whether this key made the signature."""
        return self.public.fits(content, signature)


SigningKey: TypeAlias = HmacKey | PrivateKey
Key: TypeAlias = SigningKey | PublicKey
_KINDS: dict[str, type[HmacKey] | type[PrivateKey] | type[PublicKey]] = {
    "whsec": HmacKey,
    "whsk": PrivateKey,
    "whpk": PublicKey,
}


# --- keys as text ----------------------------------------------------------------------------------------------------


def read_key(text: str) -> Key:
    """`whsec_…`, `whsk_…` or `whpk_…` → the key. Raises ValueError with a sentence that does not hold the key."""
    if "\n" in text.strip():
        raise ValueError(
            "this holds more than one line: of a pair that `poller webhook keygen --kind ed25519` printed, keep the first line (whsk_) "
            "to sign and give the second (whpk_) to the receiver"
        )
    prefix, _, encoded = text.strip().partition("_")
    kind = _KINDS.get(prefix)
    if kind is None:
        raise ValueError("this is no webhook key: one begins with whsec_, whsk_ or whpk_")
    return kind(_decoded(prefix, encoded))


def read_signing_key(text: str) -> SigningKey:
    """`whsec_…` or `whsk_…` → the key. Raises ValueError with a sentence that does not hold the key."""
    key = read_key(text)
    if isinstance(key, PublicKey):
        raise ValueError("a whpk_ key only verifies: calls are signed with the whsk_ key that it came with")  # noqa: TRY004 the model library collects ValueErrors
    return key


def hmac_text(secret: bytes) -> str:
    """Random bytes → `whsec_…`. Raises ValueError for a wrong number of them."""
    HmacKey(secret)
    return _text("whsec", secret)


def ed25519_texts(seed: bytes) -> tuple[str, str]:
    """32 random bytes → `whsk_…` and the `whpk_…` that belongs to it. Raises ValueError for a wrong number of them."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 see the top

    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return _text("whsk", seed + public), _text("whpk", public)


def _text(prefix: str, raw: bytes) -> str:
    return f"{prefix}_{b64encode(raw).decode()}"


def _decoded(prefix: str, encoded: str) -> bytes:
    """Padding may be missing, as the published libraries allow. Their decoders drop a foreign character in silence, which makes another key."""
    bare = encoded.rstrip("=")
    try:
        return b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(
            f"this {prefix}_ key is not base64 in its standard alphabet (A-Z, a-z, 0-9, + and /), or is cut off"
        ) from None


# --- signing and verifying -------------------------------------------------------------------------------------------


def sign(keys: Sequence[SigningKey], event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt. `timestamp`: Unix seconds of the attempt; several keys: a rotation.

    One space between signatures and none around them: the Python library fails at anything else, valid entries or not.
    Raises ValueError for no keys, and for an id that is not printable ASCII without dots.
    """
    if not keys:
        raise ValueError("a call is signed with at least one key")
    if not _ID.fullmatch(event_id):
        raise ValueError(f"{event_id!r} cannot be a webhook-id: it is printable ASCII without spaces and dots")
    seconds = f"{timestamp:d}"
    if not _TIMESTAMP.fullmatch(seconds):
        raise ValueError(f"{seconds} cannot be a webhook-timestamp: it is Unix seconds")
    content = _content(event_id, seconds, body)
    signatures = " ".join(f"{key.version},{b64encode(key.sign(content)).decode()}" for key in keys)
    return {ID: event_id, TIMESTAMP: seconds, SIGNATURE: signatures}


class Verdict(Struct, frozen=True):
    """What verification found: true only where it is valid.

    `failed`: the check that failed; `message`: the same for people; `key`: which of the given keys it was signed with, from 0.
    """

    failed: Failure | None
    message: str
    key: int | None = None

    def __bool__(self) -> bool:
        """Whether the call is valid."""
        return self.failed is None


def verify(
    keys: Sequence[Key], headers: Mapping[str, str], body: bytes, *, now: float, tolerance: float = TOLERANCE
) -> Verdict:
    """Judges a call as it came: headers in any case, the body's bytes before any parsing, Unix seconds of now.

    One signature by one of the keys is enough. Raises ValueError for no keys.
    """
    if not keys:
        raise ValueError("a call is verified with at least one key")
    lower = {name.lower(): value for name, value in headers.items()}
    for name in (ID, TIMESTAMP, SIGNATURE):
        if not lower.get(name):
            return Verdict("header_missing", f"the header {name} is missing or empty")
    if not _ID.fullmatch(lower[ID]):
        return Verdict("id_invalid", f"{ID} is not printable ASCII without spaces and dots")
    outside = _outside(lower[TIMESTAMP], now, tolerance)
    if outside is not None:  # a failed verdict is false: `or` would pass over it
        return outside
    return _signed(keys, lower[SIGNATURE], _content(lower[ID], lower[TIMESTAMP], body))


def _content(event_id: str, timestamp: str, body: bytes) -> bytes:
    return b"%b.%b.%b" % (event_id.encode(), timestamp.encode(), body)


def _outside(timestamp: str, now: float, tolerance: float) -> Verdict | None:
    """What is wrong with the time of the attempt, if anything."""
    if not _TIMESTAMP.fullmatch(timestamp):
        return Verdict("timestamp_invalid", f"{TIMESTAMP} is no whole number of Unix seconds")
    age = now - int(timestamp)
    if age > tolerance:
        return Verdict("too_old", f"{TIMESTAMP} is {age:.0f} s before this clock; {tolerance:.0f} s are allowed")
    if age < -tolerance:
        return Verdict("too_new", f"{TIMESTAMP} is {-age:.0f} s after this clock; {tolerance:.0f} s are allowed")
    return None


def _signed(keys: Sequence[Key], header: str, content: bytes) -> Verdict:
    entries = [(version, text) for version, comma, text in (part.partition(",") for part in header.split(" ")) if comma]
    known = {version for version, _ in entries} & set(_VERSIONS)
    if not known:
        return Verdict("no_known_version", f"{SIGNATURE} has no signature of version {' or '.join(_VERSIONS)}")
    mine = {key.version for key in keys}
    if not known & mine:
        theirs, ours = " and ".join(sorted(known)), " and ".join(sorted(mine))
        return Verdict(
            "no_known_version", f"{SIGNATURE} has signatures of version {theirs}; the keys given are for {ours}"
        )
    for version, text in entries:
        raw = _signature(text)
        for place, key in enumerate(keys):
            if raw is not None and key.version == version and key.fits(content, raw):
                return Verdict(None, f"valid: a {version} signature by key {place + 1} of {len(keys)}", place)
    return Verdict(
        "signature_wrong",
        "no signature fits a key: another key signed it, or id, timestamp or body are not as they were sent "
        "(the body counts as the bytes that came, before any parsing)",
    )


def _signature(text: str) -> bytes | None:
    """The bytes of a signature. Spare bits at the end of base64 must be zero: another text is another signature."""
    try:
        raw = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if b64encode(raw).decode() == text else None
