"""Walks over pages: nothing that repeats, shrinks or never ends is taken for the end of the data."""

import pytest
from polling_rig import Rig, poll_on
from polling_vendor import Listed, Query, Record, lines

from poller.errors import Incomplete, TooLarge, Truncated
from poller.model import Window
from poller.poll import EMPTY_PAGES, GATHERED, MAX_PAGES, poll

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("harness", ["memory"], indirect=True)]


def rows(rig: Rig, first: int, count: int) -> list[Record]:
    return [{"id": f"c{number}", "own": rig.clock.now() - 100} for number in range(first, first + count)]


async def test_all_pages_are_read_and_the_slice_counts_with_the_last(rig: Rig) -> None:
    for number in range(25):
        rig.phones.add(rig.clock.now() - 100 - number)
    rig.phones.page = 4
    track = rig.track()
    await poll_on(track)
    assert len(await rig.events()) == 25
    assert [one.cursor for one in rig.phones.asked] == [None, "4", "8", "12", "16", "20", "24"]
    assert rig.counted(track) == {"new": 25}


@pytest.mark.parametrize(
    ("seconds", "offset", "commits"),
    [(0.0, False, [25]), (0.1, False, [12, 12, 1]), (0.0, True, [4, 4, 4, 4, 4, 4, 1])],
)
async def test_pages_that_come_quickly_share_a_commit(
    rig: Rig, seconds: float, offset: bool, commits: list[int]
) -> None:
    """Slow ones do not wait for each other, and where answers show the offset each is kept with its own."""
    for number in range(25):
        rig.phones.add(rig.clock.now() - 100 - number)
    rig.phones.page = 4
    rig.phones.takes = seconds
    track = rig.track(Listed(learns_offset=offset))
    await poll_on(track)
    assert [one.last - one.first + 1 for one in await rig.store.segments_after(0, 0, 1 << 40)] == commits


async def test_a_commit_takes_no_more_than_is_gathered(rig: Rig) -> None:
    for number in range(2 * GATHERED):
        rig.phones.add(rig.clock.now() - 100 - number % 1_000)
    rig.phones.page = 900
    await poll_on(rig.track())
    commits = [one.last - one.first + 1 for one in await rig.store.segments_after(0, 0, 1 << 40)]
    assert commits == [4_500, 3_500]


async def test_large_records_are_not_gathered(rig: Rig) -> None:
    text = "x" * (1 << 20)

    def say(query: Query) -> bytes:
        number = int(query.cursor or 0)
        large: list[Record] = [{**row, "text": text} for row in rows(rig, 5 * number, 5)]
        return rig.phones.whole(lines(large, next=str(number + 1) if number < 4 else None))

    rig.phones.say = say
    await poll_on(rig.track())
    commits = [one.last - one.first + 1 for one in await rig.store.segments_after(0, 0, 1 << 40)]
    assert commits == [10, 10, 5], "8 MiB were reached with the second page"


async def test_a_walk_that_breaks_off_is_not_read(rig: Rig) -> None:
    for number in range(10):
        rig.phones.add(rig.clock.now() - 100 - number)
    rig.phones.page = 4
    rig.phones.say = lambda query: rig.phones.whole(b"{") if query.cursor == "8" else None
    track = rig.track()
    with pytest.raises(Truncated):  # nothing could be read in the time: no success, though shorter windows go on
        await poll(track, until=rig.clock.mono())  # one slice
    assert len(await rig.events()) == 8, "what came is kept"
    assert await rig.store.checkpoints() == {}
    rig.phones.say = None
    await poll_on(track)
    assert len(await rig.events()) == 10


async def test_a_page_key_that_comes_again(rig: Rig) -> None:
    rig.phones.say = lambda query: rig.phones.whole(lines(rows(rig, 0 if query.cursor is None else 5, 5), next="k"))
    track = rig.track()
    with pytest.raises(Incomplete):
        await poll(track, None)
    assert rig.suspicions(track, "repeated_key") == 3
    assert len(await rig.events()) == 5, "what came before is kept"
    assert await rig.store.checkpoints() == {}


