"""The steps of a replay on a store: what is appended, for whom, and when it waits."""

import random
from collections.abc import Sequence
from typing import Any

import anyio
import hypothesis.strategies as st
import msgspec
import pytest
from delivery_events import call_event
from fake_clock import FakeClock
from hypothesis import given, settings
from msgspec import structs
from polling_app import app_of

from poller import segment
from poller.config import Settings
from poller.errors import PollerError, StoreFull, Unknown
from poller.kept import Attempted, Retry
from poller.metrics import Metrics
from poller.model import Event, Healing, PageCommit, Position, Segment
from poller.operate import Work
from poller.operations import Replay, Replayed
from poller.shard import Shard
from poller.sinks import ndjson
from poller.sinks.ndjson.sink import NdjsonSink
from poller.stores.memory import Config, MemoryStore

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0


class Particular(NdjsonSink):
    """A sink with a filter of its own: only calls whose id ends so."""

    def wants(self, event: Event) -> bool:
        return event.subject.endswith("7")


class Counting(MemoryStore):
    """Counts how often the log is read."""

    reads = 0

    async def segments_after(self, shard: int, seq: int, max_bytes: int) -> list[Segment]:
        self.reads += 1
        return await super().segments_after(shard, seq, max_bytes)


class Office:
    """A store with shards, a log and a few sinks, one of which is replayed to."""

    def __init__(self, *, shards: int = 1, running: bool = True, **crm: Any) -> None:
        self.store = Counting(Config(shards=shards))
        self.shards = [Shard(self.store, number) for number in range(shards)]
        options = {
            name: ndjson.Config.model_validate({"kind": "ndjson"} | more)
            for name, more in (("crm", crm), ("audit", {}))
        }
        chosen = Settings(store=Config(), sinks=options)
        self.clock = FakeClock(NOW)
        app = app_of(chosen, self.store, self.clock, Metrics(), random.Random(1), self.shards)
        app.sinks = {"crm": NdjsonSink("crm", options["crm"]), "audit": Particular("audit", options["audit"])}
        self.app, self.work = app, Work(app, running=running)

    async def open(self) -> "Office":
        for shard in self.shards:
            await shard.believe()
            for sink in ("crm", "audit"):
                await self.store.delivered(shard.held, sink, Position())
        return self

    async def add(self, at: float, *events: Event, shard: int = 0, jump: int = 0) -> None:
        """One segment; `jump`: numbers that are left out before it."""
        one = self.shards[shard]
        if jump:
            last = Position(one.held.last.seq + jump, one.held.last.chain)
            await self.store.heal(one.held, Healing(sink="other", position=last, last=last))
            await one.believe()
        packed = segment.pack(list(events), one.held.last, at)
        one.held = await self.store.commit_page(one.held, PageCommit(segment=packed))

    async def pass_all(self, sink: str = "crm") -> None:
        for shard in self.shards:
            await self.store.delivered(shard.held, sink, shard.held.last)

    async def log(self) -> list[tuple[float, Event]]:
        found = []
        for shard in self.shards:
            for one in await self.store.segments_after(shard.number, 0, 1 << 40):
                found += [(one.at, event) for event in segment.unpack(one)]
        return found

    async def copies(self) -> list[Event]:
        return [event for _, event in await self.log() if event.replay]

    async def replay(self, since: float, until: float, **more: Any) -> list[Replayed]:
        """All steps, each of which knows only what the one before answered."""
        fields: dict[str, Any] = {"sink": "crm", "since": since, "until": until} | more
        asked = Replay(**fields)
        answers: list[Replayed] = []
        while not answers or not answers[-1].ended:
            answers.append(await self.work.replay(asked))
            asked = structs.replace(asked, cursor=answers[-1].cursor)
            await self.pass_all()
            assert len(answers) < 10_000
        return answers


def subjects(events: Sequence[Event]) -> list[str]:
    return [event.subject for event in events]


def calls(*names: str, **more: Any) -> list[Event]:
    return [structs.replace(call_event(name, 1), **more) for name in names]


