"""Ids are stable, tell things apart, and do not know the day."""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from poller.event import instant, sequence
from poller.identity import Identity, event_id, state_hash
from poller.model import Keys, SeenKey

TEXT = st.text(max_size=12)
DAYS = st.integers(0, 60_000)
MAKE = Identity("mor-main", "call")


@given(name=TEXT, state=TEXT, days=st.tuples(DAYS, DAYS), ordinal=st.integers(0, 3))
def test_the_day_is_part_of_neither_hash(name: str, state: str, days: tuple[int, int], ordinal: int) -> None:
    one, other = (MAKE.seen_key(Keys(name, day, state), ordinal) for day in days)
    assert (one.id, one.state) == (other.id, other.state)
    assert [one.day, other.day] == list(days)
    for new in (True, False):
        assert event_id(one, new=new) == event_id(other, new=new)


def test_ids_are_those_of_every_earlier_release() -> None:
    """Changing how they are made publishes everything again."""
    key = Identity("mor-main", "call").seen_key(Keys("1711847109.4411", 19_813, "ANSWERED|63"))
    assert key.id.hex() == "47aaf77421a8a1151e37dadcbdc2df5b"
    assert key.state.hex() == "770bef153554c28e"
    assert event_id(key, new=True) == "47aaf77421a8a1151e37dadcbdc2df5b"
    assert event_id(key, new=False) == "f2c5e3cad7551801c5824bd96d4e9ea6"


KINDS: list[Callable[[str], Identity]] = [
    lambda source: Identity(source, "call"),
    lambda source: Identity(source, "recording"),
]


@given(first=st.tuples(TEXT, TEXT, st.integers(0, 1)), second=st.tuples(TEXT, TEXT, st.integers(0, 1)))
def test_source_kind_and_id_tell_things_apart(first: tuple[str, str, int], second: tuple[str, str, int]) -> None:
    """Also where the end of one could be the beginning of the next."""
    one, other = (KINDS[kind](source).seen_key(Keys(name, 1, "")) for source, name, kind in (first, second))
    assert (one.id == other.id) == (first == second)


@given(name=TEXT, states=st.tuples(TEXT, TEXT))
def test_updates_have_the_same_thing_and_another_event(name: str, states: tuple[str, str]) -> None:
    one, other = (MAKE.seen_key(Keys(name, 1, state)) for state in states)
    assert one.id == other.id
    assert event_id(one, new=True) == event_id(other, new=True)
    assert (event_id(one, new=False) == event_id(other, new=False)) == (states[0] == states[1])
    assert event_id(one, new=True) != event_id(one, new=False)


@given(name=TEXT, states=st.tuples(TEXT, TEXT), ordinals=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_rows_are_told_apart_by_state_and_place(name: str, states: tuple[str, str], ordinals: tuple[int, int]) -> None:
    rows = Identity("mor-main", "call", rows=True)
    one, other = (rows.seen_key(Keys(name, 1, states[i]), ordinals[i]) for i in (0, 1))
    assert (one.id == other.id) == (states[0] == states[1] and ordinals[0] == ordinals[1])
    plain = [MAKE.seen_key(Keys(name, 1, states[0]), ordinal) for ordinal in ordinals]
    assert (plain[0].id == plain[1].id) == (ordinals[0] == ordinals[1])


@given(name=TEXT, day=DAYS, state=TEXT)
def test_a_mention_is_the_same_thing_as_the_listed_recording(name: str, day: int, state: str) -> None:
    recordings = Identity("mor-main", "recording")
    listed, mentioned = recordings.seen_key(Keys(name, day, state)), recordings.mention_key(name, day)
    assert listed.id == mentioned.id
    assert listed.state != mentioned.state
    assert event_id(listed, new=True) == event_id(mentioned, new=True)


@given(st.text(st.characters(exclude_categories=()), max_size=5))
def test_every_text_can_be_hashed(text: str) -> None:
    """Half a character is what a vendor may cut a name to."""
    assert len(state_hash(text)) == 8
    assert isinstance(MAKE.seen_key(Keys(text, 1, text)), SeenKey)


@example(1_700_000_000.9999996)
@given(st.floats(0, 4_000_000_000))
def test_an_instant_is_that_instant(at: float) -> None:
    shown = datetime.fromisoformat(instant(at))
    assert abs(shown.timestamp() - at) <= 0.001
    assert shown.tzinfo == UTC
    assert len(instant(at)) == len("2026-01-01T00:00:00.000Z")


def test_an_instant_right_before_a_second() -> None:
    assert instant(1_700_000_000.9999999) in {"2023-11-14T22:13:20.999Z", "2023-11-14T22:13:21.000Z"}


@given(st.integers(0, 10**18), st.integers(0, 10**18))
def test_sequences_sort_as_numbers_do(one: int, other: int) -> None:
    assert (sequence(one) < sequence(other)) == (one < other)
    assert int(sequence(one)) == one
    assert msgspec.json.encode(sequence(one))