async def test_a_page_that_comes_again_under_another_key(rig: Rig) -> None:
    rig.phones.say = lambda query: rig.phones.whole(lines(rows(rig, 0, 5), next=str(int(query.cursor or 0) + 1)))
    track = rig.track()
    with pytest.raises(Incomplete):
        await poll(track, None)
    assert rig.suspicions(track, "repeated_page") == 3


async def test_a_page_that_is_read_again_on_purpose(rig: Rig) -> None:
    def say(query: Query) -> bytes:
        again = query.cursor is not None
        following = {None: "bigger", "bigger": "last"}.get(query.cursor)
        return rig.phones.whole(lines(rows(rig, 0, 5), again=again, next=following))

    rig.phones.say = say
    track = rig.track()
    await poll_on(track)
    assert len(await rig.events()) == 5
    assert rig.suspicions(track, "repeated_page") == 0


async def test_empty_pages_without_end(rig: Rig) -> None:
    rig.phones.say = lambda query: rig.phones.whole(lines([], next=str(int(query.cursor or 0) + 1)))
    track = rig.track()
    with pytest.raises(Incomplete):
        await poll(track, None)
    assert rig.suspicions(track, "empty_pages") == 3
    assert len(rig.phones.asked) == 3 * EMPTY_PAGES


async def test_some_empty_pages_are_no_end(rig: Rig) -> None:
    def say(query: Query) -> bytes:
        page = int(query.cursor or 0)
        found = rows(rig, page, 1) if page % 6 == 5 else []
        return rig.phones.whole(lines(found, next=str(page + 1) if page < 40 else None))

    rig.phones.say = say
    await poll_on(rig.track())
    assert len(await rig.events()) == 6


async def test_an_answer_that_may_be_none_is_asked_for_once_more(rig: Rig) -> None:
    said = [rig.phones.whole(lines([], doubtful=True))]
    rig.phones.say = lambda _: said.pop() if said else None
    rig.phones.add(rig.clock.now() - 100, id="a")
    track = rig.track()
    await poll_on(track)
    assert await rig.told() == [("call.new", "a", 1)]
    assert len(rig.phones.asked) == 2
    assert rig.phones.asked[0].window == rig.phones.asked[1].window
    assert rig.suspicions(track, "empty_body") == 1


async def test_an_answer_that_may_be_none_is_believed_when_it_comes_twice(rig: Rig) -> None:
    rig.phones.say = lambda _: rig.phones.whole(lines([], doubtful=True))
    track = rig.track()
    await poll_on(track)
    assert len(rig.phones.asked) == 2
    assert not (await rig.checkpoint(track)).passes
    assert rig.suspicions(track, "empty_body") == 0


async def test_what_an_empty_list_hid_is_published_by_the_next_pass_that_reaches_it(rig: Rig) -> None:
    """Nothing shows that the vendor lies. Until the longest rung has reached past the row, nothing is claimed either."""
    track = rig.track(ladder=[{"back": "5m"}, {"back": "50m", "every": "10m"}], start="1h")
    await poll_on(track)
    own = rig.clock.now() - 30
    rig.phones.add(own, id="hidden")
    rig.phones.say = lambda _: rig.phones.whole(lines([]))
    await poll_on(track, polls=6)
    rig.phones.say = None
    rig.phones.asked.clear()
    while not await rig.told():
        claimed = await rig.complete(track)
        assert claimed is None or claimed <= own
        await poll_on(track)
    shorter, longer = rig.phones.asked[:-1], rig.phones.asked[-1]
    assert shorter
    assert all(one.window.begin > own for one in shorter), "the shorter rung has passed it by"
    assert longer.window.begin <= own <= longer.window.end
    assert longer.at <= own + 900, "the first pass of the longer rung that was answered"
    assert await rig.told() == [("call.new", "hidden", 1)]
    claimed = await rig.complete(track)
    assert claimed is None or claimed <= own


