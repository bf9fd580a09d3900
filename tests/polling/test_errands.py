"""A replay and a retry asked of a process that does not work on the shard: done by the one that does, once, and told truly."""

import random
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from delivery_events import call_event
from delivery_model import Lease
from errands_store import SharedStore
from fake_clock import FakeClock
from msgspec import structs
from polling_app import app_of
from structlog.testing import capture_logs

from poller import segment
from poller.config import Settings
from poller.errand import Errand
from poller.errands import PATIENCE, Doing, Sliced, keep_doing
from poller.errors import PollerError, StoreFault, StoreFull
from poller.identity import shard_of
from poller.metrics import Metrics
from poller.model import DeadEvent, DeadRecord, Event, Held, PageCommit, Position
from poller.operate import Work
from poller.operations import Again, Mark, Replay, Replayed, Retried
from poller.shard import Nobody, Shard
from poller.sinks import ndjson
from poller.stores.memory import Config

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0
SHARDS = 3


class Shared(SharedStore):
    """Which shards were asked, and what the next commits of errands end with."""

    def __init__(self) -> None:
        super().__init__(SHARDS)
        self.asked: list[int] = []
        self.came = anyio.Event()
        self.faults: list[Exception] = []

    async def ask(self, errand: Errand, seconds: float) -> None:
        assert seconds == PATIENCE
        self.asked.append(errand.shard)
        self.came.set()
        await super().ask(errand, seconds)

    async def commit_errand(self, held: Held, page: PageCommit, errand: str, answer: bytes) -> Held | None:
        if self.faults:
            raise self.faults.pop(0)
        return await super().commit_errand(held, page, errand, answer)


class Replica:
    """One process: what it works on, and what may be asked of it."""

    def __init__(self, store: Shared, clock: FakeClock, mine: Collection[int], *sinks: str) -> None:
        self.lease = {number: Lease(store, number) for number in mine}
        shards = [Shard(store, number, owner=self.lease.get(number, Nobody(number))) for number in range(SHARDS)]
        options = {name: ndjson.Config.model_validate({"kind": "ndjson"}) for name in sinks or ("crm",)}
        settings = Settings(store=Config(), sinks=options)
        self.app = app_of(settings, store, clock, Metrics(), random.Random(1), shards)
        self.app.sinks = {name: ndjson.build(name, one, shards=SHARDS) for name, one in options.items()}
        self.work = Work(self.app, running=True)


