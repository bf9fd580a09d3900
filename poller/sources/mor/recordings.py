"""mor.recordings: recordings of the login's own users (`recordings_get`, X7 and newer; BEHAVIOUR 1.4)."""

import re
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Raw, Struct

from poller.errors import BadRecord, ClockChange, Malformed
from poller.model import DAY, Ask, Keys, Kind, Limits, Normal, Page, Party, RecordingData, Request, Window, utc
from poller.sources.mor.clocks import instant
from poller.sources.mor.config import Config, RecordingsOptions
from poller.sources.mor.params import compose, sign
from poller.sources.mor.records import read_record
from poller.sources.mor.refusals import NOTHING, refusal
from poller.sources.mor.values import dated, figure, number, seconds_of, uniqueid_epoch
from poller.sources.mor.xml import Document

PATH = "recordings_get"
_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav", "ogg": "audio/ogg"}

_SAFE = "%/:?=&+,;@!$'()*~"
_LONE = re.compile("%(?![0-9A-Fa-f]{2})")


class _Recording(Struct, gc=False):
    id: str = ""
    user_id: str = ""
    date: str = ""
    duration: str = ""
    source: str = ""
    destination: str = ""
    size: str = ""
    mp3_url: str = ""
    uniqueid: str = ""


_decoder = msgspec.json.Decoder(_Recording)


class Recordings:
    """One list of recordings; see poller.protocols.Endpoint."""

    name = "mor.recordings"
    kind: Kind = "recording"
    version = 1
    asks: tuple[Ask, ...] = (Ask(),)

    def __init__(self, config: Config, options: RecordingsOptions) -> None:
        self._config = config
        self._zone = ZoneInfo(config.timezone) if config.timezone else None
        self.limits = Limits(max_span=31 * DAY, first_span=3600, zone=config.timezone)

    def request(self, ask: Ask, window: Window, cursor: str | None) -> Request:
        """Both ends are inclusive, and they must differ. Only the secret is hashed, whatever is asked for."""
        times = {"date_from": str(window.begin), "date_till": str(max(window.end, window.begin + 1))}
        return compose(self._config.method, PATH, _signed(self._config, times))

    def reading(self, ask: Ask, window: Window, cursor: str | None) -> "RecordingsReading":
        """Reads one answer."""
        return RecordingsReading()

    def keys(self, record: bytes, offset: int | None) -> Keys:
        """By the recording's id. Raises BadRecord."""
        recording = _read(record)
        at, local = self._start(recording)
        state = "\x1f".join(
            (
                recording.source.strip(),
                recording.destination.strip(),
                number(recording.user_id),
                _plain(seconds_of(recording.duration), recording.duration),
                number(recording.size),
            )
        )
        day = (local if at is None else at) // DAY
        return Keys(recording.id.strip(), day, state, at)

    def normalise(self, record: bytes, offset: int | None) -> Normal:
        """A recording as it is now; numbers and length may come later, when its call is written. Raises BadRecord."""
        recording = _read(record)
        at, _ = self._start(recording)
        url = media_url(self._config.base_url, recording.mp3_url)
        filename = _basename(url)
        uniqueid = _uniqueid(recording)
        size = figure(recording.size)
        data = RecordingData(
            recording_id=recording.id.strip(),
            uniqueid=uniqueid,
            started_at=None if at is None else utc(at),
            duration_seconds=seconds_of(recording.duration),
            size_bytes=None if size is None else int(size),
            content_type=_TYPES.get(filename.rpartition(".")[2].lower()) if filename else None,
            filename=filename,
            from_=Party(recording.source.strip() or None),
            to=Party(recording.destination.strip() or None),
            media_url=url,
            vendor=Raw(record),
        )
        key = uniqueid or data.recording_id
        return Normal(data=data, subject=data.recording_id, time=data.started_at, partition_key=key)

    def _start(self, recording: _Recording) -> tuple[int | None, int]:
        """(the call's start in UTC, None while nothing tells the zone; the second as it is written)."""
        found = dated(recording.date)
        if found is None:
            raise BadRecord(f"recording {recording.id[:40]!r}: date {recording.date[:40]!r} is no date")
        local, offset = found
        uniqueid = _uniqueid(recording)
        at, precision = instant(local, uniqueid_epoch(uniqueid) if uniqueid else None, offset, self._zone)
        return (at if precision == "second" else None), local


class RecordingsReading:
    """One answer; "No Recordings found" is the empty list, and an open `<page>` at its end is forgiven."""

    def __init__(self) -> None:
        self.offset: int | None = None
        self._document = Document("recording", "recordings", may_lack_end=True)

    def feed(self, data: bytes) -> list[bytes]:
        """The recordings that are whole now."""
        return self._document.feed(data)

    def close(self) -> Page:
        """Raises Denied or Refused in MOR's words, ClockChange, and BadAnswer."""
        rest = self._document.close()
        words = self._document.error
        if words and words.lower().startswith(NOTHING) and not self._document.count:
            return Page(records=rest, total=0)
        if words and "greater than date till" in words.lower():
            raise ClockChange(
                f"MOR answers {words[:80]!r} although the end came later: its clock was put back in between"
            )
        words = words or (self._document.facts.get("error_msg") if not self._document.count else None)
        if words:
            raise refusal(words, PATH)
        if not self._document.listed:
            raise Malformed("the answer holds no list of recordings, and does not say that there are none")
        return Page(records=rest)


def by_uniqueid(config: Config, uniqueid: str) -> Request:
    """The recordings of one call; MOR ignores every other filter then, and hashes none."""
    return compose(config.method, PATH, _signed(config, {"uniqueid": uniqueid}))


def media_url(base_url: str, found: str) -> str | None:
    """The address of a file: absolute, or relative to where the API lies (`/billing/api` → `/billing/recordings/…`)."""
    found = found.strip()
    if not found:
        return None
    try:
        url = urljoin(base_url.rstrip("/"), found if "/" in found else f"recordings/{found}")
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return None
    return _escaped(parts) if usable else None


def _escaped(parts: SplitResult) -> str:
    """File names hold blanks and letters that an address cannot; what is escaped already stays."""
    escaped = {
        name: _LONE.sub("%25", quote(getattr(parts, name), safe=_SAFE)) for name in ("path", "query", "fragment")
    }
    return urlunsplit(parts._replace(**escaped))


def _signed(config: Config, params: dict[str, str]) -> dict[str, str]:
    return {"u": config.username, **params, "hash": sign([], config.api_secret.reveal())}


def _read(record: bytes) -> _Recording:
    recording = read_record(record, _decoder, "recording")
    if not recording.id.strip():
        raise BadRecord("the recording has no id")
    return recording


def _plain(value: float | None, text: str) -> str:
    """One form for `00:01:03`, `1:03` and `63`; words stay words."""
    return text.strip() if value is None else f"{value:g}"


def _basename(url: str | None) -> str | None:
    return unquote(urlsplit(url).path).rpartition("/")[2] or None if url else None


def _uniqueid(recording: _Recording) -> str | None:
    """The call's uniqueid: named, or the stem of the file's name where that is one."""
    if recording.uniqueid.strip():
        return recording.uniqueid.strip()
    stem = recording.mp3_url.strip().rpartition("/")[2].rpartition(".")[0]
    return stem if stem and uniqueid_epoch(stem) is not None else None
