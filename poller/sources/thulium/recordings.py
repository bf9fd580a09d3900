"""thulium.recordings: answered calls' files, several for one call (Thulium's recordings document, BEHAVIOUR 2.3)."""

from zoneinfo import ZoneInfo

import msgspec
from msgspec import Raw

from poller.errors import BadRecord
from poller.jsontext import Text, fields, number, words
from poller.jsontext import normal as plain
from poller.model import Ask, Keys, Kind, Normal, Party, RecordingData, Request, Window, utc
from poller.sources.thulium.config import RecordingsOptions
from poller.sources.thulium.connections import Row, connection_id, placed
from poller.sources.thulium.media import content_type, media_url
from poller.sources.thulium.pages import PageReading, limits, page_request
from poller.sources.thulium.times import MINUTE, id_instant, instants, resolve, start, sure


class _Recording(Row, gc=False):
    created_at: Text = ""


_recording = msgspec.json.Decoder(_Recording).decode


class Recordings:
    """The endpoint."""

    name = "thulium.recordings"
    kind: Kind = "recording"
    version = 1
    asks: tuple[Ask, ...] = (Ask(),)

    def __init__(self, options: RecordingsOptions, basic: tuple[str, str], timezone: str, base_url: str) -> None:
        self._path = options.path
        self._own = "created_at" if options.filter == "created_at" else "date"
        self._basic = basic
        self._zone = ZoneInfo(timezone)
        self._base_url = base_url
        self.limits = limits(timezone)

    def request(self, ask: Ask, window: Window, cursor: str | None) -> Request:
        """100 rows by creation (or, on old systems, by call date)."""
        return page_request(self._path, self._basic, self._zone, window, cursor)

    def reading(self, ask: Ask, window: Window, cursor: str | None) -> PageReading:
        """The answer to it."""
        return PageReading(self.name, window, cursor)

    def keys(self, record: bytes, offset: int | None) -> Keys:
        """The file name, and the state of durations, numbers and user."""
        row = _row(record)
        hint = id_instant(connection_id(row))
        called = instants(plain(row.date), self._zone)
        created = _created(row, hint, self._zone)
        own = sure(created, None) if self._own == "created_at" and created else sure(called, hint)
        state = "\x1f".join(map(plain, (row.duration, row.billsec, row.src, row.dst, row.user)))
        return Keys(_filename(row), placed(hint, resolve(called, hint)), state, own=own)

    def normalise(self, record: bytes, offset: int | None) -> Normal:
        """The recording, under its call's id."""
        row = _row(record)
        filename, call = _filename(row), connection_id(row)
        hint = id_instant(call)
        began, _ = start(instants(plain(row.date), self._zone), plain(row.date), hint)
        created = _created(row, hint, self._zone)
        started = utc(began) if began is not None else None
        data = RecordingData(
            recording_id=filename,
            connection_id=call or None,
            started_at=started,
            created_at=utc(created[0]) if created else None,
            duration_seconds=number(row.duration),
            content_type=content_type(filename),
            filename=filename,
            from_=Party(words(row.src)),
            to=Party(words(row.dst)),
            media_url=media_url(self._base_url, filename),
            vendor=Raw(record),
        )
        return Normal(data=data, subject=filename, time=started, partition_key=call or filename)


def _row(record: bytes) -> _Recording:
    try:
        return _recording(record)
    except (ValueError, RecursionError):
        return fields(record, _recording, _Recording)


def _filename(row: _Recording) -> str:
    filename = plain(row.filename)
    if not filename:
        raise BadRecord("a recording without filename")
    return filename


def _created(row: _Recording, hint: int | None, zone: ZoneInfo) -> list[int]:
    """A recording is created after its call began: that tells the halves of the doubled hour apart where anything does."""
    epochs = instants(plain(row.created_at), zone)
    return [epoch for epoch in epochs if hint is None or epoch >= hint - MINUTE] or epochs
