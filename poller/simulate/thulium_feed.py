"""What happens on the Thulium system: a call list in Polish local minutes, several recording files per call, late file names."""

from datetime import datetime
from random import Random
from zoneinfo import ZoneInfo

from poller.simulate.people import changes_at, number, row_visible
from poller.simulate.things import Batch, File, Raw, Row, State
from poller.simulate.world import WorldOptions

ZONE = ZoneInfo("Europe/Warsaw")
AGENTS = (("Ewa Testowa", "e.testowa"), ("Jan Żółć", "j.zolc"), ("O'Neil <b>", "oneil"), ("", ""))


def local(epoch: float) -> str:
    """Polish local time without seconds (BEHAVIOUR 2.3)."""
    return datetime.fromtimestamp(epoch, ZONE).strftime("%Y-%m-%d %H:%M")


def feed(rnd: Random, begin: int, calls: int, options: WorldOptions) -> Batch:
    """Rows of one bucket."""
    batch = Batch()
    for index in range(calls):
        _happen(rnd, begin + rnd.randrange(10), index, batch, options)
    return batch


def _happen(rnd: Random, start: int, index: int, batch: Batch, options: WorldOptions) -> None:
    answered = rnd.random() < 0.7
    seconds = rnd.randint(*options.call_seconds) if answered else rnd.randint(1, 30)
    visible = row_visible(rnd, start, start + seconds, options)
    fields = _connection(rnd, start, index, seconds, answered)
    states = [State(visible, fields)]
    if answered and rnd.random() < options.recording_share:
        rows = _recordings(rnd, start, fields, batch, options)
        batch.rows.extend(rows)
        first = rows[0]
        named = {**fields, "filename": first.id}
        states = [state for state in states if visible < first.states[0].visible_at]
        states.append(State(max(visible, first.states[0].visible_at), named, (first.id,)))
    states.extend(_changes(rnd, states[-1], options))
    batch.rows.append(Row("thulium.connections", "call", fields["connection_id"], start, states))


def _connection(rnd: Random, start: int, index: int, seconds: int, answered: bool) -> Raw:
    user, login = rnd.choice(AGENTS) if answered else ("", "")
    # Few digits on purpose: "…​.10" and "…​.1" are two calls.
    return {
        "date": local(start), "src": number(rnd), "dst": rnd.choice(("", "221000222", number(rnd))),
        "disposition": "ANSWERED" if answered else rnd.choice(("NO ANSWER", "BUSY", "FAILED")), "ticket_id": None,
        "outbound_result": "", "duration": seconds, "billsec": max(0, seconds - 4) if answered else 0, "operator": "trunk1",
        "filename": "", "user": user, "user_login": login, "connection_id": f"{start}.{(index + 1) * 10 ** rnd.randrange(2)}{rnd.randrange(1, 10**4)}{rnd.choice(('', '0'))}",
        "type": rnd.choice(("INBOUND", "OUTBOUND")), "queue_id": rnd.choice((4, 7, None)), "topic_id": None,
        "customer_id": rnd.choice((77, None)), "disconnected_by": rnd.choice(("Agent", "Customer", "")), "transferred_to": None,
    }  # fmt: skip


def _changes(rnd: Random, state: State, options: WorldOptions) -> list[State]:
    changed = []
    at = changes_at(rnd, state.visible_at, options)
    if at is not None:
        user, login = "Ola Późna", "o.pozna"
        late = {**state.fields, "user": user, "user_login": login, "billsec": state.fields["billsec"] + 1}
        state = State(at, {**late, "duration": late["duration"] + 1}, state.mentions)
        changed.append(state)
    if rnd.random() < options.rerate_share:
        changed.append(State(state.visible_at + rnd.uniform(1, 600), {**state.fields, "ticket_id": 12}, state.mentions))
    return changed


def _recordings(rnd: Random, start: int, fields: Raw, batch: Batch, options: WorldOptions) -> list[Row]:
    """Created long after the call; a stopped and resumed recording makes several files."""
    rows = []
    folder = rnd.choice(("infolinia", "sprzedaż i żale", "a+b & c%d"))
    stem = datetime.fromtimestamp(start, ZONE).strftime(f"{folder}/%Y-%m-%d/%Y-%m-%d_%H.%M.%S")
    for part in range(2 if rnd.random() < 0.12 else 1):
        created = int(start + fields["duration"] + rnd.uniform(*options.recording_delay)) + part
        name = f"{stem}-{fields['src']}-{fields['connection_id']}{f'-{part}' if part else ''}.{rnd.choice(('ogg', 'mp3', 'wav'))}"
        own = created if options.thulium_filter == "created_at" else start
        visible = row_visible(rnd, own, created, options)
        record = {
            "date": local(start), "created_at": local(created), "src": fields["src"], "dst": rnd.choice(("", fields["dst"])),
            "disposition": "ANSWERED", "duration": fields["duration"], "billsec": fields["billsec"], "filename": name,
            "user": fields["user"], "connection_id": fields["connection_id"], "type": fields["type"],
        }  # fmt: skip
        whole = visible + rnd.uniform(*options.file_delay)
        never = rnd.random() < options.file_never
        batch.files.append(File(f"thulium/{name}", rnd.randrange(1000, 60_000), visible, whole if not never else float("inf"),
                                content_type={"ogg": "audio/ogg", "mp3": "audio/mpeg", "wav": "audio/x-wav"}[name[-3:]]))  # fmt: skip
        states = [State(visible, record)]
        at = changes_at(rnd, visible, options)
        if at is not None:
            states.append(State(at, {**record, "user": "Ola Późna", "billsec": record["billsec"] + 1}))
        rows.append(Row("thulium.recordings", "recording", name, own, states))
    return sorted(rows, key=lambda row: row.states[0].visible_at)