async def test_what_was_first_seen_in_the_time_comes_again() -> None:
    office = await Office().open()
    for at, name in ((100, "early"), (200, "a"), (299, "b"), (300, "late")):
        await office.add(NOW + at, *calls(name))
    await office.pass_all()
    before = await office.log()
    (answer,) = await office.replay(NOW + 200, NOW + 300)
    assert answer.types == {"telephony.call.new": 2}
    assert (answer.ended, answer.reached, answer.waiting, answer.kept_from) == (True, NOW + 300, 0, None)
    copies = await office.copies()
    assert subjects(copies) == ["a", "b"]
    assert {copy.only for copy in copies} == {("crm",)}
    assert [copy.id for copy in copies] == [event.id for _, event in before[1:3]]
    assert [int(msgspec.json.decode(copy.body)["sequence"]) for copy in copies] == [5, 6]
    assert office.shards[0].held.last.seq == 6
    assert (await office.log())[:4] == before


async def test_copies_and_what_is_for_others_do_not_come_again() -> None:
    office = await Office().open()
    await office.add(NOW, *calls("mine", "all"), *calls("theirs", only=("audit",)), *calls("back", only=("crm",)))
    await office.add(NOW, *calls("retried", seen=None, only=("crm",)), *calls("replayed", replay=True, only=("crm",)))
    await office.pass_all()
    await office.replay(NOW, NOW + 1)
    assert subjects(await office.copies()) == ["replayed", "mine", "all", "back"]
    await office.replay(NOW, NOW + 1)
    assert subjects(await office.copies()) == ["replayed", *["mine", "all", "back"] * 2], "twice, not four times"


async def test_only_these_types() -> None:
    office = await Office().open()
    await office.add(NOW, call_event("new", 1), call_event("changed", 2, new=False))
    await office.pass_all()
    (answer,) = await office.replay(NOW, NOW + 1, types=("telephony.call.updated",))
    assert answer.types == {"telephony.call.updated": 1}
    assert subjects(await office.copies()) == ["changed"]


async def test_what_the_sink_filters_out_is_neither_counted_nor_sent() -> None:
    office = await Office().open()
    await office.add(NOW, *calls("1", "7", "17", "71"))
    await office.pass_all("audit")
    (answer,) = await office.replay(NOW, NOW + 1, sink="audit")
    assert answer.types == {"telephony.call.new": 2}
    assert subjects(await office.copies()) == ["7", "17"]


async def test_counting_writes_nothing_and_needs_neither_place_nor_room() -> None:
    office = Office(running=False, max_pending="1KiB")
    await office.shards[0].believe()
    await office.add(NOW, *calls(*(str(number) for number in range(20))))
    before = await office.log()
    (answer,) = await office.replay(NOW, NOW + 1, dry_run=True)
    assert (answer.types, answer.ended) == ({"telephony.call.new": 20}, True)
    assert await office.log() == before


async def test_a_large_commit_is_repeated_in_bounded_ones() -> None:
    office = await Office().open()
    await office.add(NOW, *calls(*(str(number) for number in range(2_500))))
    await office.pass_all()
    await office.replay(NOW, NOW + 1)
    log = await office.store.segments_after(0, 2_500, 1 << 40)
    assert [one.last - one.first + 1 for one in log] == [1_000, 1_000, 500]


async def test_steps_are_bounded_and_what_is_reached_is_done() -> None:
    office = await Office(max_pending="40KiB").open()
    for number in range(60):
        await office.add(NOW + number, *calls(str(number)))
    await office.pass_all()
    asked = Replay(sink="crm", since=NOW, until=NOW + 60)
    steps = 0
    while True:
        answer = await office.work.replay(asked)
        done = {event.subject for event in await office.copies()}
        assert done == {str(number) for number in range(60) if NOW + number < answer.reached}
        steps += 1
        if answer.ended:
            break
        asked = structs.replace(asked, cursor=answer.cursor)
        await office.pass_all()
    assert steps > 3
    assert len(await office.copies()) == 60


async def test_it_waits_for_a_sink_that_has_too_much_to_do() -> None:
    office = await Office(max_pending="40KiB").open()
    await office.add(NOW, *calls("a"))
    asked = Replay(sink="crm", since=NOW, until=NOW + 1)
    await office.add(NOW + 5000, *calls(*(str(number) for number in range(100))))
    answer = await office.work.replay(asked)
    assert (answer.waiting, answer.ended, answer.types) == (101, False, {})
    assert await office.copies() == []
    await office.pass_all()
    answer = await office.work.replay(structs.replace(asked, cursor=answer.cursor))
    assert (answer.waiting, answer.ended) == (0, True)
    assert subjects(await office.copies()) == ["a"]


