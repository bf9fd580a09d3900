"""What the command line does with dead letters, and what it refuses to forget."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from anyio import create_task_group, wait_all_tasks_blocked
from delivery_events import call_event
from each_life import EachLife, ScriptedSink
from fake_clock import FakeClock
from msgspec import structs
from polling_app import app_of
from polling_rig import ID, NAME, Rig, poll_on
from polling_vendor import Listed, Query, lines

from poller import segment
from poller.config import Settings
from poller.errors import Outdated, PollerError, Unknown
from poller.hours import Book
from poller.kept import LetterHead, LetterPlace, Which
from poller.letters import COMMIT, LISTED, RECORDS
from poller.metrics import Metrics
from poller.model import HOUR, DeadEvent, DeadRecord, Event, Held, PageCommit, Position
from poller.one_by_one.delivery import EachDelivery
from poller.one_by_one.notes import MOST
from poller.one_by_one.outlet import Outlet
from poller.one_by_one.turns import Turns
from poller.operate import Work
from poller.operations import Again, DeadLetter, Listing, Retried, Tried
from poller.options import SinkOptions
from poller.shard import Shard
from poller.sinks import ndjson
from poller.stores.memory import Config, MemoryStore

pytestmark = pytest.mark.anyio

BROKEN = b'{"id": "x", "own": \xff'


def working(rig: Rig, listed: Listed, *sinks: str) -> Work:
    """The operations of a daemon with this one endpoint and these sinks."""
    options = {name: ndjson.Config(kind="ndjson", path=Path("-")) for name in sinks}
    chosen = Settings(store=Config(), sinks=options)
    app = app_of(chosen, rig.store, rig.clock, rig.metrics, rig.setup.rnd, [rig.shard])
    app.sinks = {name: ndjson.build(name, one, shards=1) for name, one in options.items()}
    app.tracks = [rig.track(listed)]
    return Work(app, running=True)


async def bury(rig: Rig, listed: Listed, *broken: bytes) -> None:
    """A poll that brings a good record and broken ones."""
    rig.phones.add(rig.clock.now() - 100, id="good")

    def say(query: Query) -> bytes:
        return rig.phones.whole(lines([*broken, *(msgspec.json.encode(row) for row in rig.phones.visible(query))]))

    rig.phones.say = say
    await poll_on(rig.track(listed))


async def shown(work: Work, **which: str) -> list[DeadLetter]:
    return (await work.dead_letters(Listing(which=Which(**which)))).letters


async def tried(work: Work, *ids: str) -> list[Retried]:
    return (await work.retry(Again(ids=ids))).results


async def test_a_record_is_published_once_its_parser_was_mended(rig: Rig) -> None:
    listed = Listed()
    await bury(rig, listed, BROKEN)
    work = working(rig, listed)
    (letter,) = await shown(work)
    (early,) = await tried(work, letter.id)
    assert (early.done, early.error) == (False, "is no JSON")
    assert len(await shown(work)) == 1, "kept"
    listed.mended = True
    (done,) = await tried(work, letter.id[:8])
    assert done.done
    assert await shown(work) == []
    assert await rig.told() == [("call.new", "good", 1), ("call.new", "mended", 1)]
    with pytest.raises(Unknown):
        await tried(work, letter.id)


async def test_a_record_that_is_mended_after_its_hour_was_told_is_late_and_before_is_counted(rig: Rig) -> None:
    listed, begin = Listed(), int(rig.clock.now()) // HOUR * HOUR - HOUR
    keys: dict[str, Any] = {"ladder": [{"back": "10m"}], "start": "3h", "book": Book(ID, listed, ("crm",))}
    for number in range(2):
        rig.phones.add(begin + number * (HOUR + 1_000), id=str(number), later_defect=True)
    rig.clock.wall = begin + HOUR + 1_200
    track = rig.track(listed, **keys)
    await poll_on(track)
    listed.mended = True
    work = working(rig, listed)
    work._app.tracks = [track]
    assert all(one.done for one in await tried(work, *[letter.id for letter in await shown(work)]))
    found = {one["subject"]: one["data"] for one in await rig.events()}
    assert (found["0"]["late"], found["1"]["late"]) == (True, False)
    rig.clock.wall += HOUR
    await poll_on(rig.track(listed, **keys | {"book": Book(ID, listed, ("crm",))}))
    told = [one["data"]["counts"] for one in await rig.events() if one["type"] == "telephony.window.complete"]
    assert [(counts["new"], counts["invalid"] > 0) for counts in told[-2:]] == [(0, True), (1, True)]


async def test_a_record_that_is_named_twice_is_tried_once(rig: Rig) -> None:
    listed = Listed()
    await bury(rig, listed, BROKEN)
    listed.mended = True
    work = working(rig, listed)
    (letter,) = await shown(work)
    assert [(one.id, one.done) for one in await tried(work, letter.id, letter.id[:8])] == [(letter.id, True)] * 2


async def test_a_record_that_was_published_meanwhile_is_closed_and_not_published_again(rig: Rig) -> None:
    listed = Listed()
    await bury(rig, listed, BROKEN, BROKEN + b" ")
    listed.mended = True
    work = working(rig, listed)
    results = await tried(work, *[letter.id for letter in await shown(work)])
    assert [result.done for result in results] == [True, True]
    assert await rig.told() == [("call.new", "good", 1), ("call.new", "mended", 1)]


async def test_an_event_is_tried_again_through_the_log_for_its_sink_alone(rig: Rig) -> None:
    listed = Listed()
    await bury(rig, listed)
    work = working(rig, listed, "crm", "kafka")
    (event,) = await rig.log()
    dead = DeadEvent(
        id="crm-1", sink="crm", shard=0, seq=1, reason="too_large", error="413", event=event, at=rig.clock.now()
    )
    await rig.store.delivered(rig.shard.held, "crm", rig.shard.held.last, [dead])
    (done,) = await tried(work, "crm-1")
    assert done.done
    first, again = await rig.log()
    assert (again.only, first.only) == (("crm",), None)
    assert (again.id, again.seen) == (first.id, None)
    assert msgspec.json.decode(again.body)["sequence"].endswith("2")
    assert await shown(work) == []
    assert rig.shard.held.last.seq == 2
    rig.phones.say = None
    await poll_on(rig.track(listed))
    assert len(await rig.log()) == 2, "its id stays known"


async def test_an_event_of_a_sink_that_is_gone_stays(rig: Rig) -> None:
    listed = Listed()
    await bury(rig, listed)
    (event,) = await rig.log()
    dead = DeadEvent(id="old-1", sink="old", shard=0, seq=1, reason="too_large", error="413", event=event, at=1.0)
    await rig.store.delivered(rig.shard.held, "old", rig.shard.held.last, [dead])
    work = working(rig, listed, "kafka")
    (result,) = await tried(work, "old-1")
    assert not result.done
    assert "not configured" in (result.error or "")
    assert len(await shown(work)) == 1


async def test_ids_may_be_shortened_while_they_are_unambiguous(rig: Rig) -> None:
    listed = Listed()
    await bury(rig, listed, *(BROKEN + b" " * number for number in range(40)))
    work = working(rig, listed)
    letters = await shown(work)
    assert len(letters) == 40
    assert all(letter.body is None for letter in letters)
    whole = await work.dead_letter(letters[0].id)
    assert whole.body is not None
    assert whole.body.startswith(BROKEN)
    digit = max("0123456789abcdef", key=lambda one: sum(letter.id.startswith(one) for letter in letters))
    for letter, sentence in ((digit, "several"), ("zz", "no dead letter"), ("", "several")):
        with pytest.raises(Unknown, match=sentence):
            await work.dead_letter(letter)
    assert {letter.source for letter in await shown(work, source=ID)} == {ID}
    assert await shown(work, sink="kafka") == []
    assert await shown(work, reason="exhausted") == []


async def test_an_id_that_is_the_beginning_of_others_is_meant_itself(rig: Rig) -> None:
    letters = [structs.replace(letter_of(number), id="crm-" + "1" * number) for number in (1, 2, 3)]
    await rig.store.delivered(rig.shard.held, "crm", Position(), letters)
    work = working(rig, Listed(), "crm")
    assert (await work.dead_letter("crm-11")).id == "crm-11"
    with pytest.raises(Unknown, match="several"):
        await work.dead_letter("crm-")


async def test_a_store_that_fails_is_no_fault_of_a_record(rig: Rig) -> None:
    """Else a retry would run through all of them and call each a failure."""
    listed = Listed()
    await bury(rig, listed, BROKEN)
    listed.mended = True
    await rig.store.hold(0)
    work = working(rig, listed)
    with pytest.raises(Outdated):
        await work.retry(Again())
    assert len(await shown(work)) == 1


# --- by the thousand -------------------------------------------------------------------------------------------------


class Counting(MemoryStore):
    """Counts its commits, and the most letters that were read at a time."""

    commits = 0
    most = 0
    looked = 0

    async def commit_page(self, held: Held, page: PageCommit) -> Held:
        self.commits += 1
        assert page.segment is None or page.segment.last - page.segment.first < COMMIT
        return await super().commit_page(held, page)

    async def letter_heads(self, which: Which, *, after: LetterPlace, until: float, limit: int) -> list[LetterHead]:
        assert limit <= LISTED + 1
        return await super().letter_heads(which, after=after, until=until, limit=limit)

    async def letters(self, ids: Sequence[str]) -> list[DeadRecord | DeadEvent]:
        self.most = max(self.most, len(ids))
        self.looked += 1
        return await super().letters(ids)


def letter_of(number: int, *, sink: str = "crm", size: int = 0, shard: int = 0, at: float | None = None) -> DeadEvent:
    event = call_event(f"c{number}", number + 1)
    body = msgspec.json.encode(msgspec.json.decode(event.body) | {"x": "x" * size}) if size else event.body
    return DeadEvent(
        id=f"{sink}-{number:05d}", sink=sink, shard=shard, seq=number, reason="backlog", error="",
        event=structs.replace(event, body=body), at=1_000.0 + number if at is None else at,
    )  # fmt: skip


class Office:
    """A store with dead letters, and sinks that take what they are given, or do not."""

    def __init__(self, *sinks: str, shards: int = 1, running: bool = True, **keys: Any) -> None:
        self.store = Counting(Config(shards=shards))
        self.clock = FakeClock()
        self.shards = [Shard(self.store, number) for number in range(shards)]
        options = {name: ndjson.Config(kind="ndjson", path=Path("-"), **keys) for name in sinks}
        settings = Settings(store=Config(), sinks=options)
        self.app = app = app_of(settings, self.store, self.clock, Metrics(), random.Random(1), self.shards)
        app.sinks = {name: ndjson.build(name, one, shards=1) for name, one in options.items()}
        self.work = Work(app, running=running)

    async def bury(self, *letters: DeadEvent) -> "Office":
        for shard in self.shards:
            await shard.believe()
            for sink in {letter.sink for letter in letters}:
                await self.store.delivered(shard.held, sink, Position(), [one for one in letters if one.sink == sink])
        return self

    async def deliver(self, sink: str = "crm") -> None:
        for shard in self.shards:
            await self.store.delivered(shard.held, sink, shard.held.last)

    async def log(self) -> list[Event]:
        found = [await self.store.segments_after(shard.number, 0, 1 << 40) for shard in self.shards]
        return [event for segments in found for one in segments for event in segment.unpack(one)]

    async def retry(self, *, steps: int = 1_000, **which: str) -> list[Tried]:
        """All steps, each of which knows only what the one before answered; everything is delivered between two."""
        asked = Again(which=Which(**which))
        answers: list[Tried] = []
        while not answers or not answers[-1].ended:
            answers.append(await self.work.retry(asked))
            asked = structs.replace(asked, cursor=answers[-1].cursor)
            await self.deliver()
            assert len(answers) <= steps
        return answers


async def test_twenty_thousand_are_retried_in_few_commits_and_small_pieces() -> None:
    count = 20_000
    office = await Office("crm").bury(*(letter_of(number) for number in range(count)))
    answers = await office.retry()
    assert [one.id for answer in answers for one in answer.results if one.done] == [
        f"crm-{number:05d}" for number in range(count)
    ]
    assert [answer.total for answer in answers] == list(range(count, -1, -COMMIT))
    assert office.store.commits == count // COMMIT
    assert office.store.looked == count // COMMIT
    assert office.store.most == COMMIT
    copies = await office.log()
    assert [copy.subject for copy in copies] == [f"c{number}" for number in range(count)]
    assert {copy.only for copy in copies} == {("crm",)}
    assert await office.store.letter_totals() == []


async def test_a_retry_waits_for_a_sink_that_has_too_much_to_do() -> None:
    """A quarter of max_pending is what it may fill, and one step at most as much."""
    limit = 400 << 10
    office = await Office("crm", max_pending=f"{limit}B").bury(*(letter_of(number) for number in range(2_000)))
    asked = Again(which=Which(sink="crm"))
    while (answer := await office.work.retry(asked)).results:
        assert not answer.waiting
        asked = structs.replace(asked, cursor=answer.cursor)
    waiting = await office.log()
    assert limit // 4 < sum(len(event.body) for event in waiting) <= limit // 2
    for again in (asked, asked, Again(ids=("crm-01999",))):
        stuck = await office.work.retry(again)
        assert (stuck.results, stuck.waiting, stuck.sink, stuck.ended) == ([], len(waiting), "crm", False)
    assert (await office.work.retry(asked)).cursor == asked.cursor
    await office.deliver()
    done = await office.work.retry(asked)
    assert done.results[0].id == f"crm-{len(waiting):05d}"


class Hurried(EachDelivery):
    """Counts how often it is told that somebody waits."""

    times = 0
    waits = 0

    @property
    def pending(self) -> int:
        return self.waits

    def hurry(self) -> None:
        self.times += 1


async def test_who_waits_for_room_lets_the_sink_write_what_it_has_taken_unless_much_waits() -> None:
    each = EachLife()
    office = await Office("crm", "erp", max_pending="1KiB").bury(letter_of(1), letter_of(2))
    outlets = [Outlet(each.store, ScriptedSink(each.clock, name=name), SinkOptions(), each.clock, random.Random(1), each.metrics,
                      Turns(each.clock.mono)) for name in ("crm", "erp")]  # fmt: skip
    crm, erp = (Hurried(outlet) for outlet in outlets)
    office.app.deliveries = [crm, erp]
    asked = Again(ids=("crm-00001",))
    assert (await office.work.retry(asked)).results
    assert crm.times == 0
    assert (await office.work.retry(Again())).waiting
    assert (crm.times, erp.times) == (1, 0)
    crm.waits = MOST + 1
    assert (await office.work.retry(Again())).waiting
    assert crm.times == 1, "it writes so many together anyway"


async def test_a_sink_with_too_much_to_do_ends_a_step_before_its_letters() -> None:
    letters = [letter_of(number, sink="erp" if number in {30, 60} else "crm") for number in range(100)]
    office = await Office("crm", "erp", max_pending="400KiB").bury(*letters)
    held = office.shards[0].held
    events = [letter_of(number, size=1_000).event for number in range(100)]
    packed = segment.pack(events, held.last, 1.0)
    office.shards[0].held = await office.store.commit_page(held, PageCommit(segment=packed))
    await office.deliver("crm")
    answer = await office.work.retry(Again())
    assert [one.id for one in answer.results] == [f"crm-{number:05d}" for number in range(30)]
    stuck = await office.work.retry(Again(cursor=answer.cursor))
    assert (stuck.results, stuck.waiting, stuck.sink) == ([], 100, "erp"), "what the log holds for it"
    await office.deliver("erp")
    done = await office.work.retry(Again(cursor=answer.cursor))
    assert len(done.results) == 70


async def test_without_a_daemon_nobody_would_make_room() -> None:
    office = await Office("crm", running=False, max_pending="1KiB").bury(letter_of(1), letter_of(2))
    assert len((await office.work.retry(Again(ids=("crm-00001",)))).results) == 1
    with pytest.raises(PollerError, match="1 events wait for sink crm, and no daemon runs"):
        await office.work.retry(Again())


async def test_a_step_is_bounded_in_bytes_too() -> None:
    office = await Office("crm").bury(*(letter_of(number, size=1 << 20) for number in range(10)))
    answers = await office.retry()
    assert [len(answer.results) for answer in answers] == [3, 3, 3, 1, 0]
    office = await Office("crm").bury(*(letter_of(number, size=5 << 20) for number in range(2)))
    part = await office.work.dead_letters(Listing(bodies=True))
    assert [letter.id for letter in part.letters] == ["crm-00000"]
    assert part.after is not None
    rest = await office.work.dead_letters(Listing(bodies=True, after=part.after))
    assert ([letter.id for letter in rest.letters], rest.after, rest.total) == (["crm-00001"], None, 2)


async def test_what_dies_again_is_not_tried_again_by_the_same_retry() -> None:
    office = await Office("crm").bury(*(letter_of(number) for number in range(3)))
    first = await office.work.retry(Again())
    assert len(first.results) == 3
    office.clock.wall += 1
    held = office.shards[0].held
    again = [letter_of(number, at=office.clock.now()) for number in range(100, 103)]
    await office.store.delivered(held, "crm", held.last, again)
    assert (await office.work.retry(Again(cursor=first.cursor))).ended
    assert len((await office.work.retry(Again())).results) == 3, "by the next one it is"


async def test_only_those_that_were_chosen_are_tried() -> None:
    letters = [letter_of(1), letter_of(2, sink="erp"), structs.replace(letter_of(3), reason="exhausted")]
    office = await Office("crm", "erp").bury(*letters)
    answers = await office.retry(sink="crm", reason="exhausted")
    assert [one.id for answer in answers for one in answer.results] == ["crm-00003"]
    assert answers[0].total == 1
    answers = await office.retry(source="nobody")
    assert [(answer.results, answer.ended, answer.total) for answer in answers] == [([], True, 0)]


async def test_letters_of_all_shards_go_back_to_their_own() -> None:
    office = await Office("crm", shards=2).bury(*(letter_of(number, shard=number % 2) for number in range(6)))
    (answer, _) = await office.retry()
    assert [one.id for one in answer.results] == [f"crm-{number:05d}" for number in range(6)], "in their own order"
    assert [copy.subject for copy in await office.log()] == ["c0", "c2", "c4", "c1", "c3", "c5"]


async def test_letters_that_two_ask_for_at_once_are_sent_once() -> None:
    office = await Office("crm").bury(letter_of(1), letter_of(2))
    answers: list[Tried] = []

    async def retry() -> None:
        answers.append(await office.work.retry(Again()))

    async with create_task_group() as tasks, office.shards[0].lock:
        tasks.start_soon(retry)
        tasks.start_soon(retry)
        await wait_all_tasks_blocked()
    assert sorted([(one.id, one.done) for one in answer.results] for answer in answers) == [
        [("crm-00001", False), ("crm-00002", False)],
        [("crm-00001", True), ("crm-00002", True)],
    ]
    assert [copy.subject for copy in await office.log()] == ["c1", "c2"]


async def test_a_store_that_fails_ends_the_retry_and_loses_nothing() -> None:
    office = await Office("crm").bury(letter_of(1))
    stale, office.shards[0].held = office.shards[0].held, await office.store.hold(0)
    office.shards[0].held = stale
    with pytest.raises(Outdated):
        await office.work.retry(Again())
    assert await office.log() == []
    assert len((await office.work.dead_letters(Listing())).letters) == 1


async def test_records_come_fewer_at_a_time(rig: Rig) -> None:
    listed = Listed()
    await bury(rig, listed, *(BROKEN + b" " * number for number in range(RECORDS + 20)))
    work = working(rig, listed)
    first = await work.retry(Again())
    assert [one.done for one in first.results] == [False] * RECORDS
    second = await work.retry(Again(cursor=first.cursor))
    assert len(second.results) == 20
    assert (await work.retry(Again(cursor=second.cursor))).ended


async def test_a_long_list_comes_in_parts() -> None:
    office = await Office("crm").bury(*(letter_of(number) for number in range(2_500)))
    found: list[str] = []
    after: LetterPlace | None = LetterPlace()
    while after is not None:
        part = await office.work.dead_letters(Listing(after=after, limit=5_000))
        assert (part.total, len(part.letters) <= LISTED) == (2_500, True)
        found += [letter.id for letter in part.letters]
        after = part.after
    assert found == [f"crm-{number:05d}" for number in range(2_500)]
    assert office.store.looked == 0, "no body is read for a list"
    part = await office.work.dead_letters(Listing(limit=2))
    assert ([letter.id for letter in part.letters], part.total) == (["crm-00000", "crm-00001"], 2_500)


# --- forgetting, and recordings --------------------------------------------------------------------------------------


async def test_only_what_is_not_configured_any_more_can_be_forgotten(rig: Rig) -> None:
    listed = Listed()
    await bury(rig, listed)
    work = working(rig, listed, "kafka")
    for refused in (work.forget_source(ID), work.forget_sink("kafka")):
        with pytest.raises(PollerError, match="is configured"):
            await refused
    for unknown in (work.forget_source("nobody"), work.forget_sink("nobody")):
        with pytest.raises(Unknown):
            await unknown
    await rig.store.delivered(rig.shard.held, "old", rig.shard.held.last)
    await work.forget_sink("old")
    assert await rig.store.positions() == {}
    work._app.tracks = []
    await work.forget_source(ID)
    assert await rig.store.checkpoints() == {}


@pytest.fixture
def one_shard(harness: Any) -> None:
    """Whatever the source is called, its events are where the rig writes."""
    harness.shards = 1


@pytest.mark.usefixtures("one_shard")
async def test_the_newest_event_of_a_recording_is_found(rig: Rig) -> None:
    rig.phones.add(rig.clock.now() - 100, id="a", recordings=["r"])
    rig.phones.add(rig.clock.now() - 90, path="recordings", id="r", call="a", url="https://pbx.example/r.mp3")
    await poll_on(rig.track())
    await poll_on(rig.track(Listed("recording")))
    work = working(rig, Listed("recording"))
    found = await work.recording(NAME, "r")
    assert found is not None
    assert found["media_url"] == "https://pbx.example/r.mp3"
    assert await work.recording(NAME, "unknown") is None
    with pytest.raises(Unknown):
        await work.recording("nobody", "r")
