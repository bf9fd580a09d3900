"""Where the file of a MOR recording lies: under its mp3_url, which may be relative, absolute, empty or on another host (BEHAVIOUR 1.4)."""

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import msgspec

from poller.errors import Refused
from poller.model import Request
from poller.protocols import MediaFile
from poller.sources.mor.config import Config
from poller.sources.mor.recordings import RecordingsReading, by_uniqueid, media_url
from poller.sources.mor.values import figure


class _Found(msgspec.Struct):
    id: str = ""
    mp3_url: str = ""
    size: str = ""


class MorMedia:
    """See poller.protocols.Media. A file is fetched from the configured host, or from one that the configuration names."""

    def __init__(self, config: Config) -> None:
        self._config = config
        own = urlsplit(config.base_url).hostname or ""
        self._hosts = {own.lower(), *(host.lower() for host in config.media_hosts)}

    def find(self, recording_id: str, known: Mapping[str, object] | None) -> Request | None:
        """Asks for the call's recordings: the list cannot be asked by a recording's id. None where nothing more can be learnt."""
        uniqueid = _text(known, "uniqueid")
        return by_uniqueid(self._config, uniqueid) if uniqueid else None

    def files(self, recording_id: str, known: Mapping[str, object] | None, found: bytes | None) -> list[MediaFile]:
        """The address that MOR shows now, the one in the event, and the usual place. Raises Refused, or what the answer amounts to."""
        candidates = dict.fromkeys(filter(None, (*_listed(recording_id, found), _seen(known), self._usual(known))))
        addresses: dict[str, int | None] = {}
        for address, size in candidates:
            if (url := media_url(self._config.base_url, address)) is not None:
                addresses.setdefault(url, size)
        if not addresses:
            raise Refused(
                f"recording {recording_id}: MOR shows no address of its file and the call's uniqueid is not known; "
                "the file may not be there yet, or the version shows none (mp3_url came after X8)"
            )
        allowed = {
            url: size for url, size in addresses.items() if (urlsplit(url).hostname or "").lower() in self._hosts
        }
        if not allowed:
            host = urlsplit(next(iter(addresses))).hostname
            raise Refused(
                f"recording {recording_id}: its file lies on {host}, which is not the configured host; "
                f"if it is yours, add it: `media_hosts: [{host}]`"
            )
        return [MediaFile(Request(method="GET", path=url), size) for url, size in allowed.items()]

    def _usual(self, known: Mapping[str, object] | None) -> tuple[str, int | None] | None:
        uniqueid = _text(known, "uniqueid")
        return (f"recordings/{quote(uniqueid, safe='')}.mp3", None) if uniqueid else None


def _listed(recording_id: str, found: bytes | None) -> list[tuple[str, int | None]]:
    """The address and size of this recording in an answer to `find`."""
    if not found:
        return []
    reading = RecordingsReading()
    records = reading.feed(found)
    records += reading.close().records
    listed = []
    for record in records:
        try:
            item = msgspec.json.decode(record, type=_Found)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        if item.id.strip() == recording_id and item.mp3_url.strip():
            size = figure(item.size)
            listed.append((item.mp3_url, int(size) if size else None))
    return listed


def _seen(known: Mapping[str, object] | None) -> tuple[str, int | None] | None:
    url = _text(known, "media_url")
    size = known.get("size_bytes") if known else None
    return (url, size if isinstance(size, int) and size > 0 else None) if url else None


def _text(known: Mapping[str, object] | None, name: str) -> str:
    value = known.get(name) if known else None
    return value if isinstance(value, str) else ""
