"""What happens on the FonoUC system: several legs per call, late dispositions, recordings in the month of their end."""

from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

from poller.simulate.people import EXTENSIONS, changes_at, name, number, row_visible
from poller.simulate.things import Batch, File, Raw, Row, State
from poller.simulate.world import WorldOptions

GREGORIAN = 62_167_219_200
"""Seconds from year 0 to 1970: Kazoo's epoch (BEHAVIOUR 3.4)."""


@dataclass(slots=True)
class _Leg:
    call_id: str
    start: int
    seconds: int
    saved: int
    outbound: bool
    caller: str
    callee: str


def month(epoch: float) -> str:
    """`YYYYMM` in UTC, the name of the database and the prefix of an id."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y%m")


def feed(rnd: Random, begin: int, calls: int, options: WorldOptions) -> Batch:
    """Rows of one bucket."""
    batch = Batch()
    for _ in range(calls):
        _happen(rnd, begin + rnd.randrange(10), batch, options)
    return batch


def _happen(rnd: Random, start: int, batch: Batch, options: WorldOptions) -> None:
    """One interaction: one to three legs, the first of them answered or not, some recorded (one of them twice)."""
    interaction = f"{start + GREGORIAN}-{rnd.randrange(16**8):08x}"
    for part in range(rnd.choice((1, 1, 2, 3))):
        leg = _leg(rnd, start + part, options)
        recorded: list[Row] = []
        if leg.seconds and rnd.random() < options.recording_share:
            recorded = _recordings(rnd, leg, interaction, batch, options)
            batch.rows.extend(recorded)
        batch.rows.append(_cdr(rnd, leg, interaction, start, recorded, options))


def _leg(rnd: Random, start: int, options: WorldOptions) -> _Leg:
    answered = rnd.random() < 0.7
    seconds = rnd.randint(*options.call_seconds) if answered else 0
    host = rnd.choice(("@198.51.100.9", "@pbx-01.example", ""))
    return _Leg(
        call_id=f"{rnd.randrange(16**12):012x}{host}",
        start=start,
        seconds=seconds,
        saved=start + seconds + rnd.randint(1, 12),
        outbound=rnd.random() < 0.5,
        caller=number(rnd),
        callee=rnd.choice(EXTENSIONS) if rnd.random() < 0.6 else number(rnd),
    )


def shown_time(epoch: int, rnd: Random) -> object:
    """The same instant in one of the epochs and types that were met (BEHAVIOUR 3.2)."""
    return rnd.choice((str(epoch + GREGORIAN), epoch + GREGORIAN, epoch, str(epoch), epoch * 1000))


def _cdr(rnd: Random, leg: _Leg, interaction: str, first: int, recorded: list[Row], options: WorldOptions) -> Row:
    media = recorded[0].id if recorded else ""
    visible = row_visible(rnd, leg.saved, leg.saved, options)
    fields: Raw = {
        "id": f"{month(first)}-{leg.call_id}", "call_id": leg.call_id,
        "datetime": datetime.fromtimestamp(leg.start, UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC"),
        "timestamp": shown_time(leg.start, rnd), "direction": "Outbound" if leg.outbound else "Inbound",
        "caller_id_name": name(rnd), "caller_id_number": leg.caller, "callee_id_name": name(rnd), "callee_id_number": leg.callee,
        "to": f"{leg.callee}@acme.example", "from": f"{leg.caller}@198.51.100.9", "duration_seconds": leg.saved - leg.start,
        "billing_seconds": rnd.choice((str(leg.seconds), leg.seconds)), "ringing_seconds": leg.saved - leg.start - leg.seconds,
        "hangup_cause": "NORMAL_CLEARING" if leg.seconds else rnd.choice(("NO_ANSWER", "USER_BUSY", "ORIGINATOR_CANCEL")),
        "media_recording_id": media, "recording_filename": f"{media[7:19]}.mp3" if media else "",
        "interaction_id": interaction, "a_leg": leg.call_id,
    }  # fmt: skip
    if rnd.random() < 0.2:
        del fields["direction"]
    states = [State(visible, fields, (media,) if media else ())]
    states.extend(_changes(rnd, states[0], options))
    # A CDR lies in the month in which its interaction began, though it is listed by when it was saved.
    place = {"month": month(first), "id": fields["id"]}
    return Row("fonouc.cdrs", "call", leg.call_id, leg.saved, states, place=place)


def _changes(rnd: Random, state: State, options: WorldOptions) -> list[State]:
    """The late disposition of a call centre: the pilot number gives way to the agent who took the call."""
    changed = []
    at = changes_at(rnd, state.visible_at, options)
    if at is not None:
        agent = {"callee_id_number": "2077", "queue_name": "sales", "agent_disposition": "Sale", "disposition": "Lead"}
        state = State(at, {**state.fields, **agent, "hangup_cause": "ATTENDED_TRANSFER"}, state.mentions)
        changed.append(state)
    if rnd.random() < options.rerate_share:
        changed.append(State(state.visible_at + rnd.uniform(1, 600), {**state.fields, "notes": "x"}, state.mentions))
    return changed


def _recordings(rnd: Random, leg: _Leg, interaction: str, batch: Batch, options: WorldOptions) -> list[Row]:
    rows = []
    for _ in range(2 if rnd.random() < 0.1 else 1):
        saved = int(leg.start + leg.seconds + rnd.uniform(*options.recording_delay))
        key = f"{month(leg.start)}-{rnd.randrange(16**32):032x}"
        visible = row_visible(rnd, saved, saved, options)
        whole = visible + rnd.uniform(*options.file_delay)
        never = rnd.random() < options.file_never
        file = File(f"fonouc/{key}", rnd.randrange(1000, 60_000), visible, whole if not never else float("inf"))
        batch.files.append(file)
        states = [State(visible, _recording(leg, interaction, key, saved, file.size))]
        at = changes_at(rnd, visible, options)
        if at is not None:
            longer = {"duration": leg.seconds + 1, "duration_ms": leg.seconds * 1000 + 1000}
            states.append(State(at, {**states[0].fields, **longer}))
        # A recording lies in the month in which it was saved.
        place = {"month": month(saved), "id": key}
        rows.append(Row("fonouc.recordings", "recording", key, saved, states, place=place))
    return rows


def _recording(leg: _Leg, interaction: str, key: str, saved: int, size: int) -> Raw:
    file = f"{key[7:19]}.mp3"
    return {
        "_id": key, "owner_id": "73e6bafa6159397befa649d93738177d", "call_id": leg.call_id, "callee_id_name": "",
        "callee_id_number": leg.callee, "caller_id_name": "Jim Ołówek", "caller_id_number": leg.caller,
        # The month of the saving, not that of the CDR: the link by cdr_id breaks over a month's end (BEHAVIOUR 3.4).
        "cdr_id": f"{month(saved)}-{leg.call_id}", "content_type": "audio/mpeg",
        "custom_channel_vars": {"Media-Name": file, "Media-Recording-ID": key}, "description": f"recording {file}",
        "direction": "outbound" if leg.outbound else "inbound", "duration": leg.seconds, "duration_ms": leg.seconds * 1000 + 340,
        "from": f"{leg.caller}@acme.example", "interaction_id": interaction, "media_source": "recorded", "media_type": "mp3",
        "name": file, "origin": "inbound from offnet to account", "request": f"{leg.callee}@acme.example",
        "source_type": "kzc_recording", "start": leg.start + GREGORIAN, "to": f"{leg.callee}@acme.example",
        "pvt_created": saved + GREGORIAN, "user": {"username": "jim@acme.example", "first_name": "Jim", "last_name": "One"},
        "url": "http://127.0.0.1:60891/recordings/v1",
        "_attachments": {file: {"content_type": "audio/mpeg", "revpos": 0, "digest": "", "length": size, "stub": False}},
    }  # fmt: skip
