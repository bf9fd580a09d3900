"""Whole hours: told once, by the commit that makes them complete, with what was counted of them."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from polling_rig import ID, Rig, later, polling
from polling_vendor import Listed, Query, Record, lines

from poller import hours
from poller.errors import BadAnswer, Outdated, StoreFault
from poller.event import WINDOW
from poller.hours import Book
from poller.model import HOUR, Ask, Held, PageCommit, utc
from poller.poll import poll
from poller.segment import unpack
from poller.stores.memory import MemoryStore
from poller.track import Track

pytestmark = pytest.mark.anyio

NOON = 1_700_049_600
"""A whole hour: 2023-11-15, 12:00 UTC."""
LADDER = [{"back": "10m"}, {"back": "2h", "every": "30m"}]
CRM = ("crm",)


def book(endpoint: Listed) -> Book:
    return Book(ID, endpoint, CRM)


def at(rig: Rig, when: float) -> None:
    """The present of everybody."""
    later(rig.clock, when - rig.clock.now())


def track_of(rig: Rig, endpoint: Listed | None = None, **keys: Any) -> Track:
    endpoint = endpoint or Listed()
    given: dict[str, Any] = {"ladder": LADDER, "start": NOON_TEXT, "settle": "0s", "book": book(endpoint)}
    return rig.track(endpoint, **given | keys)


NOON_TEXT = "2023-11-15T12:00:00Z"


async def whole(rig: Rig) -> list[Record]:
    return [one for one in await rig.events() if one["type"] == "telephony.window.complete"]


async def spans(rig: Rig) -> list[tuple[str, str]]:
    return [(one["data"]["from"], one["data"]["until"]) for one in await whole(rig)]


async def until(rig: Rig, track: Track, *moments: float) -> None:
    for moment in moments:
        at(rig, moment)
        with suppress(BadAnswer):
            await poll(track, None)


async def test_an_hour_is_told_with_its_counts_by_the_commit_that_completes_it() -> None:
    async with polling() as rig:
        track = track_of(rig)
        rig.phones.add(NOON + 600, id="a")
        rig.phones.add(NOON + 1_200, visible=NOON + 5_000, id="late")
        rig.phones.add(NOON + HOUR, id="next hour")
        await until(rig, track, *(NOON + minutes * 60 for minutes in range(30, 110, 10)))
        rig.phones.rows["calls"][0][2]["state"] = "changed"
        await until(rig, track, *(NOON + minutes * 60 for minutes in range(110, 180, 10)))
        assert await whole(rig) == []
        await until(rig, track, NOON + 3 * HOUR)
        (one,) = await whole(rig)
        assert (one["source"], one["subject"], one["partitionkey"]) == (
            f"/poller/{ID}/windows", "phones.calls", f"{ID}/phones.calls",
        )  # fmt: skip
        assert one["time"] == one["data"]["from"] == "2023-11-15T12:00:00Z"
        data = one["data"]
        assert (data["source"], data["endpoint"], data["kind"]) == (ID, "phones.calls", "call")
        assert data["until"] == "2023-11-15T13:00:00Z"
        counts = data["counts"]
        assert (counts["new"], counts["updated"], counts["invalid"]) == (2, 1, 0)
        assert counts["duplicate"] > 0
        assert data["late_by_seconds"] == 2 * HOUR - 600, "the changed one, by the pass of 14:00"
        last = (await rig.store.segments_after(0, 0, 1 << 40))[-1]
        assert one["id"] in {event.id for event in unpack(last)}
        assert (await rig.complete(track) or 0) >= NOON + HOUR


async def test_nobody_asks() -> None:
    async with polling() as rig:
        track = track_of(rig, book=None)
        rig.phones.add(NOON + 600, id="a")
        await until(rig, track, NOON + HOUR, NOON + 4 * HOUR)
        assert await whole(rig) == []
        assert (await rig.checkpoint(track)).hours is None


async def test_the_event_is_for_those_who_ask() -> None:
    async with polling() as rig:
        await until(rig, track_of(rig), NOON + HOUR, NOON + 4 * HOUR)
        assert {event.only for event in await rig.log() if event.type == "telephony.window.complete"} == {CRM}


async def test_a_start_in_the_middle_of_an_hour() -> None:
    """Only what was covered from its beginning."""
    async with polling() as rig:
        track = track_of(rig, start="2023-11-15T12:00:01Z")
        await until(rig, track, NOON + HOUR, NOON + 5 * HOUR)
        assert await spans(rig) == [
            ("2023-11-15T13:00:00Z", "2023-11-15T14:00:00Z"),
            ("2023-11-15T14:00:00Z", "2023-11-15T15:00:00Z"),
        ]


async def test_an_hour_with_a_gap_waits_until_it_is_closed() -> None:
    async with polling() as rig:
        track = track_of(rig, Listed(first_span=600, min_span=600))
        broken = NOON + HOUR + 900

        def say(query: Query) -> bytes | None:
            return rig.phones.whole(b"") if query.window.begin <= broken <= query.window.end else None

        rig.phones.say = say
        await until(rig, track, NOON + HOUR)
        await until(rig, track, *(NOON + minutes * 60 for minutes in range(70, 360, 30)))
        assert await spans(rig) == [("2023-11-15T12:00:00Z", "2023-11-15T13:00:00Z")]
        rig.phones.say = None
        await until(rig, track, NOON + 6 * HOUR + 1_800)
        assert [begin for begin, _ in await spans(rig)] == [f"2023-11-15T{hour}:00:00Z" for hour in (12, 13, 14, 15)]


# --- asked in several ways -------------------------------------------------------------------------------------------

FIVE, NINE = Ask((("user", "5"),)), Ask((("user", "9"),))


async def test_an_endpoint_that_is_asked_in_two_ways_waits_for_both_and_sums_up() -> None:
    """Each has rows of its own; who comes last tells."""
    async with polling() as rig:
        listed = Listed(asks=(FIVE, NINE))
        shared = book(listed)
        five, nine = (track_of(rig, listed, ask=ask, book=shared) for ask in listed.asks)

        def say(query: Query) -> bytes | None:
            rows = [row for row in rig.phones.visible(query) if row["user"] == query.ask["user"]]
            return rig.phones.whole(lines(rows))

        rig.phones.say = say
        for number, user in enumerate("5599"):
            rig.phones.add(NOON + 60 * number, user=user)
        rig.phones.add(NOON + 600, visible=NOON + 5_000, user="9")
        await until(rig, five, NOON + HOUR, NOON + 4 * HOUR)
        assert await whole(rig) == []
        await until(rig, nine, NOON + 4 * HOUR)
        assert [one["data"]["counts"]["new"] for one in await whole(rig)] == [5, 0]
        await until(rig, nine, NOON + 4 * HOUR + 1_800, NOON + 7 * HOUR)
        assert len(await whole(rig)) == 2
        await until(rig, five, NOON + 7 * HOUR)
        begins = [begin for begin, _ in await spans(rig)]
        assert begins == [f"2023-11-15T{hour}:00:00Z" for hour in (12, 13, 14, 15, 16)]
        # What one told, the other knows for ever: it may be the only one that is asked from now on.
        await until(rig, nine, NOON + 7 * HOUR + 30)
        assert {(await rig.checkpoint(one)).hours.told for one in (five, nine)} == {NOON + 5 * HOUR}  # type: ignore[union-attr]
        alone = Listed(asks=(FIVE,))
        await rig.restart()
        await until(rig, track_of(rig, alone, ask=FIVE), NOON + 7 * HOUR + 60, NOON + 8 * HOUR)
        begins = [begin for begin, _ in await spans(rig)]
        assert begins == [f"2023-11-15T{hour}:00:00Z" for hour in (12, 13, 14, 15, 16, 17)]


# --- crashes, and what is kept ---------------------------------------------------------------------------------------


class Stubborn(MemoryStore):
    """Fails or dies at a commit that is named by its number. `after`: it has taken place all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0
        self.fails: int | None = None
        self.after = False

    async def commit_page(self, held: Held, page: PageCommit) -> Held:
        self.commits += 1
        fails = self.commits == self.fails
        if fails and not self.after:
            raise StoreFault("the disk is busy")
        written = await super().commit_page(held, page)
        if fails:
            raise StoreFault("nobody knows")
        return written