async def test_what_is_kept_to_be_tried_again_counts_and_what_is_done_does_not() -> None:
    office = await Office(max_pending="40KiB").open()
    await office.add(NOW, *calls("a"), *calls(*(str(number) for number in range(100))))
    asked = Replay(sink="crm", since=NOW, until=NOW + 1)
    shard = office.shards[0]
    await office.store.attempted(shard.held, "crm", Attempted(position=Position(), done=tuple(range(2, 102))))
    later = [Retry(sink="crm", shard=0, seq=seq, event=call_event(str(seq), seq)) for seq in range(2, 102)]
    await office.store.attempted(
        shard.held, "crm", Attempted(position=Position(), done=tuple(range(2, 102)), later=later)
    )
    assert (await office.work.replay(asked)).waiting == 101
    over = [retry.seq for retry in later]
    await office.store.attempted(
        shard.held, "crm", Attempted(position=Position(), done=tuple(range(2, 102)), over=over)
    )
    assert (await office.work.replay(asked)).waiting == 0


async def test_without_a_daemon_it_does_not_wait_for_ever() -> None:
    office = await Office(running=False, max_pending="40KiB").open()
    await office.add(NOW, *calls(*(str(number) for number in range(100))))
    with pytest.raises(PollerError, match="100 events wait for sink crm, and no daemon runs"):
        await office.replay(NOW, NOW + 1)


async def test_a_store_without_room_takes_no_copies() -> None:
    office = await Office().open()
    await office.add(NOW, *calls("a"))
    await office.pass_all()
    office.store._config = Config(max_bytes="1B")
    with pytest.raises(StoreFull):
        await office.replay(NOW, NOW + 1)


async def test_what_cannot_be_replayed_is_said() -> None:
    office = await Office().open()
    await office.add(NOW, *calls("a"))
    for more, error, sentence in (
        ({"sink": "nobody"}, Unknown, "there is no sink nobody in the configuration; there are: crm, audit"),
        ({"until": NOW}, PollerError, "ends before it begins"),
        ({"cursor": ()}, PollerError, "another store"),
    ):
        asked = structs.replace(Replay(sink="crm", since=NOW, until=NOW + 1), **more)
        with pytest.raises(error, match=sentence):
            await office.work.replay(asked)
    await office.store.forget_sink("crm")
    with pytest.raises(PollerError, match="sink crm has never run, so it has no place in the log yet"):
        await office.replay(NOW, NOW + 1)


async def test_a_store_that_was_exchanged_meanwhile_is_noticed() -> None:
    office = await Office(max_pending="4KiB").open()
    await office.add(NOW, *calls("a"))
    await office.add(NOW, *calls("b"))
    await office.pass_all()
    asked = Replay(sink="crm", since=NOW, until=NOW + 1)
    answer = await office.work.replay(asked)
    assert not answer.ended
    office.store.restore(MemoryStore())
    await office.open()
    with pytest.raises(PollerError, match="was exchanged"):
        await office.work.replay(structs.replace(asked, cursor=answer.cursor))


async def test_events_that_are_no_longer_kept_are_said() -> None:
    office = await Office().open()
    for number in range(6):
        await office.add(NOW + number, *calls(str(number)))
    assert (await office.replay(NOW - 9, NOW + 9))[0].kept_from is None, "nothing has gone yet"
    await office.pass_all()
    await office.pass_all("audit")
    old = (await office.store.segments_after(0, 1, 1))[0]
    await office.store.delivered(office.shards[0].held, "removed", segment.end(old))
    await office.store.expire(log_before=NOW + 3, seen_before_day=0, limit=99, sinks={"crm", "audit"})
    assert [event.subject for _, event in await office.log() if not event.replay] == ["1", "3", "4", "5"]
    (answer,) = await office.replay(NOW, NOW + 9)
    assert answer.kept_from == NOW + 3, "what is kept for a removed sink alone does not count"
    assert (await office.replay(NOW + 3, NOW + 9))[0].kept_from is None


