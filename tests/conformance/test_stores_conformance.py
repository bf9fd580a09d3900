"""What every store must do. The subjects are found by folder; `tests/stores/<kind>/store_harness.py` says how to open one."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from stores_content import (
    DAY0,
    at_once,
    dead_event,
    dead_events,
    dead_record,
    dead_records,
    event,
    key,
    page,
    place,
    retry,
    segment,
)
from stores_harness import KINDS, NAMES, set_up

from poller.errors import Outdated
from poller.kept import Attempted, Discarded, LetterHead, LetterPlace, LetterTotal, Which
from poller.model import Behind, CheckpointKey, Healing, Held, PageCommit, Position, Segment, Sighting
from poller.protocols import Store
from poller.segment import end, pack, unpack

pytestmark = pytest.mark.anyio


@pytest.fixture(params=KINDS)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    with set_up(request, tmp_path) as one:
        yield one


@pytest.fixture
async def store(harness: Any) -> AsyncIterator[Store]:
    opened = await harness.open()
    yield opened
    await harness.close()


def test_every_kind_is_found() -> None:
    assert {"memory", "postgres", "sqlite"} <= set(NAMES)


async def test_an_empty_store_knows_nothing(store: Store) -> None:
    held = await store.hold(0)
    assert held == Held(0, 1, Position())
    assert await store.look_up(None, [key(1), key(2)]) == {0: Sighting(DAY0, 0), 1: Sighting(DAY0, 0)}
    assert await store.look_up(None, []) == {}
    assert await store.checkpoints() == {}
    assert await store.segments_after(0, 0, 1 << 20) == []
    assert await store.holds(0, Position())
    assert not await store.holds(0, Position(1, b"x" * 16))
    assert await store.position("kafka", 0) is None
    assert await store.positions() == {}
    assert await store.done("hook", 0) == ()
    assert await store.places("hook", 0) == []
    assert await store.retries("hook", 0, [1]) == []
    assert await store.retrying() == {}
    assert await store.backlog(0, 0, "crm") == Behind()
    assert await dead_records(store) == []
    assert await dead_events(store) == []
    assert await store.letter_totals() == []
    assert await store.letter_heads(Which(), after=LetterPlace(), until=1e12, limit=9) == []
    assert await store.letters_like("", 9) == []
    assert await store.letters(["x"]) == []
    assert await store.dead_record_ids("mor") == set()
    assert await store.expire_letters(before=1e12, limit=9) == (0, 0)
    assert await store.discard_letters("hook", keep=0, limit=9) == Discarded()
    assert await store.find_event(0, key(1)) is None
    assert await store.get_meta("x") is None
    assert not await store.forget_sink("kafka")
    assert not await store.forget_source("mor")
    assert (await store.facts()).seen_ids == 0


async def test_taking_over_raises_the_epoch_and_ends_the_earlier_writer(store: Store) -> None:
    first = await store.hold(0)
    second = await store.hold(0)
    assert second == Held(0, first.epoch + 1, first.last)
    with pytest.raises(Outdated):
        await store.commit_page(first, page(first, [1]))
    with pytest.raises(Outdated):
        await store.delivered(first, "kafka", Position())
    with pytest.raises(Outdated):
        await store.attempted(first, "hook", Attempted(position=Position(), later=[retry(1)], dead=[dead_event(1)]))
    with pytest.raises(Outdated):
        await store.heal(first, Healing(sink="kafka", position=Position(), last=Position()))
    assert await store.segments_after(0, 0, 1 << 20) == []
    assert await store.positions() == {}
    assert await store.places("hook", 0) == []
    assert await dead_events(store) == []
    await store.commit_page(second, page(second, [1]))


@pytest.mark.parametrize("wrong", [Position(2, b""), Position(0, b"x")])
async def test_a_wrong_belief_about_the_end_is_outdated(store: Store, wrong: Position) -> None:
    held = await store.hold(0)
    with pytest.raises(Outdated):
        await store.commit_page(Held(0, held.epoch, wrong), PageCommit(seen=[(key(1), 0)]))
    assert await store.look_up(None, [key(1)]) == {0: Sighting(DAY0, 0)}


async def test_a_checkpoint_alone_is_compared_too(store: Store) -> None:
    """Most polls find nothing new, and write that."""
    mine, key_of_mine = await store.hold(0), CheckpointKey("mor", "user_calls")
    for value in (b"one", b"two"):
        assert await store.commit_page(mine, PageCommit(checkpoints={key_of_mine: value})) == mine
        assert await store.checkpoints() == {key_of_mine: value}
    for wrong in (
        Held(0, mine.epoch, Position(1, b"")),
        Held(0, mine.epoch, Position(0, b"x")),
        Held(0, mine.epoch + 1, mine.last),
        Held(1, 1, Position()),
    ):
        with pytest.raises(Outdated):
            await store.commit_page(wrong, PageCommit(checkpoints={key_of_mine: b"wrong"}))
    assert await store.checkpoints() == {key_of_mine: b"two"}
    after = await store.commit_page(mine, page(mine, [1]))
    with pytest.raises(Outdated):
        await store.commit_page(mine, PageCommit(checkpoints={key_of_mine: b"late"}))
    await store.commit_page(after, PageCommit(checkpoints={key_of_mine: b"three"}))
    assert await store.checkpoints() == {key_of_mine: b"three"}


async def test_what_a_commit_rests_on_is_asked_of_the_store_that_is_believed_in(store: Store) -> None:
    held = await store.hold(0)
    assert await store.look_up(held, [key(1), key(2, day=DAY0 + 40)]) == {
        0: Sighting(DAY0, 0),
        1: Sighting(DAY0 + 40, 0),
    }
    after = await store.commit_page(held, page(held, [1]))
    assert await store.look_up(after, [key(1)]) == {}
    for wrong in (
        held,
        Held(0, after.epoch + 1, after.last),
        Held(0, after.epoch, Position(after.last.seq, b"another chain")),
        Held(1, 1, Position()),
    ):
        with pytest.raises(Outdated):
            await store.look_up(wrong, [key(1)])
    assert await store.look_up(None, [key(1)]) == {}, "nothing rests on it"


async def test_a_page_is_there_as_a_whole(store: Store) -> None:
    held = await store.hold(0)
    checkpoint = CheckpointKey("mor", "user_calls", "user=5")
    commit = page(held, [1, 2], checkpoints={checkpoint: b"state"}, dead=[dead_record(1)])
    after = await store.commit_page(held, commit)
    assert commit.segment is not None
    assert after == Held(0, held.epoch, end(commit.segment))
    assert await store.segments_after(0, 0, 1 << 20) == [commit.segment]
    assert [e.id for e in unpack((await store.segments_after(0, 0, 1))[0])] == [event(1).id, event(2).id]
    assert await store.checkpoints() == {checkpoint: b"state"}
    assert await store.checkpoints("mor") == {checkpoint: b"state"}
    assert await store.checkpoints("other") == {}
    assert await dead_records(store) == [dead_record(1)]
    assert await store.look_up(None, [key(1), key(3), key(2)]) == {1: Sighting(DAY0, 0)}
    assert await store.holds(0, after.last)
    assert not await store.holds(0, Position(after.last.seq, b"other"))
    assert await store.backlog(0, 0, "crm") == Behind(2, commit.segment.recorded_bytes, commit.segment.at)
    assert (await store.facts()).seen_ids == 2


async def test_what_was_committed_survives_reopening(harness: Any) -> None:
    store = await harness.open()
    held = await store.hold(0)
    held = await store.commit_page(held, page(held, [1]))
    await store.delivered(held, "kafka", held.last)
    await store.put_meta("a", "b")
    store = await harness.reopen()
    assert await store.hold(0) == Held(0, held.epoch + 1, held.last)
    assert await store.look_up(None, [key(1)]) == {}
    assert await store.position("kafka", 0) == held.last
    assert await store.get_meta("a") == "b"
    await harness.close()


async def test_a_segment_that_does_not_follow_is_refused(store: Store) -> None:
    held = await store.hold(0)
    wrong = PageCommit(segment=segment([1], Position(5, b"x")), seen=[(key(1), 6)])
    with pytest.raises(ValueError, match="behind"):
        await store.commit_page(held, wrong)
    assert await store.look_up(None, [key(1)]) == {0: Sighting(DAY0, 0)}


@pytest.mark.parametrize("day", [-1, 0, 1])
async def test_other_states_are_found_under_neighbouring_days(store: Store, day: int) -> None:
    held = await store.hold(0)
    await store.commit_page(held, PageCommit(seen=[(key(1, state=1), 0), (key(1, state=2), 0), (key(2), 0)]))
    looked = await store.look_up(None, [key(1, state=3, day=DAY0 + day), key(1, state=2, day=DAY0 + day)])
    assert looked == {0: Sighting(DAY0, 2)}


async def test_an_id_with_many_states_is_known_in_each_and_in_no_other(store: Store) -> None:
    held = await store.hold(0)
    seen = [(key(1, state=1), 0), (key(1, state=2), 0), (key(1, state=3), 0), (key(2), 0)]
    await store.commit_page(held, PageCommit(seen=seen))
    looked = await store.look_up(
        None, [key(1, state=2), key(1, state=9), key(2), key(3), key(1, state=1), key(1, state=3)]
    )
    assert looked == {1: Sighting(DAY0, 3), 3: Sighting(DAY0, 0)}


async def test_any_number_of_keys_is_looked_up(store: Store) -> None:
    held = await store.hold(0)
    await store.commit_page(held, PageCommit(seen=[(key(number), 0) for number in range(0, 9_000, 2)]))
    looked = await store.look_up(None, [key(number) for number in range(9_000)])
    assert looked == {number: Sighting(DAY0, 0) for number in range(1, 9_000, 2)}


@pytest.mark.parametrize("day", [-2, 2])
async def test_two_days_away_is_another_thing(store: Store, day: int) -> None:
    held = await store.hold(0)
    await store.commit_page(held, PageCommit(seen=[(key(1), 0)]))
    assert await store.look_up(None, [key(1, day=DAY0 + day)]) == {0: Sighting(DAY0 + day, 0)}


async def test_the_nearest_day_wins_and_all_states_count(store: Store) -> None:
    held = await store.hold(0)
    seen = [(key(1, state=1, day=DAY0 - 1), 0), (key(1, state=2, day=DAY0 + 1), 0), (key(1, state=1, day=DAY0 + 1), 0)]
    await store.commit_page(held, PageCommit(seen=seen))
    assert await store.look_up(None, [key(1, state=9)]) == {0: Sighting(DAY0 - 1, 2)}


async def test_keys_of_many_days_and_equal_keys_keep_their_places(store: Store) -> None:
    held = await store.hold(0)
    known = [key(n, day=DAY0 + n % 5) for n in range(3000)]
    await store.commit_page(held, PageCommit(seen=[(k, 0) for k in known]))
    mixed = [k for n, k in enumerate(known) for k in (k, key(10_000 + n % 7, day=DAY0 + 40))]
    assert await store.look_up(None, mixed) == {n: Sighting(DAY0 + 40, 0) for n in range(1, 6000, 2)}


async def test_what_is_known_keeps_its_first_seq(store: Store) -> None:
    held = await store.hold(0)
    held = await store.commit_page(held, page(held, [1]))
    held = await store.commit_page(held, page(held, [2], seen=[(key(1), 2), (key(2), 2)]))
    found = await store.find_event(0, key(1, state=77))
    assert found is not None
    assert (found.first, found.last) == (1, 1)
    assert (await store.facts()).seen_ids == 2


async def test_the_latest_event_of_an_id_is_found_under_any_state_and_neighbouring_day(store: Store) -> None:
    held = await store.hold(0)
    held = await store.commit_page(held, PageCommit(seen=[(key(1, state=5), 0)]))
    held = await store.commit_page(held, page(held, [1]))
    held = await store.commit_page(held, page(held, [2], seen=[(key(1, state=2), 2)]))
    for day in (-1, 0, 1):
        found = await store.find_event(0, key(1, state=2, day=DAY0 + day))
        assert found is not None
        assert found.first == 2
    assert await store.find_event(0, key(3)) is None


async def test_an_id_is_found_under_any_day_with_each_of_its_states(store: Store) -> None:
    assert await store.states_of([key(1).id]) == []
    held = await store.hold(0)
    far = key(1, state=2, day=DAY0 + 40)
    held = await store.commit_page(held, page(held, [1]))
    held = await store.commit_page(held, page(held, [2, 3], seen=[(far, 2), (key(2), 3)]))
    held = await store.commit_page(held, PageCommit(seen=[(key(1, state=9), 0)]))
    first = [(key(1), 1), (key(1, state=9), 0)]
    wanted = [key(7).id, key(1).id, key(1).id]
    assert await store.states_of(wanted) == [*sorted(first, key=lambda one: one[0].state), (far, 2)]
    assert await store.states_of([key(2).id]) == [(key(2), 3)]
    assert await store.states_of([]) == []


async def test_segments_come_backwards_in_bounded_lots(store: Store) -> None:
    held = await store.hold(0)
    assert await store.segments_before(0, 1 << 62, 1 << 20) == []
    for n in range(5):
        held = await store.commit_page(held, page(held, [n]))
    everything = await store.segments_before(0, 1 << 62, 1 << 20)
    assert everything == list(reversed(await store.segments_after(0, 0, 1 << 20)))
    size = everything[0].recorded_bytes
    assert [s.last for s in await store.segments_before(0, 5, 2 * size)] == [4, 3]
    assert [s.last for s in await store.segments_before(0, 5, 0)] == [4]
    assert await store.segments_before(0, 1, 1 << 20) == []


async def test_segments_come_in_order_and_in_bounded_lots(store: Store) -> None:
    held = await store.hold(0)
    for n in range(5):
        held = await store.commit_page(held, page(held, [n]))
    everything = await store.segments_after(0, 0, 1 << 20)
    assert [s.last for s in everything] == [1, 2, 3, 4, 5]
    size = everything[0].recorded_bytes
    assert [s.last for s in await store.segments_after(0, 0, 2 * size)] == [1, 2]
    assert [s.last for s in await store.segments_after(0, 3, 0)] == [4]
    assert await store.segments_after(0, 5, 1 << 20) == []
    assert await store.backlog(0, 3, "crm") == Behind(2, 2 * size, everything[3].at)


async def test_a_backlog_is_counted_without_what_is_for_other_sinks_alone(store: Store) -> None:
    held = await store.hold(0)
    held = await store.commit_page(held, page(held, [1]))
    (whole,) = await store.segments_after(0, 0, 1 << 20)
    for only in (("crm",), ("crm", "hook"), ("other",)):
        copies = [structs.replace(one, only=only) for one in unpack(whole)]
        held = await store.commit_page(held, PageCommit(segment=pack(copies, held.last, 2_000.0)))
    found = await store.segments_after(0, 0, 1 << 20)
    assert [one.only for one in found] == [None, ("crm",), ("crm", "hook"), ("other",)]
    size = whole.recorded_bytes
    assert await store.backlog(0, 0, "crm") == Behind(3, 3 * size, whole.at)
    assert await store.backlog(0, 0, "hook") == Behind(2, 2 * size, whole.at)
    assert await store.backlog(0, 1, "other") == Behind(1, size, 2_000.0)
    assert await store.backlog(0, 1, "any") == Behind()


async def test_positions_and_dead_events(store: Store) -> None:
    held = await store.hold(0)
    held = await store.commit_page(held, page(held, [1, 2]))
    await store.delivered(held, "kafka", held.last, [dead_event(1), dead_event(2, sink="kafka")])
    await store.delivered(held, "kafka", held.last, [dead_event(1)])
    await store.delivered(held, "hook", Position(), [dead_event(3, sink="hook")])
    assert await store.position("kafka", 0) == held.last
    assert await store.positions() == {("kafka", 0): held.last, ("hook", 0): Position()}
    assert await dead_events(store) == [dead_event(1), dead_event(2), dead_event(3, sink="hook")]
    assert await dead_events(store, "hook") == [dead_event(3, sink="hook")]
    assert (await store.facts()).dead_events == 3
    assert await store.forget_sink("kafka")
    assert await store.positions() == {("hook", 0): Position()}
    assert await dead_events(store) == [dead_event(3, sink="hook")]
    assert (await store.facts()).dead_events == 1


async def test_the_same_broken_row_is_kept_once_and_closed_by_a_commit(store: Store) -> None:
    held = await store.hold(0)
    held = await store.commit_page(held, PageCommit(dead=[dead_record(1), dead_record(2)]))
    held = await store.commit_page(held, PageCommit(dead=[dead_record(1, at=9e9)]))
    await store.delivered(held, "kafka", Position(), [dead_event(7)])
    assert await dead_records(store) == [dead_record(1), dead_record(2)]
    await store.commit_page(held, PageCommit(closes=(dead_record(1).id, dead_event(7).id, "nothing")))
    assert await dead_records(store) == [dead_record(2)]
    assert await dead_events(store) == []
    facts = await store.facts()
    assert (facts.dead_records, facts.dead_events) == (1, 0)


# --- dead letters ----------------------------------------------------------------------------------------------------

START = LetterPlace()


async def five(store: Store) -> Held:
    """Two records and three events, two of them for the hook, set aside at the times 1 to 5."""
    held = await store.hold(0)
    held = await store.commit_page(held, PageCommit(dead=[dead_record(1), dead_record(4)]))
    await store.delivered(held, "hook", Position(), [dead_event(n, sink="hook") for n in (5, 2)])
    await store.delivered(held, "kafka", Position(), [dead_event(3)])
    return held


async def heads(store: Store, which: Which = Which(), **given: Any) -> list[str]:  # noqa: B008 frozen
    bounds: dict[str, Any] = {"after": START, "until": 1e12, "limit": 10} | given
    found = await store.letter_heads(which, **bounds)
    return [head.id for head in found]


async def test_dead_letters_are_listed_without_their_bytes(store: Store) -> None:
    await five(store)
    record, hook, kafka = await store.letter_heads(Which(), after=START, until=1e12, limit=3)
    assert record == LetterHead(
        what="record", id="record-1", source="mor", endpoint="mor.user_calls", reason="bad_record", error="no date", at=1.0,
        size=len(dead_record(1).raw),
    )  # fmt: skip
    assert hook == LetterHead(
        what="event", id="event-2", source="mor", sink="hook", shard=0, reason="too_large", error="refused", at=2.0,
        size=len(event(2).body),
    )  # fmt: skip
    assert kafka.place == LetterPlace(3.0, "event-3")
    assert await heads(store, after=kafka.place) == ["record-4", "event-5"]
    assert await heads(store, after=LetterPlace(3.0, "event-")) == ["event-3", "record-4", "event-5"]
    assert await heads(store, until=3.0) == ["record-1", "event-2", "event-3"]
    assert await heads(store, Which(sink="hook")) == ["event-2", "event-5"]
    assert await heads(store, Which(sink="hook"), after=LetterPlace(2.0, "event-2")) == ["event-5"]
    assert await heads(store, Which(source="mor", reason="bad_record")) == ["record-1", "record-4"]
    assert await heads(store, Which(sink="hook", reason="bad_record")) == []
    assert await heads(store, Which(source="other")) == []


async def test_dead_letters_of_one_time_are_told_apart(store: Store) -> None:
    held = await store.hold(0)
    await store.commit_page(held, PageCommit(dead=[dead_record(n, at=1.0) for n in (3, 1, 2)]))
    seen: list[LetterHead] = []
    while found := await store.letter_heads(Which(), after=seen[-1].place if seen else START, until=1.0, limit=1):
        seen += found
    assert [head.id for head in seen] == ["record-1", "record-2", "record-3"]


async def test_dead_letters_are_counted_by_sort(store: Store) -> None:
    assert await store.letter_totals() == []
    held = await five(store)
    size, raw = len(event(1).body), len(dead_record(1).raw)
    assert await store.letter_totals() == [
        LetterTotal("event", "hook", "mor", "too_large", 2, 2 * size),
        LetterTotal("event", "kafka", "mor", "too_large", 1, size),
        LetterTotal("record", "", "mor", "bad_record", 2, 2 * raw),
    ]
    await store.delivered(held, "hook", Position(), [dead_event(2, sink="hook")])
    await store.commit_page(held, PageCommit(dead=[dead_record(4)], closes=("record-1", "event-3")))
    assert [(total.sink, total.letters, total.bytes) for total in await store.letter_totals()] == [
        ("hook", 2, 2 * size),
        ("", 1, raw),
    ]
    assert await store.forget_sink("hook")
    assert [total.what for total in await store.letter_totals()] == ["record"]


async def test_dead_letters_are_found_by_their_ids(store: Store) -> None:
    await five(store)
    both = await store.letter_heads(Which(), after=LetterPlace(2.0), until=3.0, limit=2)
    assert await store.letters_like("event-", 2) == both
    (record,) = await store.letters_like("record-4", 2)
    assert (record.what, record.id, record.endpoint, record.sink) == ("record", "record-4", "mor.user_calls", None)
    found = [head.id for head in await store.letters_like("", 9)]
    assert found == ["event-2", "event-3", "event-5", "record-1", "record-4"]
    assert await store.letters_like("e%", 9) == []
    letters = await store.letters(["record-4", "gone", "event-2", "record-4"])
    assert letters == [dead_record(4), dead_event(2, sink="hook")]
    assert await store.letters([]) == []
    assert await store.dead_record_ids("mor") == {"record-1", "record-4"}
    assert await store.dead_record_ids("other") == set()


async def test_dead_letters_expire_the_oldest_first(store: Store) -> None:
    await five(store)
    assert await store.expire_letters(before=1.0, limit=10) == (0, 0)
    assert await store.expire_letters(before=5.0, limit=2) == (1, 1)
    assert await heads(store) == ["event-3", "record-4", "event-5"]
    assert await store.expire_letters(before=5.0, limit=10) == (1, 1)
    assert await heads(store) == ["event-5"]
    assert (await store.facts()).dead_events == 1
    assert [(total.sink, total.letters) for total in await store.letter_totals()] == [("hook", 1)]


async def test_the_oldest_dead_letters_of_a_sink_are_discarded_until_the_rest_fits(store: Store) -> None:
    held = await five(store)
    size = len(event(1).body)
    await store.delivered(held, "hook", Position(), [dead_event(n, sink="hook") for n in (6, 7)])
    assert await store.discard_letters("hook", keep=4 * size, limit=10) == Discarded()
    assert await store.discard_letters("hook", keep=4 * size - 1, limit=10) == Discarded(1, size, 2.0)
    assert await store.discard_letters("hook", keep=0, limit=2) == Discarded(2, 2 * size, 6.0)
    assert await heads(store) == ["record-1", "event-3", "record-4", "event-7"]
    assert await store.discard_letters("hook", keep=0, limit=10) == Discarded(1, size, 7.0)
    assert await store.discard_letters("nobody", keep=0, limit=10) == Discarded()


async def test_forgetting_a_source_takes_its_checkpoints(store: Store) -> None:
    held = await store.hold(0)
    ours, other = CheckpointKey("mor", "user_calls"), CheckpointKey("fono", "cdrs")
    await store.commit_page(held, PageCommit(checkpoints={ours: b"1", other: b"2"}))
    assert await store.forget_source("mor")
    assert await store.checkpoints() == {other: b"2"}
    assert not await store.forget_source("mor")


async def test_meta(store: Store) -> None:
    await store.put_meta("a", "1")
    await store.put_meta("a", "2")
    assert await store.get_meta("a") == "2"
    await store.put_meta("a", None)
    await store.put_meta("a", None)
    assert await store.get_meta("a") is None


async def test_a_fact_is_swapped_where_it_is_as_believed(store: Store) -> None:
    assert not await store.swap_meta("a", "1", "2")
    assert await store.get_meta("a") is None
    assert await store.swap_meta("a", None, "1")
    assert not await store.swap_meta("a", None, "2")
    assert not await store.swap_meta("a", "2", "3")
    assert await store.get_meta("a") == "1"
    assert await store.swap_meta("a", "1", "2")
    assert await store.get_meta("a") == "2"
    await store.put_meta("a", None)
    assert await store.swap_meta("a", None, "1"), "one that was removed is none"


async def test_a_healing_moves_the_end_and_drops_nothing(store: Store) -> None:
    held = await store.hold(0)
    held = await store.commit_page(held, page(held, [1, 2]))
    await store.delivered(held, "hook", Position())
    jump = Position(50, held.last.chain)
    again = segment([2], jump)
    healing = Healing(
        sink="kafka",
        position=jump,
        last=end(again),
        segments=[again],
        seen=[(key(9), 0), (key(1), 0)],
        checkpoints={CheckpointKey("mor", "user_calls"): b"healed"},
    )
    healed = await store.heal(held, healing)
    assert healed == Held(0, held.epoch, end(again))
    assert [(s.first, s.last) for s in await store.segments_after(0, 0, 1 << 20)] == [(1, 2), (51, 51)]
    assert await store.position("kafka", 0) == jump
    assert await store.position("hook", 0) == Position()
    assert await store.look_up(None, [key(9), key(1)]) == {}
    assert await store.checkpoints() == {CheckpointKey("mor", "user_calls"): b"healed"}
    with pytest.raises(Outdated):
        await store.commit_page(held, page(held, [3]))
    await store.commit_page(healed, page(healed, [3]))
    size = sum(one.recorded_bytes for one in await store.segments_after(0, 50, 1 << 20))
    assert await store.backlog(0, 50, "crm") == Behind(2, size, again.at)


async def test_a_healing_without_segments_leaves_an_end_that_is_held(store: Store) -> None:
    held = await store.hold(0)
    held = await store.commit_page(held, page(held, [1]))
    jump = Position(50, held.last.chain)
    healed = await store.heal(held, Healing(sink="kafka", position=jump, last=jump))
    assert healed.last == jump
    assert await store.holds(0, jump)
    after = await store.commit_page(healed, page(healed, [2]))
    assert after.last.seq == 51
    with pytest.raises(ValueError, match="back"):
        await store.heal(after, Healing(sink="kafka", position=jump, last=jump))


# --- one by one ------------------------------------------------------------------------------------------------------


async def seven(store: Store) -> list[Position]:
    """Events 1 to 7 in segments of two, two and three; their ends."""
    held = await store.hold(0)
    ends = []
    for numbers in ([1, 2], [3, 4], [5, 6, 7]):
        held = await store.commit_page(held, page(held, numbers))
        ends.append(held.last)
    return ends


async def test_outcomes_are_written_together(store: Store) -> None:
    ends = await seven(store)
    held = await store.hold(0)
    dead = dead_event(3, sink="hook")
    kept = [retry(4), retry(7, due=None, attempts=0)]
    await store.attempted(held, "hook", Attempted(position=ends[1], done=(7, 5), later=kept, dead=[dead]))
    assert await store.position("hook", 0) == ends[1]
    assert await store.done("hook", 0) == (5, 7)
    assert await store.places("hook", 0) == [place(one) for one in kept]
    assert await store.retries("hook", 0, [7, 1, 4, 7]) == kept
    assert await store.retries("hook", 0, [4]) == kept[:1]
    assert await store.retrying() == {("hook", 0): 2}
    assert await dead_events(store, "hook") == [dead]
    assert (await store.facts()).dead_events == 1
    assert await store.places("other", 0) == []
    assert await store.retries("other", 0, [4]) == []
    assert await store.done("other", 0) == ()


async def test_what_is_kept_is_replaced_put_off_and_over(store: Store) -> None:
    ends = await seven(store)
    held = await store.hold(0)
    await store.attempted(held, "hook", Attempted(position=ends[2], later=[retry(n) for n in (1, 2, 3)]))
    await store.attempted(held, "other", Attempted(position=ends[2], later=[retry(2, sink="other")]))
    again = retry(1, due=300.0, attempts=2)
    came = Attempted(position=ends[2], later=[again, retry(4)], due={3: 9.5, 6: 1.0}, over=[2, 7])
    await store.attempted(held, "hook", came)
    left = [again, retry(3, due=9.5), retry(4)]
    assert await store.retries("hook", 0, range(10)) == left
    assert await store.places("hook", 0) == [place(one) for one in left]
    assert await store.retries("other", 0, [2]) == [retry(2, sink="other")]
    assert await store.retrying() == {("hook", 0): 3, ("other", 0): 1}
    await store.attempted(held, "hook", Attempted(position=ends[2], over=[1, 3, 4]))
    assert await store.retrying() == {("other", 0): 1}


async def test_what_was_noted_as_done_is_replaced(store: Store) -> None:
    ends = await seven(store)
    held = await store.hold(0)
    await store.attempted(held, "hook", Attempted(position=ends[0], done=(4, 6)))
    await store.attempted(held, "hook", Attempted(position=ends[0], done=(4, 5, 6)))
    assert await store.done("hook", 0) == (4, 5, 6)
    await store.attempted(held, "hook", Attempted(position=ends[2]))
    assert await store.done("hook", 0) == ()


async def test_a_position_that_moves_by_segments_leaves_retries_and_passes_what_was_done(store: Store) -> None:
    ends = await seven(store)
    held = await store.hold(0)
    came = Attempted(position=ends[0], done=(3, 6), later=[retry(2), retry(3)])
    await store.attempted(held, "hook", came)
    await store.delivered(held, "hook", ends[1])
    assert await store.done("hook", 0) == (6,)
    assert [one.seq for one in await store.places("hook", 0)] == [2, 3]
    jump = Position(50, held.last.chain)
    await store.heal(held, Healing(sink="hook", position=jump, last=jump))
    assert await store.done("hook", 0) == ()
    assert [one.seq for one in await store.retries("hook", 0, [2, 3])] == [2, 3]


async def test_retries_own_their_bytes(store: Store) -> None:
    ends = await seven(store)
    held = await store.hold(0)
    await store.attempted(held, "hook", Attempted(position=ends[2], later=[retry(1), retry(4)]))
    assert await expire(store) == 2
    assert [s.last for s in await store.segments_after(0, 0, 1 << 20)] == [7]
    assert await store.retries("hook", 0, [1, 4]) == [retry(1), retry(4)]


async def test_forgetting_a_sink_takes_its_retries(store: Store) -> None:
    ends = await seven(store)
    held = await store.hold(0)
    for sink in ("hook", "other"):
        came = Attempted(position=ends[0], done=(4,), later=[retry(1, sink=sink)], dead=[dead_event(2, sink=sink)])
        await store.attempted(held, sink, came)
    assert await store.forget_sink("hook")
    assert await store.retrying() == {("other", 0): 1}
    assert await dead_events(store, "hook") == []
    await store.attempted(held, "hook", Attempted(position=ends[0]))
    assert await store.done("hook", 0) == ()
    assert await store.places("hook", 0) == []
    assert await store.done("other", 0) == (4,)


async def test_outcomes_survive_reopening_and_go_back_with_a_backup(harness: Any) -> None:
    store = await harness.open()
    ends = await seven(store)
    held = await store.hold(0)
    await store.attempted(held, "hook", Attempted(position=ends[0], done=(4, 5, 7), later=[retry(2)]))
    harness.copy("backup")
    await store.attempted(held, "hook", Attempted(position=ends[2], over=[2]))
    store = await harness.reopen()
    assert await store.retrying() == {}
    await harness.close()
    harness.restore("backup")
    store = await harness.open()
    assert await store.position("hook", 0) == ends[0]
    assert await store.done("hook", 0) == (4, 5, 7)
    assert await store.retries("hook", 0, [2]) == [retry(2)]
    await harness.close()


async def expire(store: Store, **given: Any) -> int:
    return await store.expire(**({"log_before": 1e12, "seen_before_day": 0, "limit": 1000} | given))


async def test_expiry_keeps_what_is_not_delivered_or_young(store: Store) -> None:
    held = await store.hold(0)
    ends = []
    for n in range(1, 7):
        held = await store.commit_page(held, page(held, [n], at=float(n)))
        ends.append(held.last)
    assert await expire(store) == 0, "no sink is registered yet"
    await store.delivered(held, "kafka", ends[3])
    await store.delivered(held, "hook", ends[1])
    assert await expire(store) == 1
    assert [s.last for s in await store.segments_after(0, 0, 1 << 20)] == [2, 3, 4, 5, 6]
    assert await expire(store, sinks={"kafka"}) == 1, "the hook is not configured any more; where it stands is kept"
    assert [s.last for s in await store.segments_after(0, 0, 1 << 20)] == [2, 4, 5, 6]
    await store.delivered(held, "kafka", ends[5])
    await store.delivered(held, "hook", ends[5])
    assert await expire(store, log_before=4.5) == 2
    assert await expire(store, log_before=1e12) == 1
    assert [s.last for s in await store.segments_after(0, 0, 1 << 20)] == [6]
    assert await store.holds(0, held.last)


async def test_the_newest_segment_stays_even_where_no_position_points_at_it(store: Store) -> None:
    held = await store.hold(0)
    for n in range(2):
        held = await store.commit_page(held, page(held, [n]))
    jump = Position(50, held.last.chain)
    await store.heal(held, Healing(sink="kafka", position=jump, last=jump))
    assert await expire(store) == 1
    assert await store.holds(0, held.last)


async def test_expiry_of_many(store: Store) -> None:
    held = await store.hold(0)
    segments: list[Segment] = []
    for n in range(130):
        segments.append(segment([n], end(segments[-1]) if segments else Position()))
    healing = Healing(sink="kafka", position=Position(), last=end(segments[-1]), segments=segments)
    held = await store.heal(held, healing)
    await store.delivered(held, "kafka", held.last)
    assert await expire(store, limit=120) == 120
    assert [s.last for s in await store.segments_after(0, 0, 1 << 20)] == list(range(121, 131))
    assert await expire(store) == 9


async def test_expiry_is_bounded(store: Store) -> None:
    held = await store.hold(0)
    for n in range(1, 6):
        held = await store.commit_page(held, page(held, [n], day=DAY0 + n % 2))
    await store.delivered(held, "kafka", held.last)
    assert await expire(store, limit=3, seen_before_day=DAY0 + 1) == 3
    assert await expire(store, limit=3, seen_before_day=DAY0 + 1) == 3
    assert (await store.facts()).seen_ids == 3
    assert await expire(store, limit=3, seen_before_day=DAY0 + 1) == 0
    assert await store.look_up(None, [key(n, day=DAY0 + n % 2) for n in range(1, 6)]) == {
        1: Sighting(DAY0, 0),
        3: Sighting(DAY0, 0),
    }


async def test_an_older_copy_in_its_place_is_noticed(harness: Any) -> None:
    store = await harness.open()
    held = await store.hold(0)
    held = await store.commit_page(held, page(held, [1]))
    harness.copy("backup")
    later = await store.commit_page(held, page(held, [2]))
    harness.restore("backup")
    for write in at_once(store, later):
        with pytest.raises(Outdated):
            await write
    again = await store.hold(0)
    assert again.last == held.last
    assert await store.look_up(None, [key(1), key(2)]) == {1: Sighting(DAY0, 0)}
    await store.commit_page(again, page(again, [2]))
    await harness.close()
    store = await harness.open()
    assert await store.look_up(None, [key(1), key(2)]) == {}
    await harness.close()


async def test_an_emptied_store_is_noticed(harness: Any) -> None:
    store = await harness.open()
    held = await store.hold(0)
    held = await store.commit_page(held, page(held, [1]))
    harness.empty()
    for write in at_once(store, held):
        with pytest.raises(Outdated):
            await write
    assert (await store.hold(0)).last == Position()
    assert await store.look_up(None, [key(1)]) == {0: Sighting(DAY0, 0)}
    await harness.close()


async def test_emptying_leaves_the_epoch_and_facts(store: Store) -> None:
    held = await store.hold(0)
    full = page(held, [1, 2], checkpoints={CheckpointKey("mor", "user_calls", ""): b"c"}, dead=[dead_record(1)])
    held = await store.commit_page(held, full)
    outcome = Attempted(position=Position(), later=[retry(1)], dead=[dead_event(2)], done=(2,))
    await store.attempted(held, "hook", outcome)
    await store.put_meta("a", "b")
    with pytest.raises(Outdated):
        await store.empty([structs.replace(held, last=Position())])
    assert len(await store.segments_after(0, 0, 1 << 20)) == 1
    await store.empty([held])
    assert await store.look_up(None, [key(1)]) == {0: Sighting(DAY0, 0)}
    assert await store.segments_after(0, 0, 1 << 20) == []
    assert (await store.checkpoints(), await store.positions(), await store.retrying()) == ({}, {}, {})
    assert await store.done("hook", 0) == ()
    assert (await dead_records(store), await dead_events(store), await store.letter_totals()) == ([], [], [])
    facts = await store.facts()
    assert (facts.seen_ids, facts.dead_records, facts.dead_events) == (0, 0, 0)
    assert await store.get_meta("a") == "b"
    empty = structs.replace(held, last=Position())
    assert (await store.commit_page(empty, page(empty, [1]))).last.seq == 1
    assert (await store.facts()).seen_ids == 1
