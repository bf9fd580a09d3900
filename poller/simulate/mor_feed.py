"""What happens on the MOR system: calls with routing attempts, local calls in halves, recordings that come before their call."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from random import Random
from zoneinfo import ZoneInfo

from poller.simulate.people import EXTENSIONS, NAMES, UNPRINTABLE, changes_at, number, row_visible
from poller.simulate.things import Batch, File, Raw, Row, State
from poller.simulate.world import WorldOptions

ZONE = ZoneInfo("Europe/Vilnius")
PROVIDERS = ("carrier-a", "carrier-b", "Brazīlija Tel", "carrier & sons")
USERS = (2, 5, 9, 14)
_USER_NAMES = {2: "Shop One", 5: "Store Room", 9: "Žemaitė <vip>", 14: "Resold"}


@dataclass(slots=True)
class _Call:
    start: int
    seconds: int
    answered: bool
    user: int
    callee: int
    src: str
    dst: str
    clid: str
    uniqueid: str

    @property
    def end(self) -> int:
        return self.start + self.seconds + 5


def local(epoch: float) -> str:
    """Server-local `YYYY-MM-DD HH:MM:SS`, the only form the database knows (BEHAVIOUR 1.3)."""
    return datetime.fromtimestamp(epoch, ZONE).strftime("%Y-%m-%d %H:%M:%S")


def feed(rnd: Random, begin: int, calls: int, options: WorldOptions) -> Batch:
    """Rows of one bucket."""
    batch = Batch()
    for index in range(calls):
        kind = rnd.random()
        call = _call(rnd, begin, options)
        if kind < 0.12:
            batch.rows.extend(_local_call(rnd, call, options))
        elif kind < 0.16:
            batch.rows.extend(_equal_failures(rnd, call, options))
        else:
            rows = list(_attempts(rnd, call, options))
            batch.rows.extend(rows)
            if call.answered and call.uniqueid and rnd.random() < options.recording_share:
                _recordings(rnd, call, rows[-1], (begin % 10**8) // 10 * 10_000 + index * 2, batch, options)
    return batch


def _call(rnd: Random, begin: int, options: WorldOptions) -> _Call:
    start = begin + rnd.randrange(10)
    src = number(rnd)
    quoted = f'"{rnd.choice(UNPRINTABLE) if rnd.random() < 0.04 else rnd.choice(NAMES)}" <{src}>'
    answered = rnd.random() < 0.7
    return _Call(
        start=start,
        seconds=rnd.randint(*options.call_seconds) if answered else 0,
        answered=answered,
        user=rnd.choice(USERS),
        callee=rnd.choice(USERS) if rnd.random() < 0.2 else 0,
        src=src,
        dst=number(rnd),
        clid=src if rnd.random() < 0.4 else quoted,
        uniqueid="" if rnd.random() < 0.04 or not options.mor_uniqueid else f"{start}.{rnd.randrange(1, 10**6)}",
    )


def call_fields(call: _Call, dispod: str, provider: str, billsec: int) -> Raw:
    """Everything an administrator sees of a call (BEHAVIOUR 1.3, names of about X8)."""
    price = f"{billsec * 0.0013:.4f}"
    return {
        "calldate2": local(call.start), "clid": call.clid, "destination": "Latvia mobile", "did": "", "did_inc_price": "0.0",
        "did_price": "0.0", "did_prov_price": "0.0", "dispod": dispod, "dst": call.dst, "nice_billsec": str(billsec),
        "nice_reseller": "", "prefix": call.dst[:4], "profit": price, "provider_name": provider, "provider_price": price,
        "provider_rate": "0.0013", "reseller_price": "0.0", "reseller_rate": "0.0", "server_id": "1", "src": call.src,
        "user": _USER_NAMES[call.user], "user_price": price, "user_rate": "0.08", "uniqueid": call.uniqueid,
    }  # fmt: skip


def _row(call: _Call, states: list[State], *, counted: bool = False) -> Row:
    shown = states[0].fields
    thing = call.uniqueid or composed(shown)
    place = {"user": call.user, "callee": call.callee, "local": shown["calldate2"]}
    return Row("mor.user_calls", "call", thing, call.start, states, counted or not call.uniqueid, place)


def composed(fields: Raw) -> str:
    """The id of a call without uniqueid."""
    return "|".join(str(fields[name] or "") for name in ("calldate2", "src", "dst", "clid"))


def _attempts(rnd: Random, call: _Call, options: WorldOptions) -> Iterator[Row]:
    """Failed routing attempts share the uniqueid of the attempt that ended the call (BEHAVIOUR 1.3)."""
    visible = row_visible(rnd, call.start, call.end, options)
    tries = rnd.choice((0, 0, 0, 1, 2)) if call.uniqueid else 0
    for provider in rnd.sample(PROVIDERS, tries):
        yield _row(call, [State(visible, call_fields(call, "FAILED(34)", provider, 0))])
    dispod = "ANSWERED(16)" if call.answered else rnd.choice(("NO ANSWER(18)", "BUSY(17)", "FAILED(38)"))
    last = State(visible, call_fields(call, dispod, f"carrier-{rnd.choice('xyz')}", call.seconds))
    yield _row(call, [last, *_changes(rnd, last, options)])


def _changes(rnd: Random, state: State, options: WorldOptions) -> Iterator[State]:
    at = changes_at(rnd, state.visible_at, options)
    fields = state.fields
    if at is not None:
        fields = {**fields, **_change(rnd, fields)}
        yield State(at, fields)
    if rnd.random() < options.rerate_share:
        yield State((at or state.visible_at) + rnd.uniform(1, 900), {**fields, "user_price": "9.99", "profit": "-1.5"})


def _change(rnd: Random, fields: Raw) -> Raw:
    """Re-rated seconds, a corrected disposition, or (never without a uniqueid: dst is in the id then) a transfer."""
    kind = rnd.randrange(3)
    if kind == 0 and fields["uniqueid"]:
        return {"dst": rnd.choice(EXTENSIONS)}
    if kind == 1:
        return {"dispod": "FAILED(41)", "nice_billsec": "0"}
    return {"nice_billsec": str(int(fields["nice_billsec"]) + rnd.randint(1, 30))}


def _equal_failures(rnd: Random, call: _Call, options: WorldOptions) -> Iterator[Row]:
    """Equal failed calls of one second without uniqueid: as many calls as rows."""
    call.uniqueid, call.answered, call.seconds = "", False, 0
    visible = row_visible(rnd, call.start, call.end, options)
    for _ in range(rnd.choice((1, 2, 2, 3))):
        yield _row(call, [State(visible, call_fields(call, "FAILED(34)", "carrier-a", 0))], counted=True)


def _local_call(rnd: Random, call: _Call, options: WorldOptions) -> Iterator[Row]:
    """One row, or the two halves of a local channel, which are one call (BEHAVIOUR 1.5)."""
    extension = rnd.choice(EXTENSIONS)
    serial = f"{rnd.randrange(16**8):08x}"
    halves = (";1", ";2") if rnd.random() < 0.5 else ("",)
    stem = f"Local/{extension}@mor_local-{serial}" if halves[0] else f"SIP/{extension}-{serial}"
    visible = row_visible(rnd, call.start, call.end, options)
    callee = rnd.choice(USERS)
    for half in halves:
        fields = {
            "calldate": {"date": local(call.start), "timezone": ""},
            "originator_device": f"{extension} Front desk",
            "originator_caller_id": call.clid if rnd.random() < 0.5 else "",
            "orignator_ip": rnd.choice(("", "192.0.2.10")),
            "orignator_channel": stem + half,
            "terminator_user": _USER_NAMES[callee],
            "terminator_device": f"{extension} Store",
            "terminator_ip": "192.0.2.44",
        }
        thing = f"{local(call.start)}|{stem}|{extension} Store"
        place = {"user": call.user, "callee": callee, "local": local(call.start)}
        yield Row("mor.local_calls", "call", thing, call.start, [State(visible, fields)], place=place)


def _recordings(rnd: Random, call: _Call, row: Row, number_: int, batch: Batch, options: WorldOptions) -> None:
    """The recording may come before its call's row: empty numbers, user -1, no duration; its size comes with its file."""
    for extra in range(2 if rnd.random() < 0.1 else 1):
        listed = call.end + rnd.uniform(*options.recording_delay)
        whole = listed + rnd.uniform(*options.file_delay)
        never = rnd.random() < options.file_never
        file = File(f"mor/{call.uniqueid}.mp3" if not extra else f"mor/{call.uniqueid}-{extra}.mp3",
                    rnd.randrange(1000, 60_000), listed, whole if not never else float("inf"))  # fmt: skip
        batch.files.append(file)
        moments = sorted({listed, max(listed, row.states[0].visible_at), file.whole_from} - {float("inf")})
        url = rnd.choice(("relative", "absolute", "absolute", "other"))
        states = [State(at, _recording(call, row, number_ + extra, at, file, url)) for at in moments]
        place = {"user": call.user, "local": local(call.start), "uniqueid": call.uniqueid}
        batch.rows.append(
            Row("mor.recordings", "recording", str(number_ + extra), call.start, _distinct(states), place=place)
        )


def _distinct(states: list[State]) -> list[State]:
    return [state for n, state in enumerate(states) if not n or state.fields != states[n - 1].fields]


def _recording(call: _Call, row: Row, number_: int, at: float, file: File, url: str) -> Raw:
    known = row.at(at) is not None
    whole = at >= file.whole_from
    # The offset is taken from the naive date in the database: in the doubled hour it is always the summer one.
    offset = datetime.fromtimestamp(call.start, ZONE).replace(fold=0).strftime("%z")
    hours, rest = divmod(call.seconds if known else 0, 3600)
    return {
        "id": str(number_), "user_id": str(call.user) if known else "-1", "dst_user_id": str(call.callee), "src_device_id": "31",
        "dst_device_id": "0", "date": f"{local(call.start)} {offset}", "comment": "",
        "duration": f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}", "source": call.src if known else "",
        "destination": call.dst if known else "", "size": f"{file.size}.0" if whole else "0.0",
        "mp3_url": f"{url}:{file.name.removeprefix('mor/')}" if whole else "",
    }  # fmt: skip