async def test_nothing_is_found() -> None:
    office = await Office().open()
    (answer,) = await office.replay(NOW, NOW + 9)
    assert (answer.ended, answer.types, answer.reached) == (True, {}, NOW + 9)
    await office.add(NOW, *calls("a"))
    await office.pass_all()
    (answer,) = await office.replay(NOW + 1, NOW + 9)
    assert (answer.ended, answer.types) == (True, {})


async def test_a_clock_that_was_moved_back_hides_nothing() -> None:
    office = await Office().open()
    for number, at in enumerate((0, 1000, 2000, 1700, 1800, 2100, 5000)):
        await office.add(NOW + at, *calls(str(number)))
    await office.pass_all()
    await office.replay(NOW + 1650, NOW + 1900)
    assert subjects(await office.copies()) == ["3", "4"]


async def test_a_clock_that_was_moved_back_hides_nothing_of_the_beginning() -> None:
    office = await Office().open()
    for number, at in enumerate((0, 2000, 1700, 2100, 5000)):
        await office.add(NOW + at, *calls(str(number)))
    await office.pass_all()
    await office.replay(NOW + 1900, NOW + 2200)
    assert subjects(await office.copies()) == ["1", "3"]


async def test_what_comes_after_the_replay_has_begun_is_none_of_its_business() -> None:
    office = await Office(max_pending="8KiB").open()
    for name in "abc":
        await office.add(NOW, *calls(name))
    body = len((await office.log())[0][1].body)
    assert body * 2 < 2048 < body * 4, "so that a slice holds two or three"
    asked = Replay(sink="crm", since=NOW, until=NOW + 100, dry_run=True)
    answers = [await office.work.replay(asked)]
    assert not answers[0].ended
    await office.add(NOW + 1, *calls("new"))
    while not answers[-1].ended:
        answers.append(await office.work.replay(structs.replace(asked, cursor=answers[-1].cursor)))
    assert sum(sum(answer.types.values()) for answer in answers) == 3


async def test_shards_advance_together_so_that_little_is_left_where_it_breaks_off() -> None:
    office = await Office(shards=2, max_pending="8KiB").open()
    for number in range(40):
        await office.add(NOW + number, *calls(str(number)), shard=number % 2)
    await office.pass_all()
    answers = await office.replay(NOW, NOW + 40)
    assert answers[len(answers) // 2].reached >= NOW + 15


LOGS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 400), st.integers(1, 5), st.sampled_from([0, 0, 0, 7, 5000])),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(log=LOGS, since=st.integers(-1000, 9000), span=st.integers(1, 6000), small=st.booleans())
def test_any_log_gives_each_original_once_in_order(log: Any, since: int, span: int, small: bool) -> None:
    async def check() -> None:
        more: Any = {"max_pending": "8KiB"} if small else {}
        office = await Office(shards=3, **more).open()
        at, numbers = 0, 0
        for shard, later, count, jump in log:
            at += later
            names = [f"{shard} {numbers + place}" for place in range(count)]
            numbers += count
            await office.add(NOW + at, *calls(*names), shard=shard, jump=jump)
        await office.pass_all()
        originals = [event for when, event in await office.log() if since <= when - NOW < since + span]
        answers = await office.replay(NOW + since, NOW + since + span)
        copies = await office.copies()
        assert sorted(subjects(copies)) == sorted(subjects(originals))
        for shard in range(3):  # within one shard they come in the order in which they stand in its log
            mine = [name for name in subjects(copies) if name.startswith(f"{shard} ")]
            assert mine == [name for name in subjects(originals) if name.startswith(f"{shard} ")]
        assert sum(sum(answer.types.values()) for answer in answers) == len(originals)
        reached = [answer.reached for answer in answers]
        assert reached == sorted(reached)
        assert reached[-1] == NOW + since + span

    anyio.run(check)


async def test_the_beginning_is_found_without_reading_the_log() -> None:
    office = await Office().open()
    for number in range(2_000):
        await office.add(NOW + 10 * number, *calls(str(number)))
    await office.pass_all()
    office.store.reads = 0
    (answer,) = await office.replay(NOW + 19_000, NOW + 19_100, dry_run=True)
    assert sum(answer.types.values()) == 10
    assert office.store.reads < 50
