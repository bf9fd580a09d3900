"""Whole hours: told once, by the commit that makes them complete, with what was counted of them."""

from contextlib import suppress
from typing import Any

import pytest
from polling_rig import ID, Rig, later, polling
from polling_vendor import Listed, Query, Record

from poller import hours
from poller.checkpoint import Checkpoint, Hour, Hours, RungState, Step, begin, dump, load
from poller.errors import BadAnswer, StoreFault
from poller.hours import Book
from poller.model import HOUR, Ask, Held, PageCommit
from poller.poll import poll
from poller.segment import unpack
from poller.stores.memory import MemoryStore
from poller.track import Track

pytestmark = pytest.mark.anyio

NOON = 1_700_049_600
"""A whole hour: 2023-11-15, 12:00 UTC."""
LADDER = [{"back": "10m"}, {"back": "2h", "every": "30m"}]
CRM = ("crm",)


def book(endpoint: Listed, sinks: tuple[str, ...] = CRM) -> Book:
    return Book(ID, endpoint, sinks)


def at(rig: Rig, when: float) -> None:
    """The present of everybody."""
    later(rig.clock, when - rig.clock.now())


def track_of(rig: Rig, endpoint: Listed | None = None, **keys: Any) -> Track:
    endpoint = endpoint or Listed()
    keys = {"ladder": LADDER, "start": NOON_TEXT, "settle": "0s", "book": book(endpoint)} | keys
    return rig.track(endpoint, **keys)


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
