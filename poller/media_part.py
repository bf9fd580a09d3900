"""A file on its way: `<name>.part` with what has come so far, `<name>.part.json` with what it is a part of."""

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from poller.errors import Permanent
from poller.model import Request
from poller.private import owner

_ENDINGS = {
    "audio/mpeg": ".mp3",
    "audio/mp3": ".mp3",
    "audio/ogg": ".ogg",
    "application/ogg": ".ogg",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "audio/wave": ".wav",
    "application/pgp-encrypted": ".pgp",
}


class Origin(Struct, frozen=True):
    """What the bytes that have come are the beginning of. `place`: a hash, for the address may carry credentials."""

    place: str
    total: int | None = None
    tag: str | None = None
    """A strong ETag, else a Last-Modified: what a server takes in If-Range."""


def place_of(recording_id: str, request: Request) -> str:
    """A name for where a file comes from that tells nothing of it."""
    text = repr((recording_id, request.path, request.query))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def safe_name(recording_id: str) -> str:
    """A file name derived from an id: letters, digits, `.`, `-` and `_` only, told apart by a hash where that loses anything."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", recording_id).strip("._-")[:100]
    if name and name == recording_id:
        return name
    return f"{name or 'recording'}-{hashlib.blake2b(recording_id.encode(), digest_size=4).hexdigest()}"


class Part:
    """The unfinished file of one target."""

    def __init__(self, target: Path, recording_id: str) -> None:
        self._inside = target.is_dir()
        self._target = target / safe_name(recording_id) if self._inside else target
        self.path = self._target.with_name(f"{self._target.name}.part")
        self._notes = self._target.with_name(f"{self._target.name}.part.json")
        if not self._target.parent.is_dir():
            raise Permanent(f"{self._target.parent} is no folder: make it, or give another path to write to")

    def size(self) -> int:
        """Bytes that have come."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def origin(self) -> Origin | None:
        """What they are a part of; None where that is not known."""
        try:
            return msgspec.json.decode(self._notes.read_bytes(), type=Origin)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    def begin(self, origin: Origin) -> None:
        """Starts over."""
        for path, data in ((self.path, b""), (self._notes, msgspec.json.encode(origin))):
            with open(path, "wb", opener=owner) as file:
                file.write(data)

    def drop(self) -> None:
        """Forgets what has come."""
        for path in (self.path, self._notes):
            with suppress(FileNotFoundError):
                path.unlink()

    def finish(self, content_type: str) -> Path:
        """Makes it the target, durably, in one step. A name of our own gets the ending of its type."""
        target = self._target
        ending = _ENDINGS.get(content_type, "")
        if self._inside and not target.name.lower().endswith(ending):
            target = target.with_name(target.name + ending)
        _sync(self.path)
        self.path.replace(target)
        _sync(target.parent)
        with suppress(FileNotFoundError):
            self._notes.unlink()
        return target


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