async def _through(after: bool, fails: int | None) -> tuple[list[Record], int]:
    """Four hours, with one failure and a restart behind it."""
    store = Stubborn()
    async with polling(store) as rig:
        store.fails, store.after = fails, after
        for number in range(2_500):
            rig.phones.add(NOON + 2 * number, visible=NOON + 2 * number + (number % 3) * 900)
        track = track_of(rig)
        for minutes in range(40, 270, 40):
            at(rig, NOON + minutes * 60)
            try:
                await poll(track, None)
            except (StoreFault, Outdated):
                await rig.restart()
                track = track_of(rig)
                await poll(track, None)
        return await whole(rig), store.commits


@pytest.mark.parametrize("after", [False, True])
async def test_whichever_commit_fails_each_hour_is_told_once_with_every_event_counted(after: bool) -> None:
    right, commits = await _through(after, None)
    assert [one["data"]["counts"]["new"] for one in right] == [1_800, 700]
    assert commits > 8
    for fails in range(1, commits + 1):
        found, _ = await _through(after, fails)
        assert [(one["id"], one["data"]["counts"]["new"]) for one in found] == [
            (one["id"], one["data"]["counts"]["new"]) for one in right
        ]


async def test_a_store_that_forgot_its_checkpoints_tells_nothing_again() -> None:
    async with polling() as rig:
        await until(rig, track_of(rig), NOON + HOUR, NOON + 5 * HOUR)
        told = await whole(rig)
        assert len(told) == 3
        await rig.store.forget_source(ID)
        await rig.restart()
        await until(rig, track_of(rig), NOON + 5 * HOUR + 60, NOON + 6 * HOUR)
        assert await whole(rig) == [*told, *(await whole(rig))[3:]]
        assert [begin for begin, _ in (await spans(rig))[3:]] == ["2023-11-15T15:00:00Z"]


