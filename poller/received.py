"""A call as a receiver got it: keys from the environment or files, headers and body from files or standard input."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from poller.errors import ConfigError
from poller.options import find_secret
from poller.signing import ID, SIGNATURE, TIMESTAMP, Key, Verdict, read_key, verify

STANDARD_INPUT = Path("-")
_MOST_HEADERS = 1 << 20
_MOST_BODY = 64 << 20
_KEYS = ("whsec_", "whsk_")
_FIRST_LINE = re.compile(r"[A-Z]+ \S+ HTTP/[0-9.]+")


def keys_of(places: Sequence[str], env: Mapping[str, str]) -> list[Key]:
    """`env:NAME` and `file:PATH` → the keys. Raises ConfigError that names every fault and shows no key."""
    found, faults = [], []
    for place in places:
        kind, colon, name = place.partition(":")
        if not colon or kind not in {"env", "file"} or not name or name.startswith(_KEYS):
            # What was written may be the key itself, so it is not repeated.
            raise ConfigError(
                "--key is written env:NAME or file:PATH, never as the key itself: other users of this machine and the "
                "shell's history would show it. If one was written here, replace it: poller webhook keygen makes another"
            )
        try:
            found.append(read_key(find_secret(kind, name, env, Path()).reveal()))
        except ValueError as error:
            faults.append(f"--key {place}: {error}")
    if faults:
        raise ConfigError("\n".join(faults), faults)
    return found


def parts_of(headers: Path, body: Path) -> tuple[dict[str, str], bytes]:
    """The headers by their lower-case names, and the body's bytes. `-` is standard input. Raises ConfigError."""
    if headers == body == STANDARD_INPUT:
        raise ConfigError("--headers and --body cannot both come from standard input: give a file for one of them")
    return headers_of(_bytes(headers, "--headers", _MOST_HEADERS)), _bytes(body, "--body", _MOST_BODY)


def headers_of(text: bytes) -> dict[str, str]:
    """Lines `Name: value`, as HTTP/1.1 writes them; a request line may stand before them. Raises ConfigError."""
    lines = text.decode("latin-1").replace("\r\n", "\n").split("\n")
    first = 1 if _FIRST_LINE.fullmatch(lines[0]) else 0
    found: dict[str, str] = {}
    for number, line in enumerate(lines[first:], first + 1):
        if not line.strip():
            if any(rest.strip() for rest in lines[number:]):
                raise ConfigError(
                    f"--headers (line {number}): it goes on after an empty line: a body belongs into --body"
                )
            break
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon or not name:
            raise ConfigError(f"--headers (line {number}): this is no header: each line is written `Name: value`")
        if name in found and name in {ID, TIMESTAMP, SIGNATURE}:
            raise ConfigError(f"--headers (line {number}): {name} is given twice: which one counts cannot be told")
        found[name] = value.strip()
    return found


def judge(keys: Sequence[Key], headers: Mapping[str, str], body: bytes, *, now: float, tolerance: float) -> Verdict:
    """As `verify`; and says so where only a line end that an editor or a shell put after the body is in the way."""
    verdict = verify(keys, headers, body, now=now, tolerance=tolerance)
    bare = body.rstrip(b"\r\n")
    if verdict.failed != "signature_wrong" or bare == body:
        return verdict
    if not verify(keys, headers, bare, now=now, tolerance=tolerance):
        return verdict
    return Verdict("signature_wrong", "the body ends with a line end that was not sent; without it the signature fits")


def _bytes(path: Path, option: str, most: int) -> bytes:
    try:
        if path == STANDARD_INPUT:
            return _bounded(sys.stdin.buffer, option, most)
        with path.open("rb") as file:
            return _bounded(file, option, most)
    except OSError as error:
        raise ConfigError(f"{option}: {path} cannot be read: {error.strerror or type(error).__name__}") from None


def _bounded(file: BinaryIO, option: str, most: int) -> bytes:
    data = file.read(most + 1)
    if len(data) > most:
        raise ConfigError(f"{option}: longer than {most >> 20} MiB: this is none")
    return data
