"""The files of FonoUC recordings (FonoUC's CDRs document, "Get Recording file"; BEHAVIOUR 3.3).

Working clients use the plural path, the document the singular one: both are tried. The `url` of a record is the platform's
own internal address and is never fetched.
"""

from collections.abc import Mapping
from urllib.parse import quote

from poller.model import Request
from poller.protocols import MediaFile

PATHS = ("/reports/recordings/", "/reports/recording/")


class FonoucMedia:
    """By the recording's id alone."""

    def __init__(self, headers: tuple[tuple[str, str], ...]) -> None:
        self._headers = (*headers, ("Accept", "audio/mpeg"))

    def find(self, recording_id: str, known: Mapping[str, object] | None) -> Request | None:
        """The id is enough."""
        return None

    def files(self, recording_id: str, known: Mapping[str, object] | None, found: bytes | None) -> list[MediaFile]:
        """The plural path, then the singular one."""
        size = (known or {}).get("size_bytes")
        expected = size if isinstance(size, int) and size > 0 else None
        return [
            MediaFile(Request(method="GET", path=path + quote(recording_id, safe=""), headers=self._headers), expected)
            for path in PATHS
        ]


def media_url(base_url: str, recording_id: str) -> str:
    """Where a consumer can ask for the file, with the vendor's credentials."""
    return f"{base_url.rstrip('/')}{PATHS[0]}{quote(recording_id, safe='')}"
