"""fonouc.recordings: what is known of each recorded file (FonoUC's CDRs document, BEHAVIOUR 3.3 and 3.4).

`cdr_id` may name the wrong month, so the call is linked by `call_id`. The metadata come before the audio.
"""

import msgspec
from msgspec import Raw, Struct, field

from poller.errors import BadRecord
from poller.jsontext import Text, fields, number, words
from poller.jsontext import normal as plain
from poller.model import Ask, Keys, Kind, Normal, Party, RecordingData, Request, Window, utc
from poller.sources.fonouc.config import RecordingsOptions
from poller.sources.fonouc.epochs import epoch
from poller.sources.fonouc.media import media_url
from poller.sources.fonouc.pages import PageReading, limits, page_request

_DAY = 86_400
_IDS = frozenset({"_id", "media_recording_id", "call_id"})


class _Key(Struct, gc=False):
    id: Text = field(name="_id", default="")
    start: Text = ""
    pvt_created: Text = ""
    interaction_id: Text = ""
    duration: Text = ""
    caller_id_number: Text = ""
    callee_id_number: Text = ""
    from_: Text = field(name="from", default="")
    to: Text = ""
    attachments: Raw = field(name="_attachments", default=Raw(b"null"))
    media_recording_id: Text = ""


class _Recording(_Key, gc=False):
    call_id: Text = ""
    cdr_id: Text = ""
    content_type: Text = ""
    name: Text = ""
    caller_id_name: Text = ""
    callee_id_name: Text = ""


class _File(Struct):
    length: Text = None
    content_type: Text = None


_key = msgspec.json.Decoder(_Key).decode
_recording = msgspec.json.Decoder(_Recording).decode
_names = msgspec.json.Decoder(dict[str, dict[str, Raw] | None] | None).decode
_files = msgspec.json.Decoder(dict[str, _File] | None).decode


class Recordings:
    """The endpoint."""

    name = "fonouc.recordings"
    kind: Kind = "recording"
    version = 1
    limits = limits(shows_own_time=True)
    asks: tuple[Ask, ...] = (Ask(),)

    def __init__(self, options: RecordingsOptions, headers: tuple[tuple[str, str], ...], base_url: str) -> None:
        self._options = options
        self._headers = headers
        self._base_url = base_url

    def request(self, ask: Ask, window: Window, cursor: str | None) -> Request:
        """One page, newest first."""
        return page_request(self._options, self._headers, window, cursor)

    def reading(self, ask: Ask, window: Window, cursor: str | None) -> PageReading:
        """The answer to it."""
        return PageReading(self.name, self._options, window, cursor)

    def keys(self, record: bytes, offset: int | None) -> Keys:
        """The document's id, and the state of duration, size and numbers. Its own time is what the filter looks at."""
        try:
            found = _key(record)
        except (ValueError, RecursionError):
            found = fields(record, _key, _Key, _IDS)
        size = _file(found.attachments).length
        caller, callee = _numbers(found)
        own = epoch(found.pvt_created if self._options.filter == "pvt_created" else found.start)
        state = "\x1f".join(map(plain, (found.duration, size, caller, callee)))
        return Keys(_id(found), int(_began(found) // _DAY), state, own=own)

    def normalise(self, record: bytes, offset: int | None) -> Normal:
        """The recording, under its call's id."""
        try:
            found = _recording(record)
        except (ValueError, RecursionError):
            found = fields(record, _recording, _Recording, _IDS)
        identity, call_id = _id(found), words(found.call_id)
        file = _file(found.attachments)
        size = number(file.length)
        created = epoch(found.pvt_created)
        started = utc(_began(found))
        caller, callee = _numbers(found)
        data = RecordingData(
            recording_id=identity,
            call_id=call_id,
            cdr_id=words(found.cdr_id),
            interaction_id=words(found.interaction_id),
            started_at=started,
            created_at=utc(created) if created is not None else None,
            duration_seconds=number(found.duration),
            size_bytes=int(size) if size is not None else None,
            content_type=words(found.content_type) or words(file.content_type),
            filename=words(found.name),
            from_=Party(caller or None, words(found.caller_id_name)),
            to=Party(callee or None, words(found.callee_id_name)),
            media_url=media_url(self._base_url, identity),
            vendor=Raw(record),
        )
        return Normal(data=data, subject=identity, time=started, partition_key=call_id or identity)


def _id(found: _Key) -> str:
    identity = plain(found.id) or plain(found.media_recording_id)
    if not identity:
        raise BadRecord("a recording without _id")
    return identity


def _began(found: _Key) -> float:
    """The recording's start, else the interaction's, else the time of saving: only to place the key."""
    began = epoch(found.start) or epoch(plain(found.interaction_id).partition("-")[0]) or epoch(found.pvt_created)
    if began is None:
        raise BadRecord(f"no sane start in start {found.start!r:.60} and pvt_created {found.pvt_created!r:.60}")
    return began


def _numbers(found: _Key) -> tuple[str, str]:
    caller = plain(found.caller_id_number) or plain(found.from_).partition("@")[0]
    callee = plain(found.callee_id_number) or plain(found.to).partition("@")[0]
    return caller.strip(), callee.strip()


def _file(attachments: Raw) -> _File:
    """The largest attached file; an empty one where there is none, or none that can be read."""
    try:
        files = _files(attachments)
    except (ValueError, RecursionError):
        files = None
    found = max((files or {}).values(), key=lambda file: number(file.length) or 0, default=_File())
    if found.length is None:
        _check_names(attachments)
    return found


def _check_names(attachments: Raw) -> None:
    """A size whose name holds bytes of another charset is not seen: without it the recording would be in a state that it never had."""
    try:
        files = _names(attachments)
    except (ValueError, RecursionError):
        return
    if any("\ufffd" in name for file in (files or {}).values() for name in file or ()):
        raise BadRecord("an attached file has field names with bytes that are no UTF-8: its size cannot be told")
