"""What a replay takes out of the log and puts in again: pure."""

import math

import hypothesis.strategies as st
import msgspec
import pytest
from delivery_events import call_event
from hypothesis import given
from msgspec import structs

from poller.metrics import EVENT_TYPES
from poller.model import Event
from poller.replay import MOST_EVENTS, again, as_option, has_room, moment, types_of, wanted

NAMES = st.sampled_from(["crm", "kafka", "audit"])
ONLY = st.none() | st.lists(NAMES, unique=True, max_size=3).map(tuple)
EVENTS = st.builds(
    lambda call, seq, state, new, only, replay, seen: structs.replace(
        (event := call_event(call, seq, state=state, new=new)),
        only=only,
        replay=replay,
        seen=event.seen if seen else None,
    ),
    call=st.text(max_size=10),
    seq=st.integers(1, 1 << 40),
    state=st.text(max_size=5),
    new=st.booleans(),
    only=ONLY,
    replay=st.booleans(),
    seen=st.booleans(),
)
TYPES = st.lists(st.sampled_from(EVENT_TYPES), unique=True).map(tuple)
TIMES = st.floats(946_684_801, 4e9)


@given(EVENTS, NAMES, TYPES)
def test_originals_for_the_sink_of_these_types_are_sent_again(event: Event, sink: str, types: tuple[str, ...]) -> None:
    original = event.seen is not None and not event.replay
    meant = event.only is None or sink in event.only
    assert wanted(event, sink, types) == (original and meant and (event.type in types or not types))


@given(EVENTS, st.integers(1, 1 << 60), NAMES)
def test_a_copy_differs_in_its_number_alone_and_is_for_one_sink(event: Event, seq: int, sink: str) -> None:
    copy = again(event, seq, sink)
    before, after = msgspec.json.decode(event.body), msgspec.json.decode(copy.body)
    assert int(after.pop("sequence")) == seq
    assert before.pop("sequence") is not None
    assert list(after.items()) == list(before.items())
    assert (copy.only, copy.replay, copy.seen) == ((sink,), True, None)
    kept = ("id", "type", "source", "subject", "time", "key")
    assert [getattr(copy, name) for name in kept] == [getattr(event, name) for name in kept]
    assert not any(wanted(copy, name, ()) for name in ("crm", "kafka", "audit")), "a copy is never copied"


@given(st.integers(0, 200_000), st.integers(0, 1 << 40), st.none() | st.integers(0, 1 << 32))
def test_what_a_replay_fills_is_a_part_of_what_a_sink_may_have(events: int, size: int, limit: int | None) -> None:
    if has_room(events, size, limit):
        assert events <= MOST_EVENTS
        assert limit is None or size * 4 <= limit
    else:
        assert events > MOST_EVENTS or (limit is not None and size > limit // 4)


@given(TIMES)
def test_a_time_is_read_back_and_never_later(at: float) -> None:
    found = moment(as_option(at), now=0.0)
    assert found <= at
    assert at - found < 0.002


@given(TIMES, st.integers(0, 10_000))
def test_durations_count_from_now(now: float, minutes: int) -> None:
    assert math.isclose(moment(f"{minutes}m", now), now - 60 * minutes)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("now", 1e9),
        ("2026-01-31", 1_769_817_600.0),
        ("2026-01-31T10:00+01:00", 1_769_850_000.0),
        ("2026-01-31T09:00:00Z", 1_769_850_000.0),
        ("2026-01-31 09:00", 1_769_850_000.0),
    ],
)
def test_times(text: str, at: float) -> None:
    assert moment(text, 1e9) == at


@pytest.mark.parametrize("text", ["yesterday", "", "5", "1999-12-31", "2026-13-01", "-5m"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no time: write now|before the year 2000"):
        moment(text, 1e9)


def test_patterns_of_types() -> None:
    assert types_of([]) == ()
    assert types_of(["telephony.call.*"]) == ("telephony.call.new", "telephony.call.updated")
    assert types_of(["*.new", "telephony.call.new"]) == ("telephony.call.new", "telephony.recording.new")
    for wrong in ("call", "telephony.fax.*", "Telephony.call.new", ""):
        with pytest.raises(ValueError, match=r"is no type of event; there are: telephony\.call\.new"):
            types_of(["telephony.call.new", wrong])
