"""Files of certificates and keys: what is wrong with one, so that it is said when the configuration is read and not by a failing call."""

import re
import ssl
from functools import lru_cache
from pathlib import Path

_LARGEST = 16 << 20
_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_CERTIFICATES = {"CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CERTIFICATE"}


def issuers_fault(path: Path) -> str | None:
    """A sentence about a file with the issuers to trust, or None."""
    try:
        text = _content(path)
    except ValueError as error:
        return str(error)
    kinds = _kinds(text)
    if not _CERTIFICATES & kinds:
        return f"{path} holds no certificate in PEM form: {_what(text, kinds)}"
    return _loads(path, hash(text))


@lru_cache(maxsize=64)
def _loads(path: Path, content: int) -> str | None:  # noqa: ARG001 a file that changed is looked at again
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        return f"{path} holds a certificate that is damaged: copy it again, from -----BEGIN to the end of the END line"
    return None


def pair_fault(certificate: Path, key: Path | None, password: str | None) -> tuple[str, str] | None:
    """What is wrong with our own certificate and its key: which of `certificate`, `key` and `password`, and a sentence. Or None.

    `key`: None where the first file holds both. The password is in no sentence.
    """
    place, held = ("key", key) if key is not None else ("certificate", certificate)
    for name, path in (("certificate", certificate), (place, held)):
        try:
            text = _content(path)
        except ValueError as error:
            return name, str(error)
        kinds = _kinds(text)
        if name == "certificate" and not _CERTIFICATES & kinds:
            return name, f"{path} holds no certificate in PEM form: {_what(text, kinds)}"
    if not any(kind.endswith("PRIVATE KEY") for kind in kinds):
        return place, f"{held} holds no private key in PEM form: {_what(text, kinds)}"
    locked = b"ENCRYPTED" in text
    if locked and password is None:
        return "password", f"is missing: the key in {held} is protected by a password"
    return _fits(certificate, key, password or "", place, locked=locked)


def _fits(certificate: Path, key: Path | None, password: str, place: str, *, locked: bool) -> tuple[str, str] | None:
    held = key or certificate
    try:  # a password is always given: the library would ask whoever sits at the terminal, and wait
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password)
    except (OSError, ValueError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            return place, f"the key in {held} belongs to another certificate than the one in {certificate}"
        if locked:
            return "password", f"does not open the key in {held}, or that file is damaged"
        return (
            place,
            f"{certificate} and {held} cannot be used together: one of them is damaged, or the key is of a kind that TLS does not take",
        )
    return None


def _content(path: Path) -> bytes:
    """Raises ValueError with a sentence."""
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"{path} is no file")
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from None
    if not text.strip():
        raise ValueError(f"{path} is empty")
    if len(text) > _LARGEST:
        raise ValueError(f"{path} is larger than {_LARGEST >> 20} MiB: it is no PEM file")
    return text


def _kinds(text: bytes) -> set[str]:
    """`CERTIFICATE`, `RSA PRIVATE KEY` and so on."""
    return {found.decode() for found in _BEGIN.findall(text)}


def _what(text: bytes, kinds: set[str]) -> str:
    """What it is instead."""
    if kinds:
        return f"it holds {', '.join(sorted(kinds)).lower()}"
    if text.startswith(b"\x30\x82") or b"\x00" in text:
        return "it looks like DER: `openssl x509 -inform der` (or `openssl pkey -inform der`) writes it as PEM"
    return "it has no line -----BEGIN …-----"
