"""fonouc.cdrs: one record per leg of a call (FonoUC's CDRs document, BEHAVIOUR 3.2 and 3.4).

The window is by the time of saving, a record shows its start: a record may lie long before the window.
"""

import re

import msgspec
from msgspec import Raw, Struct, field

from poller.errors import BadRecord
from poller.jsontext import Text, fields, number, words
from poller.jsontext import normal as plain
from poller.model import (
    Ask,
    CallData,
    Direction,
    Disposition,
    Keys,
    Kind,
    Mention,
    Normal,
    Party,
    RecordingData,
    RecordingRef,
    Request,
    Window,
    utc,
)
from poller.sources.fonouc.causes import OUTCOMES, Q850
from poller.sources.fonouc.config import CdrsOptions
from poller.sources.fonouc.epochs import EARLIEST, GREGORIAN, LATEST, epoch
from poller.sources.fonouc.pages import PageReading, limits, page_request

_DAY = 86_400
_FIRST, _LAST = GREGORIAN + EARLIEST, GREGORIAN + LATEST
_IDS = frozenset({"call_id", "callid", "id", "msg_id", "media_recording_id"})


class _Usual(Struct, gc=False):
    """What identifies nearly every leg. In the order of the vendor's answers, which is found fastest; nothing else is decoded."""

    call_id: Text = ""
    timestamp: Text = ""
    caller_id_number: Text = ""
    callee_id_number: Text = ""
    billing_seconds: Text = ""
    duration_seconds: Text = ""
    ringing_seconds: Text = ""
    hangup_cause: Text = ""
    media_recording_id: Text = ""
    agent: Text = ""
    agent_name: Text = ""


class _Cdr(Struct, gc=False):
    """All that is read of a leg, in the same order."""

    id: Text = ""
    call_id: Text = ""
    datetime: Text = ""
    timestamp: Text = ""
    caller_id_name: Text = ""
    caller_id_number: Text = ""
    callee_id_name: Text = ""
    callee_id_number: Text = ""
    to: Text = ""
    from_: Text = field(name="from", default="")
    billing_seconds: Text = ""
    duration_seconds: Text = ""
    ringing_seconds: Text = ""
    hangup_cause: Text = ""
    media_recording_id: Text = ""
    recording_filename: Text = ""
    direction: Text = ""
    interaction_id: Text = ""
    agent: Text = ""
    agent_name: Text = ""
    queue_name: Text = ""
    queue: Text = ""
    # only where the usual fields are missing
    callid: Text = ""
    msg_id: Text = ""
    call_direction: Text = ""
    disposition: Text = ""


_usual = msgspec.json.Decoder(_Usual).decode
_cdr = msgspec.json.Decoder(_Cdr).decode