async def test_a_checkpoint_from_before_hours_were_counted() -> None:
    """What is complete is told from then on, and not what was counted in part."""
    async with polling() as rig:
        for hour in range(12):
            rig.phones.add(NOON + hour * HOUR + 60)
        await until(rig, track_of(rig, book=None), NOON + HOUR, NOON + 4 * HOUR + 60)
        assert (await rig.checkpoint(track_of(rig))).hours is None
        await rig.restart()
        track = track_of(rig)
        await until(rig, track, *(NOON + minutes * 60 for minutes in range(245, 520, 25)))
        found = [(one["data"]["from"][11:13], one["data"]["counts"]) for one in await whole(rig)]
        assert [hour for hour, _ in found] == ["14", "15", "16", "17"], "14:00 was complete"
        assert [counts and counts["new"] for _, counts in found] == [None, None, None, 1]


async def test_an_older_program_beside_this_one_drops_the_counts_and_nothing_is_told_twice() -> None:
    async with polling() as rig:
        rig.phones.add(NOON + 60)
        await until(rig, track_of(rig), NOON + HOUR, NOON + 4 * HOUR)
        old = msgspec.json.decode((await rig.store.checkpoints())[track_of(rig).key])
        del old["hours"]
        held = PageCommit(checkpoints={track_of(rig).key: msgspec.json.encode(old)})
        rig.shard.held = await rig.store.commit_page(rig.shard.held, held)
        await rig.restart()
        await until(rig, track_of(rig), NOON + 5 * HOUR, NOON + 8 * HOUR)
        assert [begin[11:13] for begin, _ in await spans(rig)] == ["12", "13", "14", "15", "16", "17"]
        assert len({one["id"] for one in await whole(rig)}) == 6


# --- late rows -------------------------------------------------------------------------------------------------------


async def test_a_row_of_an_hour_that_was_told_is_published_and_marked_late() -> None:
    """A longer ladder takes the claim back; what was told stays told."""
    async with polling() as rig:
        await until(rig, track_of(rig), NOON + HOUR, NOON + 5 * HOUR)
        rig.phones.add(NOON + 1_000, id="told")
        rig.phones.add(NOON + 4 * HOUR, id="not told")
        await rig.restart()
        longer = [*LADDER, {"back": "10h", "every": "1h"}]
        await until(rig, track_of(rig, ladder=longer), NOON + 6 * HOUR + 120)
        found = {one["subject"]: one["data"]["late"] for one in await rig.events() if "call" in one["type"]}
        assert found == {"told": True, "not told": False}
        assert len(await whole(rig)) == 3


async def test_many_hours_are_told_over_several_commits_and_the_oldest_without_counts() -> None:
    """A first pass over half a year."""
    async with polling() as rig:
        for hour in range(4_000):
            rig.phones.add(NOON + hour * HOUR + 60)
        track = track_of(rig)
        await until(rig, track, NOON + 4_000 * HOUR, *(NOON + 4_000 * HOUR + 60 * minutes for minutes in range(1, 9)))
        found = await whole(rig)
        assert len(found) == 3_998
        counted = [one["data"]["counts"] is not None for one in found]
        assert counted == sorted(counted)
        assert hours.MOST - 10 <= sum(counted) <= hours.MOST
        per_commit = [
            sum(event.type == WINDOW for event in unpack(one)) for one in await rig.store.segments_after(0, 0, 1 << 40)
        ]
        assert max(per_commit) == hours.AT_ONCE
        assert len((await rig.store.checkpoints())[track.key]) < 100_000


async def test_a_list_that_does_not_show_its_own_time_is_told_without_counts() -> None:
    async with polling() as rig:
        rig.phones.add(NOON + 60)
        await until(rig, track_of(rig, Listed(shows_own_time=False)), NOON + HOUR, NOON + 4 * HOUR)
        assert [one["data"]["counts"] for one in await whole(rig)] == [None, None]