class Two:
    """The first one works on shard 0, the second one on 1 and 2; it is the first one that is asked."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.store = Shared()
        self.first = Replica(self.store, self.clock, [0])
        self.second = Replica(self.store, self.clock, [1, 2])

    async def fill(self, count: int = 4) -> None:
        for replica in (self.first, self.second):
            for number in replica.lease:
                shard = replica.app.shards[number]
                await shard.believe()
                await self.store.delivered(shard.held, "crm", Position())
                for call in range(count):
                    last = shard.held.last
                    packed = segment.pack([call_event(f"{number}.{call}", last.seq + 1)], last, NOW - 100 + call)
                    shard.held = await self.store.commit_page(shard.held, PageCommit(segment=packed))
                await self.store.delivered(shard.held, "crm", shard.held.last)

    @asynccontextmanager
    async def working(self, *replicas: Replica) -> AsyncIterator[None]:
        """Each looks for what it is asked, and time passes."""
        async with anyio.create_task_group() as tasks:
            for one in replicas:
                tasks.start_soon(keep_doing, one.app, one.work, self._look)
            tasks.start_soon(self._pass_time)
            with anyio.fail_after(60):
                yield
            tasks.cancel_scope.cancel()

    async def _look(self) -> Collection[int]:
        """Of all shards something may be asked."""
        await self.clock.sleep(1)
        return range(SHARDS)

    async def _pass_time(self) -> None:
        while True:
            await self.clock.advance(0.1)

    async def log(self) -> list[Event]:
        found = []
        for number in range(SHARDS):
            for one in await self.store.segments_after(number, 0, 1 << 40):
                found += segment.unpack(one)
        return found

    async def copies(self) -> list[str]:
        return sorted(event.subject for event in await self.log() if event.replay)

    async def replay(self, **more: Any) -> list[Replayed]:
        asked, answers = Replay(sink="crm", since=NOW - 1000, until=NOW), list[Replayed]()
        asked = structs.replace(asked, **more)
        while not answers or not answers[-1].ended:
            answers.append(await self.first.work.replay(asked))
            asked = structs.replace(asked, cursor=answers[-1].cursor)
        return answers


ALL = [f"{shard}.{call}" for shard in range(SHARDS) for call in range(4)]


@pytest.fixture
async def two() -> Two:
    made = Two()
    await made.fill()
    return made


# --- a replay --------------------------------------------------------------------------------------------------------


async def test_a_replay_reaches_the_shards_of_others(two: Two) -> None:
    async with two.working(two.first, two.second):
        answers = await two.replay()
    assert await two.copies() == ALL
    assert sum(count for one in answers for count in one.types.values()) == len(ALL)
    assert set(two.store.asked) == {1, 2}
    assert not two.store.rows, "nothing is left lying"


async def test_what_is_only_counted_is_asked_of_nobody(two: Two) -> None:
    async with two.working():
        answers = await two.replay(dry_run=True)
    assert sum(count for one in answers for count in one.types.values()) == len(ALL)
    assert not two.store.asked


async def test_a_replay_that_nobody_does_says_so_and_is_not_done_later(two: Two) -> None:
    async with two.working(two.first):
        with pytest.raises(PollerError, match=r"no replica has done it for shard 1 within 30 s, and none will"):
            await two.replay()
    before = await two.copies()
    async with two.working(two.second):
        await two.clock.advance(5)
    assert await two.copies() == before


async def test_who_asks_and_goes_away_takes_it_back(two: Two) -> None:
    async with two.working():
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(two.replay)
                await two.store.came.wait()
                scope.cancel()
    assert scope.cancelled_caught
    assert not two.store.rows


async def test_what_was_taken_back_before_its_commit_is_not_done(two: Two) -> None:
    shard = two.second.app.shards[1]
    await two.store.ask(Errand("e", 1, b""), PATIENCE)
    doing = Doing(two.store, Errand("e", 1, b""))
    await two.store.withdraw("e")
    async with shard.lock:
        with pytest.raises(PollerError, match="given up"):
            await doing.commit(shard, PageCommit(), Sliced({}, Mark(0, 0)))
    assert await two.copies() == []


async def test_a_store_that_fails_under_an_errand_is_no_end_of_it(two: Two) -> None:
    two.store.faults = [StoreFault("the database does not answer")] * 2
    with capture_logs() as said:
        async with two.working(two.first, two.second):
            await two.replay()
    assert await two.copies() == ALL
    assert [line["event"] for line in said if line["log_level"] != "debug"] == ["failing", "works again"]


async def test_an_answer_that_came_counts_although_it_cannot_be_taken_from_the_store(two: Two) -> None:
    """Else what was done would be asked for again, and sent twice."""

    async def away(errand: str) -> bytes | None:
        raise StoreFault(f"the database does not answer about {errand}")

    two.store.withdraw = away  # type: ignore[method-assign]
    async with two.working(two.first, two.second):
        await two.replay()
    assert await two.copies() == ALL


async def test_an_owner_that_has_lost_the_shard_says_nothing_about_the_store(two: Two) -> None:
    lease, shard = two.second.lease[1], two.second.app.shards[1]
    shard.held = Held(1, shard.held.epoch - 1, shard.held.last)
    lease.given = False
    with capture_logs() as said:
        async with two.working(two.first, two.second):
            with pytest.raises(PollerError, match="no replica has done it for shard 1"):
                await two.replay()
    assert [line["event"] for line in said if line["log_level"] != "debug"] == []


async def test_an_owner_whose_store_was_set_back_believes_it_anew_and_goes_on(two: Two) -> None:
    shard = two.second.app.shards[2]
    shard.held = Held(2, shard.held.epoch - 1, shard.held.last)
    async with two.working(two.first, two.second):
        await two.replay()
    assert await two.copies() == ALL
    assert two.second.app.metrics.store_rollbacks[()].value == 1


async def test_an_owner_whose_lease_is_over_leaves_it_to_the_next_one(two: Two) -> None:
    two.second.lease[1].lasts = False
    third = Replica(two.store, two.clock, [1])
    await third.app.shards[1].believe()
    async with two.working(two.first, two.second, third):
        await two.replay()
    assert await two.copies() == ALL


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (StoreFull("no room"), "shard 1 says: no room"),
        (RuntimeError("x"), "says: a defect of this program: RuntimeError"),
    ],
)
async def test_what_the_owner_refuses_is_said_at_once(two: Two, fault: Exception, sentence: str) -> None:
    two.store.faults = [fault]
    began = two.clock.mono()
    async with two.working(two.first, two.second):
        with pytest.raises(PollerError, match=sentence):
            await two.replay()
    assert two.clock.mono() - began < PATIENCE
    assert await two.copies() == ALL[:4]


async def test_a_sink_that_the_owner_does_not_know_is_said(two: Two) -> None:
    other = Replica(two.store, two.clock, [1, 2], "audit")
    for number in (1, 2):
        await other.app.shards[number].believe()
    async with two.working(two.first, other):
        with pytest.raises(PollerError, match="says: there is no sink crm in the configuration"):
            await two.replay()


async def test_what_another_version_asks_is_refused(two: Two) -> None:
    await two.store.ask(Errand("e", 1, b'{"type": "dance"}'), PATIENCE)
    async with two.working(two.second):
        while (said := await two.store.answer_to("e")) is None:
            await two.clock.sleep(0.1)
    assert b"another version" in said


# --- dead letters ----------------------------------------------------------------------------------------------------


async def bury(two: Two) -> None:
    """One letter in each shard, and one of a sink that is gone."""
    for number, replica in enumerate((two.first, two.second, two.second)):
        shard = replica.app.shards[number]
        event = call_event(f"dead.{number}", 1)
        letters = [
            DeadEvent(id=f"{sink}-{number}", sink=sink, shard=number, seq=1, reason="x", error="x", event=event, at=NOW)
            for sink in ("crm", "gone")
        ]
        await two.store.delivered(shard.held, "crm", shard.held.last, letters)


async def test_dead_letters_are_tried_again_whoever_works_on_their_shards(two: Two) -> None:
    await bury(two)
    async with two.working(two.first, two.second):
        tried = await two.first.work.retry(Again())
    assert {one.id for one in tried.results if one.done} == {"crm-0", "crm-1", "crm-2"}
    assert {one.error for one in tried.results if not one.done} == {
        "sink gone is not configured: nothing could deliver the event"
    }
    again = [event for event in await two.log() if event.subject.startswith("dead")]
    assert [(event.subject, event.only) for event in again] == [(f"dead.{n}", ("crm",)) for n in range(SHARDS)]
    assert {letter.id for letter in await two.store.letters(["crm-0", "crm-1", "crm-2"])} == set()


async def test_letters_that_nobody_can_try_stay_and_the_others_are_told(two: Two) -> None:
    await bury(two)
    two.second.lease[1].lasts = False
    async with two.working(two.first, two.second):
        tried = await two.first.work.retry(Again(ids=("crm-0", "crm-1", "crm-2")))
    by_id = {one.id: one for one in tried.results}
    assert (by_id["crm-0"].done, by_id["crm-2"].done) == (True, True)
    assert "no replica has done it for shard 1" in str(by_id["crm-1"].error)
    assert [letter.id for letter in await two.store.letters(["crm-1"])] == ["crm-1"]


async def test_letters_that_two_ask_for_at_once_are_appended_once(two: Two) -> None:
    await bury(two)
    results: list[Retried] = []

    async def ask() -> None:
        results.extend((await two.first.work.retry(Again(ids=("crm-1",)))).results)

    async with two.working(two.second), anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        tasks.start_soon(ask)
    assert sorted(str(one.error) for one in results) == ["None", "it is gone: it was retried or deleted meanwhile"]
    assert len([event for event in await two.log() if event.subject == "dead.1"]) == 1


async def test_a_record_of_another_ones_source_is_read_by_that_one(two: Two) -> None:
    """Which has no such endpoint here, and says so."""
    source = next(name for name in map(str, range(100)) if shard_of(name, SHARDS) == 1)
    shard = two.second.app.shards[1]
    record = DeadRecord(
        id="r", source=source, endpoint="e", ask="", reason="x", error="x", raw=b"{}", offset=None, at=NOW
    )
    shard.held = await two.store.commit_page(shard.held, PageCommit(dead=[record]))
    async with two.working(two.second):
        tried = await two.first.work.retry(Again(ids=("r",)))
    (one,) = tried.results
    assert one.error == f"{source} has no endpoint e in the configuration: add it to retry its records"
