"""The way of one call is found again, whatever is still kept of it, and the search says where it ended."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from delivery_events import call_event, hour_event
from each_life import TAKEN, EachLife, later
from fake_clock import FakeClock
from msgspec import structs
from polling_app import app_of
from polling_rig import NAME, Rig, poll_on
from polling_vendor import Listed, Query, lines

from poller import journey, segment
from poller.config import Settings
from poller.errors import PollerError
from poller.journeys import Journey, Leg
from poller.kept import Attempted, Retry
from poller.metrics import Metrics
from poller.model import DeadEvent, DeadRecord, PageCommit, Segment
from poller.operate import Work
from poller.outgoing import dead_id
from poller.shard import Shard
from poller.sinks import ndjson
from poller.stores.memory import Config, MemoryStore

pytestmark = pytest.mark.anyio


def working(rig: Rig, *sinks: str, track: Listed | None = None) -> Work:
    options = {name: ndjson.Config(kind="ndjson", path=Path("-")) for name in sinks}
    app = app_of(Settings(store=Config(), sinks=options), rig.store, rig.clock, rig.metrics, rig.setup.rnd, [rig.shard])
    app.sinks = {name: ndjson.build(name, one, shards=1) for name, one in options.items()}
    app.tracks = [rig.track(track)]
    return Work(app, running=True)


async def the_only_leg(work: Work, wanted: str) -> Leg:
    (leg,) = (await work.journey(wanted)).legs
    return leg


async def test_a_call_is_found_by_its_id_and_by_its_events_id(rig: Rig) -> None:
    rig.phones.add(rig.clock.now() - 200, id="1700000000.7")
    rig.phones.add(rig.clock.now() - 100, id="other")
    await poll_on(rig.track())
    work = working(rig, "out")
    leg = await the_only_leg(work, " 1700000000.7 ")
    assert (leg.source, leg.kind, leg.subject, leg.revision) == (NAME, "call", "1700000000.7", 1)
    assert leg.lists == ["phones.calls"]
    assert leg.first_seen is not None
    assert abs(leg.first_seen - (rig.clock.now() - 60)) < 1
    assert (leg.shard, leg.seq, leg.together, leg.again) == (0, 1, 2, False)
    assert [(stop.sink, stop.standing) for stop in leg.stops] == [("out", "not known")]
    assert leg.event is not None
    assert await the_only_leg(work, leg.event) == leg


async def test_an_update_is_found_with_what_it_changed(rig: Rig) -> None:
    rig.phones.add(rig.clock.now() - 200, id="c", state="ringing")
    track = rig.track()
    await poll_on(track)
    rig.phones.rows["calls"][0][2]["state"] = "answered"
    await poll_on(track)
    found = await working(rig).journey("c")
    assert [(leg.revision, leg.type) for leg in found.legs] == [
        (1, "telephony.call.new"),
        (2, "telephony.call.updated"),
    ]
    again = await working(rig).journey(found.legs[1].event or "")
    assert [leg.seq for leg in again.legs] == [2], "not by key: the log is looked through"


async def test_how_it_stands_with_a_sink(rig: Rig) -> None:
    rig.phones.add(rig.clock.now() - 200, id="c")
    await poll_on(rig.track())
    work, (one,) = working(rig, "out"), await rig.store.segments_after(0, 0, 1 << 20)
    (event,), begin = segment.unpack(one), segment.end(one)
    start = type(begin)()

    async def stands(**more: object) -> tuple[str, int | None, str | None]:
        await rig.store.attempted(rig.shard.held, "out", Attempted(**({"position": start} | more)))  # type: ignore[arg-type]
        (stop,) = (await the_only_leg(work, "c")).stops
        return stop.standing, stop.attempts, stop.letter

    assert await stands() == ("waiting", None, None)
    retry = Retry(
        sink="out", shard=0, seq=1, event=event, attempts=3, first=1.0, due=2.0, reason="timeout", error="none"
    )
    assert await stands(later=[retry], done=(1,)) == ("to be tried again", 3, None)
    assert await stands(over=[1], done=(1,)) == ("delivered", None, None)
    letter = DeadEvent(
        id=dead_id("out", 0, 1, event.id), sink="out", shard=0, seq=1, reason="gone", error="410", event=event, at=3.0
    )
    assert await stands(position=begin, dead=[letter]) == ("dead letter", None, letter.id)
    assert (await work.journey(letter.id)).letters == [letter.id]


async def test_what_the_log_has_no_more_is_still_remembered(rig: Rig) -> None:
    rig.phones.add(rig.clock.now() - 200, id="old")
    track = rig.track()
    await poll_on(track)
    rig.phones.add(rig.clock.now() - 100, id="new")
    await poll_on(track)
    (first, last) = await rig.store.segments_after(0, 0, 1 << 20)
    await rig.store.delivered(rig.shard.held, "out", segment.end(last))
    await rig.store.expire(log_before=rig.clock.now() + 9, seen_before_day=0, limit=9)
    leg = await the_only_leg(working(rig, "out"), "old")
    assert (leg.event, leg.source, leg.seq, leg.committed) == (None, NAME, first.last, None)
    assert [stop.standing for stop in leg.stops] == ["delivered"]


async def test_a_record_that_was_not_understood_is_found_by_its_bytes(rig: Rig) -> None:
    def say(_: Query) -> bytes:
        return rig.phones.whole(lines([b'{"id": "x77", "own": broken']))

    rig.phones.say = say
    await poll_on(rig.track())
    found = await working(rig).journey("x77")
    assert (found.legs, len(found.letters)) == ([], 1)
    assert (await working(rig).journey("x78")).letters == []


async def test_an_id_that_nobody_knows(rig: Rig) -> None:
    found = await working(rig).journey("none")
    assert (found.legs, found.letters, found.remembered) == ([], [], 0)
    assert "none of them knows it" in found.looked[0]
    for wrong in ("", "  ", "x" * 600):
        with pytest.raises(PollerError, match="1 to 512"):
            await working(rig).journey(wrong)
    for odd in ('"><script>', "\ud800", "\0", "%", "ab" * 16):
        assert (await working(rig).journey(odd)).legs == []


async def test_a_whole_hour_is_no_call() -> None:
    store = MemoryStore(Config())
    held, hour = await store.hold(0), hour_event(1, "out")
    await store.commit_page(held, PageCommit(segment=segment.pack([hour], held.last, 1_000.0), seen=[(hour.seen, 1)]))  # type: ignore[list-item]
    work = Work(
        app_of(Settings(store=Config(), sinks={}), store, FakeClock(), Metrics(), random.Random(1), [Shard(store, 0)]),
        running=True,
    )
    leg = await the_only_leg(work, hour.id)
    assert (leg.type, leg.kind, leg.source) == (hour.type, None, "fono-1")


# --- bounds ----------------------------------------------------------------------------------------------------------


async def logged(count: int) -> Work:
    """So many events of which nothing is remembered but the log."""
    store = MemoryStore(Config())
    shard = Shard(store, 0)
    await shard.believe()
    for first in range(1, count + 1, 1_000):
        events = [call_event(f"same-{seq}", seq) for seq in range(first, min(first + 1_000, count + 1))]
        packed = segment.pack(events, shard.held.last, 1_000.0 + first)
        shard.held = await store.commit_page(shard.held, PageCommit(segment=packed))
    app = app_of(Settings(store=Config(), sinks={}), store, FakeClock(), Metrics(), random.Random(1), [shard])
    return Work(app, running=True)


async def test_only_the_newest_part_of_a_long_log_is_looked_through() -> None:
    work = await logged(journey.EVENTS + 3_000)
    found = await work.journey("same-2")
    assert found.legs == []
    assert found.looked[-1].startswith(f"The newest {journey.EVENTS} events of the log, back to ")
    newest = await work.journey(f"same-{journey.EVENTS}")
    assert [leg.seq for leg in newest.legs] == [journey.EVENTS]


async def test_an_id_that_half_the_log_holds_is_cut() -> None:
    work = await logged(2_000)
    found: Journey = await work.journey("telephony.call.new")
    assert len(found.legs) == journey.LEGS
    assert found.legs[-1].seq == 2_000
    assert f"{2_000 - journey.LEGS} more events" in found.looked[-1]


class Slow(MemoryStore):
    """Of several shards; each reading of the log takes seconds. Counts what is read."""

    def __init__(self, clock: FakeClock, shards: int) -> None:
        super().__init__(Config())
        self.shards = shards
        self.clock = clock
        self.reads = self.largest = 0

    async def segments_before(self, shard: int, seq: int, max_bytes: int) -> list[Segment]:
        self.reads += 1
        self.clock.time += 3
        return await super().segments_before(shard, seq, max_bytes)

    async def segments_after(self, shard: int, seq: int, max_bytes: int) -> list[Segment]:
        self.reads += 1
        return await super().segments_after(shard, seq, max_bytes)

    async def letters(self, ids: Sequence[str]) -> list[DeadRecord | DeadEvent]:
        found = await super().letters(ids)
        self.largest = max(self.largest, sum(len(one.raw) for one in found if isinstance(one, DeadRecord)))
        return found


def over(store: Slow) -> Work:
    shards = [Shard(store, number) for number in range(store.shards)]
    return Work(
        app_of(Settings(store=Config(), sinks={}), store, store.clock, Metrics(), random.Random(1), shards),
        running=True,
    )


async def test_a_slow_store_is_left_after_seconds_however_many_shards_it_has() -> None:
    store = Slow(FakeClock(), 64)
    await over(store).journey("none")
    assert store.reads == 2, "of 3 s each"


@pytest.mark.parametrize("expired", [False, True])
async def test_a_call_that_changed_at_every_poll_is_cut(expired: bool) -> None:
    store = Slow(FakeClock(), 64)
    held = await store.hold(5)
    for seq in range(1, 501):
        event = structs.replace(call_event("c", seq, state=str(seq)), id=f"e{seq}", key=f"k{seq}", subject=f"k{seq}")
        assert event.seen is not None
        wanted, packed = event.seen.id.hex(), None if expired else segment.pack([event], held.last, 1_000.0)
        held = await store.commit_page(held, PageCommit(segment=packed, seen=[(event.seen, seq)]))
    found = await over(store).journey(wanted)
    assert len(found.legs) == (0 if expired else 2 * journey.LEGS), "by key, and the newest others"
    assert [leg.seq for leg in found.legs if leg.seq in {1, 2, 500}] == ([] if expired else [1, 500])
    assert f"{500 - journey.LEGS} more states of it by key" in " ".join(found.looked)
    assert store.reads < 2 * journey.LEGS + 2 * store.shards


async def test_large_records_are_not_read_all_at_once() -> None:
    store = Slow(FakeClock(), 1)
    held = await store.hold(0)
    dead = [
        DeadRecord(id=f"r{number:02}", source="s", endpoint="e", ask="", reason="bad_record", error="", raw=bytes(1 << 20) + b"x77", offset=None, at=1.0)
        for number in range(20)
    ]  # fmt: skip
    await store.commit_page(held, PageCommit(dead=dead))
    found = await over(store).journey("x77")
    assert found.letters == [one.id for one in dead]
    assert store.largest < 3 << 20
    assert "20 of 20 records that were not understood, byte by byte." in found.looked


# --- what a delivery remembers -----------------------------------------------------------------------------------------


async def test_attempts_at_a_webhook_are_remembered() -> None:
    life = EachLife()
    life.sink.answer = lambda _, attempt: later("timeout") if attempt.number == 1 else TAKEN
    delivery = await life.begin()
    await life.commit("a")
    await life.pass_time(30)
    notes = delivery.recent.of(0, 1)
    assert [(note.number, note.outcome, note.reason) for note in notes] == [
        (1, "later", "timeout"),
        (2, "delivered", ""),
    ]
    assert notes[1].begin > notes[0].end
    assert delivery.recent.of(0, 2) == []
    await life.end()