async def test_a_record_that_was_not_understood_is_counted_and_comes_late() -> None:
    async with polling() as rig:
        rig.phones.add(NOON + 60, later_defect=True)
        await until(rig, track_of(rig), NOON + HOUR, NOON + 4 * HOUR)
        counts = (await whole(rig))[0]["data"]["counts"]
        assert counts["new"] == 0
        assert counts["invalid"] > 0


@pytest.mark.parametrize("change", [1_698_541_200, 1_711_846_800], ids=["an hour twice", "an hour left out"])
async def test_hours_are_those_of_utc_whatever_the_vendors_clock_does(change: int) -> None:
    """Warsaw puts its clock back and forth at 01:00 UTC."""
    async with polling() as rig:
        rig.clock.wall = change - 4 * HOUR
        begin = change - 5 * HOUR
        for number in range(10):
            rig.phones.add(begin + number * HOUR + 60)
        listed = Listed(zone="Europe/Warsaw")
        track = track_of(rig, listed, start=f"{utc(begin):%Y-%m-%dT%H:%M:%SZ}")
        await until(rig, track, *(change + minutes * 60 for minutes in range(-180, 421, 30)))
        found = [(one["data"]["from"], one["data"]["counts"]["new"]) for one in await whole(rig)]
        assert found == [(f"{utc(begin + number * HOUR):%Y-%m-%dT%H:%M:%SZ}", 1) for number in range(10)]


async def test_hours_that_became_whole_under_an_older_program_are_told_after_it() -> None:
    """A version that was rolled back for a while, or a sink that did not ask for a while."""
    async with polling() as rig:
        for hour in range(9):
            rig.phones.add(NOON + hour * HOUR + 60)
        await until(rig, track_of(rig), NOON + HOUR, NOON + 4 * HOUR)
        await rig.restart()
        await until(rig, track_of(rig, book=None), NOON + 5 * HOUR, NOON + 7 * HOUR)
        assert (await rig.checkpoint(track_of(rig))).hours is None
        await rig.restart()
        await until(rig, track_of(rig), NOON + 8 * HOUR)
        assert [begin[11:13] for begin, _ in await spans(rig)] == ["12", "13", "14", "15", "16", "17"]
        assert [one["data"]["counts"] is None for one in await whole(rig)] == [False, False, True, True, True, True]


async def test_what_was_given_back_to_a_store_that_was_emptied_is_not_counted_as_duplicates_only() -> None:
    """Its events were published, and stand among the seen ids: no number is better than none of them."""
    async with polling() as rig:
        rig.phones.add(NOON + 60)
        track = track_of(rig)
        await until(rig, track, NOON + HOUR)
        seen = [(event.seen, 0) for event in await rig.log() if event.seen is not None]
        _, rewound = track.rewound(NOON + HOUR)
        rig.store = MemoryStore()
        await rig.restart()
        given = PageCommit(seen=seen, checkpoints={track.key: rewound})
        rig.shard.held = await rig.store.commit_page(rig.shard.held, given)
        await rig.restart()
        rig.phones.add(NOON + 4 * HOUR)
        await until(rig, track_of(rig), NOON + 2 * HOUR, NOON + 5 * HOUR, NOON + 8 * HOUR)
        found = [(one["data"]["from"][11:13], one["data"]["counts"]) for one in await whole(rig)]
        assert [(hour, counts and counts["new"]) for hour, counts in found] == [
            ("11", None), ("12", None), ("13", None), ("14", 0), ("15", 0), ("16", 1), ("17", 0),
        ]  # fmt: skip


async def test_what_was_counted_before_a_store_was_set_back_is_not_told() -> None:
    async with polling() as rig:
        track = track_of(rig)
        rig.phones.add(NOON + 60)
        await until(rig, track, NOON + 1_200)
        assert isinstance(rig.store, MemoryStore)
        backup = rig.store.copy()
        rig.phones.add(NOON + 1_500)
        await until(rig, track, NOON + 1_800)
        seen = [(event.seen, 0) for event in await rig.log() if event.seen is not None]
        rig.store.restore(backup)
        at(rig, NOON + 1_860)
        with pytest.raises(Outdated):
            await poll(track, None)
        await rig.shard.believe_anew(track.generation, lambda: None)
        rig.shard.held = await rig.store.commit_page(rig.shard.held, PageCommit(seen=seen))  # read back from a sink
        rig.phones.add(NOON + 2 * HOUR + 60)
        await until(rig, track, NOON + HOUR, NOON + 3 * HOUR, NOON + 6 * HOUR)
        counts = [one["data"]["counts"] for one in await whole(rig)]
        assert [one and one["new"] for one in counts] == [None, None, 1, 0]
