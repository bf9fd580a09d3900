"""Records that cannot be understood: each a dead letter with its bytes, once, and its neighbours go on."""

from typing import Any

import msgspec
import pytest
from polling_rig import ID, NAME, Rig, poll_on
from polling_vendor import Listed, Query, lines
from stores_content import dead_records

pytestmark = pytest.mark.anyio

BROKEN = b'{"id": "x", "own": \xff\x00'


def with_broken(rig: Rig, *broken: bytes) -> None:
    """Puts lines between the rows that the vendor shows."""

    def say(query: Query) -> bytes:
        rows = [msgspec.json.encode(row) for row in rig.phones.visible(query)]
        return rig.phones.whole(lines([*broken, *rows, *broken]))

    rig.phones.say = say


async def test_a_broken_record_is_kept_once_with_its_bytes_and_the_page_goes_on(rig: Rig) -> None:
    now, listed = rig.clock.now(), Listed()
    rig.phones.add(now - 100, id="a")
    with_broken(rig, BROKEN, BROKEN[:-1])
    track = rig.track(listed)
    await poll_on(track, 3)
    await rig.restart()
    again = rig.track(listed)
    again.keeper.knows_dead({letter.id for letter in await dead_records(rig.store)})
    await poll_on(again, 2)
    assert await rig.told() == [("call.new", "a", 1)]
    letters = await dead_records(rig.store)
    assert sorted(letter.raw for letter in letters) == [BROKEN[:-1], BROKEN]
    assert {(one.source, one.endpoint, one.reason, one.error) for one in letters} == {
        ("phones-main", "phones.calls", "bad_record", "is no JSON")
    }
    assert {letter.at for letter in letters} == {now}
    assert rig.counted(track) == {"new": 1, "duplicate": 4, "invalid": 20}
    assert rig.metrics.record_dead_letters["phones.calls", "bad_record"].value == 2


async def test_a_record_that_expired_and_is_still_shown_is_not_reported_again(rig: Rig) -> None:
    """A row without a date may be shown for ever. Only a restart knows it no more, and keeps it as long again."""
    with_broken(rig, BROKEN)
    track = rig.track()
    await poll_on(track, 2)
    assert await rig.store.expire_letters(before=rig.clock.now(), limit=10) == (1, 0)
    await poll_on(track, 2)
    assert await dead_records(rig.store) == []
    assert rig.metrics.record_dead_letters["phones.calls", "bad_record"].value == 1
    await rig.restart()
    for _ in range(2):
        track = rig.track()
        track.keeper.knows_dead(await rig.store.dead_record_ids(ID))
        await poll_on(track, 2)
    assert len(await dead_records(rig.store)) == 1
    assert rig.metrics.record_dead_letters["phones.calls", "bad_record"].value == 2


@pytest.mark.parametrize("field", ["defect", "later_defect"])
async def test_a_defect_of_the_parser_costs_one_record(rig: Rig, field: str) -> None:
    now, track = rig.clock.now(), rig.track()
    rig.phones.add(now - 100, id="a")
    broken: dict[str, Any] = {"id": "b", field: 1}
    rig.phones.add(now - 100, **broken)
    rig.phones.add(now - 100, id="c")
    await poll_on(track, 2)
    assert await rig.told() == [("call.new", "a", 1), ("call.new", "c", 1)]
    (letter,) = await dead_records(rig.store)
    assert msgspec.json.decode(letter.raw)["id"] == "b"
    assert "defect of this program" in letter.error
    assert rig.counted(track) == {"new": 2, "duplicate": 2, "invalid": 2}


async def test_nothing_but_broken_records_still_moves_the_checkpoint(rig: Rig) -> None:
    with_broken(rig, BROKEN)
    track = rig.track()
    await poll_on(track, 2)
    assert (await rig.checkpoint(track)).rungs[0].last == rig.clock.now() - 70
    assert len(await dead_records(rig.store)) == 1
    assert rig.metrics.polls[NAME, "phones.calls", "ok"].value == 0, "the schedule counts polls"


async def test_what_lies_below_the_horizon_is_filtered_and_never_new(rig: Rig) -> None:
    """Its seen key may be gone, so nobody knows whether it was published."""
    now, track = rig.clock.now(), rig.track()
    rig.phones.add(now - 100, id="in")

    def say(query: Query) -> bytes:
        old = [{"id": "old", "own": now - 3_700}, {"id": "edge", "own": now - 10 - 3_600}]
        return rig.phones.whole(lines([*old, *rig.phones.visible(query)]))

    rig.phones.say = say
    await poll_on(track)
    assert await rig.told() == [("call.new", "edge", 1), ("call.new", "in", 1)], "start is the horizon"
    assert rig.counted(track) == {"new": 2, "filtered": 1}


async def test_where_records_show_no_own_time_nothing_is_filtered(rig: Rig) -> None:
    """The filter looks at another time than the record shows: what a window returned belongs to it."""
    now, track = rig.clock.now(), rig.track(Listed(shows_own_time=False))
    rig.phones.say = lambda _: rig.phones.whole(lines([{"id": "long call", "own": now - 90_000}]))
    await poll_on(track)
    assert await rig.told() == [("call.new", "long call", 1)]
    assert rig.suspicions(track, "outside_window") == 0
