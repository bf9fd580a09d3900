"""The files of Thulium recordings: `filename` is the handle (Thulium's recordings document, BEHAVIOUR 2.3)."""

from collections.abc import Mapping
from urllib.parse import quote

from poller.errors import Refused
from poller.model import Request
from poller.protocols import MediaFile

PATHS = ("/recordings/download", "/recordings/stream")

_TYPES = {
    "ogg": "audio/ogg",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "pgp": "application/pgp-encrypted",
    "gpg": "application/pgp-encrypted",
}


class ThuliumMedia:
    """By the file name alone; the name goes into the query and never chooses a path."""

    def __init__(self, basic: tuple[str, str]) -> None:
        self._basic = basic

    def find(self, recording_id: str, known: Mapping[str, object] | None) -> Request | None:
        """The file name is enough."""
        return None

    def files(self, recording_id: str, known: Mapping[str, object] | None, found: bytes | None) -> list[MediaFile]:
        """`download`, then `stream`."""
        if not recording_id.strip():
            raise Refused("thulium: this call was not recorded: it has no filename")
        return [
            MediaFile(Request(method="GET", path=path, query=(("filename", recording_id),), basic=self._basic))
            for path in PATHS
        ]


def media_url(base_url: str, filename: str) -> str:
    """Where a consumer can ask for the file, with the vendor's credentials."""
    return f"{base_url.rstrip('/')}{PATHS[0]}?filename={quote(filename, safe='')}"


def content_type(filename: str) -> str | None:
    """By the file's ending: the tenant chooses OGG, MP3 or WAV, and perhaps encryption."""
    return _TYPES.get(filename.rpartition(".")[2].lower())