class Cdrs:
    """The endpoint."""

    name = "fonouc.cdrs"
    kind: Kind = "call"
    version = 1
    limits = limits(shows_own_time=False)
    asks: tuple[Ask, ...] = (Ask(),)

    def __init__(self, options: CdrsOptions, headers: tuple[tuple[str, str], ...]) -> None:
        self._options = options
        self._headers = headers

    def request(self, ask: Ask, window: Window, cursor: str | None) -> Request:
        """One page, newest first."""
        return page_request(self._options, self._headers, window, cursor)

    def reading(self, ask: Ask, window: Window, cursor: str | None) -> PageReading:
        """The answer to it."""
        return PageReading(self.name, self._options, window, cursor)

    def keys(self, record: bytes, offset: int | None) -> Keys:
        """The leg's call_id, and the state of cause, numbers, durations, agent and recording id."""
        try:
            leg = _usual(record)
        except (ValueError, RecursionError):
            return _careful(record)
        call_id, caller, callee, began = leg.call_id, leg.caller_id_number, leg.callee_id_number, _stamp(leg.timestamp)
        if call_id.__class__ is not str or not (call_id and caller and callee and began):
            return _careful(record)
        state = (
            f"{leg.hangup_cause}\x1f{caller}\x1f{callee}\x1f{leg.billing_seconds}\x1f{leg.duration_seconds}\x1f"
            f"{leg.ringing_seconds}\x1f{leg.agent or leg.agent_name}\x1f{leg.media_recording_id}"
        )
        if "None" in state or "." in state:  # a null or a number with a fraction
            state = _state(leg, caller, callee)
        return Keys(call_id, began // _DAY, state)

    def normalise(self, record: bytes, offset: int | None) -> Normal:
        """The leg as a call; a recording id becomes a mention."""
        leg = _leg(record)
        call_id = _call_id(leg)
        began = _began(leg)
        started = utc(began)
        duration, billed = number(leg.duration_seconds), number(leg.billing_seconds)
        cause = words(leg.hangup_cause)
        caller = Party(words(leg.caller_id_number) or _user(leg.from_) or None, words(leg.caller_id_name))
        callee = Party(words(leg.callee_id_number) or _user(leg.to) or None, words(leg.callee_id_name))
        recording, filename = words(leg.media_recording_id), words(leg.recording_filename)
        data = CallData(
            call_id=call_id,
            cdr_id=words(leg.id),
            interaction_id=words(leg.interaction_id),
            started_at=started,
            direction=_direction(leg, caller.number, callee.number),
            disposition=_disposition(cause, billed, leg.disposition),
            hangup_cause=cause,
            from_=caller,
            to=callee,
            duration_seconds=duration,
            billable_seconds=billed,
            ringing_seconds=number(leg.ringing_seconds),
            agent=words(leg.agent or leg.agent_name),
            vendor=Raw(record),
        )
        # Set afterwards: of more than fifteen names in one call the interpreter makes a dictionary first.
        if duration is not None:
            data.ended_at = utc(began + duration)
        if cause:
            data.q850_cause = Q850.get(cause)
        data.queue = words(leg.queue_name or leg.queue)
        normal = Normal(data=data, subject=call_id, time=started, partition_key=call_id)
        if recording:
            data.recordings = [RecordingRef(recording, filename)]
            normal.mentions = [_mention(data, recording, filename, began)]
        return normal


def _mention(data: CallData, recording: str, filename: str | None, began: float) -> Mention:
    return Mention(
        id=recording,
        day=int(began // _DAY),
        data=RecordingData(
            recording_id=recording,
            partial=True,
            call_id=data.call_id,
            cdr_id=data.cdr_id,
            interaction_id=data.interaction_id,
            started_at=data.started_at,
            filename=filename,
            from_=data.from_,
            to=data.to,
        ),
    )


def _leg(record: bytes) -> _Cdr:
    try:
        return _cdr(record)
    except (ValueError, RecursionError):
        return fields(record, _cdr, _Cdr, _IDS)


def _careful(record: bytes) -> Keys:
    """The keys of any leg that can be understood."""
    leg = _leg(record)
    caller = leg.caller_id_number or _user(leg.from_)
    callee = leg.callee_id_number or _user(leg.to)
    return Keys(_call_id(leg), int(_began(leg)) // _DAY, _state(leg, caller, callee))


def _state(leg: _Usual | _Cdr, caller: Text, callee: Text) -> str:
    declared = (leg.hangup_cause, caller, callee, leg.billing_seconds, leg.duration_seconds, leg.ringing_seconds)
    return "\x1f".join(map(plain, (*declared, leg.agent or leg.agent_name, leg.media_recording_id)))


def _stamp(value: Text) -> int | None:
    """Unix seconds of Gregorian or Unix seconds; None for anything else."""
    try:
        stamp = int(value)  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        return None
    if _FIRST <= stamp < _LAST:
        return stamp - GREGORIAN
    return stamp if EARLIEST <= stamp < LATEST else None


def _began(leg: _Cdr) -> float:
    """The start, by what shows it. Raises BadRecord."""
    if (stamp := _stamp(leg.timestamp)) is not None:
        return stamp
    found = epoch(leg.timestamp) or epoch(leg.datetime) or epoch(plain(leg.interaction_id).partition("-")[0])
    if found is None:
        raise BadRecord(f"no sane start in timestamp {leg.timestamp!r:.60} and datetime {leg.datetime!r:.60}")
    return found


def _call_id(leg: _Cdr) -> str:
    """The leg's id; without a call_id: another spelling, the CDR's id without its month."""
    if leg.call_id.__class__ is str and leg.call_id:
        return leg.call_id
    found = plain(leg.call_id) or plain(leg.callid) or re.sub(r"^\d{6}-", "", plain(leg.id)) or plain(leg.msg_id)
    if not found:
        raise BadRecord("a record without call_id, id or msg_id")
    return found


def _user(address: Text) -> str:
    """The user part of a SIP address."""
    return plain(address).partition("@")[0].strip() if address else ""


_DIRECTIONS: dict[str, Direction] = {"inbound": "inbound", "outbound": "outbound", "internal": "internal"}


def _direction(leg: _Cdr, caller: str | None, callee: str | None) -> Direction | None:
    """What the record says, else by its numbers: a short one is an extension."""
    said = leg.direction or leg.call_direction
    if said:
        return _DIRECTIONS.get(plain(said).strip().lower())
    if not caller or not callee:
        return None
    inside, reached = _extension(caller), _extension(callee)
    if inside == reached:
        return "internal" if inside else None
    return "outbound" if inside else "inbound"


def _extension(number: str) -> bool:
    return len(number) <= 6 and number.isdecimal()


_WORDS: dict[str, Disposition] = {
    "answered": "answered",
    "no answer": "no_answer",
    "missed": "no_answer",
    "busy": "busy",
    "failed": "failed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}


def _disposition(cause: str | None, billed: float | None, said: Text) -> Disposition:
    """By the talk time and the cause. The vendor's own word counts only without a cause: agents write there, too."""
    if billed:
        return "answered"
    if cause is None:
        return _WORDS.get(plain(said).strip().lower().replace("_", " "), "unknown")
    if cause == "NORMAL_CLEARING":
        return "answered" if billed is None else "no_answer"
    return OUTCOMES.get(cause, "failed")