async def test_pages_for_ever_are_halved(rig: Rig) -> None:
    rig.phones.say = lambda query: rig.phones.whole(
        lines(rows(rig, int(query.cursor or 0), 1), next=str(int(query.cursor or 0) + 1))
    )
    track = rig.track()
    with pytest.raises(TooLarge):
        await poll(track, until=rig.clock.mono())
    assert len(rig.phones.asked) == MAX_PAGES
    assert await rig.store.checkpoints() == {}
    assert track.checkpoint is not None
    assert track.checkpoint.span < 3_600


async def test_a_window_with_too_many_rows_is_halved_and_what_came_is_kept(rig: Rig) -> None:
    """The vendor shows ten rows at most and says that there are more."""
    now = rig.clock.now()
    for number in range(100):
        rig.phones.add(now - 3_500 + number * 30)

    def say(query: Query) -> bytes:
        found = rig.phones.visible(query)
        return rig.phones.whole(lines(found[:10], cut=len(found) > 10, total=len(found)))

    rig.phones.say = say
    track = rig.track(Listed(cap=10))
    await poll_on(track)
    assert len(await rig.events()) == 100
    assert track.checkpoint is not None
    assert track.checkpoint.gaps == []


async def test_too_many_rows_in_one_second_are_a_gap(rig: Rig) -> None:
    now = int(rig.clock.now())
    for _ in range(30):
        rig.phones.add(now - 500)
    rig.phones.add(now - 520, id="before")
    rig.phones.add(now - 480, id="behind")

    def say(query: Query) -> bytes:
        found = rig.phones.visible(query)
        return rig.phones.whole(lines(found[:10], cut=len(found) > 10))

    rig.phones.say = say
    track = rig.track(Listed(cap=10))
    await poll_on(track)
    assert len(await rig.events()) == 12
    assert track.checkpoint is not None
    assert {gap.reason for gap in track.checkpoint.gaps} == {"too_many"}
    assert track.checkpoint.gaps[0].begin <= now - 500 <= track.checkpoint.gaps[-1].end


async def test_a_page_tells_of_a_gap_and_goes_on_below_it(rig: Rig) -> None:
    now = int(rig.clock.now())

    def say(query: Query) -> bytes:
        if query.cursor is None:
            return rig.phones.whole(lines(rows(rig, 0, 3), next="below", gap=[now - 200, now - 199]))
        return rig.phones.whole(lines(rows(rig, 3, 3)))

    rig.phones.say = say
    track = rig.track(start="10m", ladder=[{"back": "5m"}])
    await poll_on(track)
    assert len(await rig.events()) == 6
    checkpoint = await rig.checkpoint(track)
    assert [(gap.window, gap.reason) for gap in checkpoint.gaps] == [(Window(now - 200, now - 199), "stuck_key")]
    assert await rig.complete(track) == now - 310
    await poll_on(track, 3)
    assert await rig.complete(track) == now - 200, "held by the gap"
    rig.phones.say = None
    await poll_on(track)
    assert (await rig.checkpoint(track)).gaps == []


async def test_what_contradicts_itself_is_counted_and_nothing_more(rig: Rig) -> None:
    def say(query: Query) -> bytes:
        second = query.cursor is not None
        odd = ["unsorted"] if second else []
        body = lines(rows(rig, 3 if second else 0, 3), next=None if second else "2", total=6 - second, suspicions=odd)
        return rig.phones.whole(body)

    rig.phones.say = say
    track = rig.track()
    await poll_on(track)
    assert len(await rig.events()) == 6
    assert [rig.suspicions(track, reason) for reason in ("shrinking_total", "unsorted", "outside_window")] == [1, 1, 0]


async def test_one_record_outside_the_window_is_published_and_counted(rig: Rig) -> None:
    now = rig.clock.now()
    found = [{"id": "in", "own": now - 100}, {"id": "out", "own": now + 500}]
    rig.phones.say = lambda _: rig.phones.whole(lines(found))
    track = rig.track()
    await poll_on(track)
    assert [name for _, name, _ in await rig.told()] == ["in", "out"]
    assert rig.suspicions(track, "outside_window") == 1
