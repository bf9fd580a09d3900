"""The delivery of one sink, step by step."""

import json
from typing import Any

import msgspec
import pytest
from delivery_events import call_event, seen_key
from delivery_model import Lease, quiet
from stores_content import dead_events
from structlog.testing import capture_logs

from poller.deliver import AT_ONCE, BUSY, GATHER
from poller.errors import Fenced, ForeignProgress, SinkFault, SinkRefused, StoreFault
from poller.model import CheckpointKey, PageCommit, Position, Progress
from poller.route import Rewound
from poller.segment import pack, unpack
from poller.settle import WATCH
from poller.shard import Shard

pytestmark = pytest.mark.anyio


async def test_delivers_in_order_and_notes_the_position(life: Any) -> None:
    await life.commit("a", "b")
    await life.begin()
    await life.commit("c")
    await life.drive()
    assert life.published == ["a", "b", "c"]
    assert await life.store.position("kafka", 0) == life.shard.held.last
    await life.delivery.caught_up()
    assert life.metrics.deliveries["kafka", "delivered", ""].value == 3
    assert life.metrics.pending_events["kafka"].value == 0


async def test_it_settles_again_where_somebody_else_read_the_store_anew(life: Any) -> None:
    await life.commit("a")
    await life.begin()
    lanes = life.sink.lanes
    async with life.shard.lock:
        await life.shard.believe()
    await life.commit("b")
    await life.drive()
    assert life.published == ["a", "b"]
    assert life.sink.lanes == lanes + 1


async def test_a_lane_whose_shard_is_lost_waits_to_be_ended(life: Any) -> None:
    """It asks now and then, without a word, and goes on where the shard is this replica's again."""
    lease = Lease(life.store, 0)
    life.shard = Shard(life.store, 0, owner=lease)
    await life.commit("a")
    await life.begin()
    lease.lasts, before = False, lease.asked
    await life.commit("b")
    with capture_logs() as said:
        await life.clock.advance(5)
    assert 0 < lease.asked - before <= 12
    assert not said
    lease.lasts = True
    await life.drive()
    assert life.published == ["a", "b"]
    assert life.metrics.store_rollbacks[()].value == 0


async def test_after_many_events_the_next_ones_gather_for_a_moment(life: Any) -> None:
    await life.begin()
    await life.commit(*[f"many-{number}" for number in range(BUSY + 1)])
    await quiet(life.fuse)
    assert life.clock.sleeping == 1, "more is near"
    await life.commit("next")
    await life.commit("and next")
    await quiet(life.fuse)
    assert len(life.published) == BUSY + 1, "they wait together"
    await life.clock.advance(GATHER)
    assert life.published[-2:] == ["next", "and next"]
    assert life.clock.sleeping == 0, "few came: the next one goes at once"
    await life.commit("alone")
    await quiet(life.fuse)
    assert life.published[-1] == "alone"


async def test_a_backlog_that_fills_deliveries_does_not_wait(life: Any) -> None:
    raw = [call_event(f"large-{number}", number, size=10_000) for number in range(1, BUSY + 2)]
    life.shard.held = await life.store.hold(0)
    segment = pack(raw, life.shard.held.last, life.clock.now())
    assert segment.recorded_bytes > AT_ONCE // 2
    life.shard.held = await life.store.commit_page(life.shard.held, PageCommit(segment=segment))
    await life.begin()
    assert len(life.published) == BUSY + 1
    assert life.waits == []


async def test_an_event_for_other_sinks_is_passed_over(life: Any) -> None:
    await life.commit("a")
    event = call_event("b", 2)
    other = msgspec.structs.replace(event, only=("crm",))
    segment = pack([other], life.shard.held.last, life.clock.now())
    life.shard.held = await life.store.commit_page(life.shard.held, PageCommit(segment=segment))
    await life.commit("c")
    await life.begin()
    assert life.published == ["a", "c"]


async def test_start_from_now_is_fixed_before_the_sink_is_reached(life: Any) -> None:
    await life.commit("old")
    life.sink.faults = [SinkFault("no broker")] * 3
    await life.begin(start_from="now")
    await life.commit("new")
    await life.drive()
    assert life.published == ["new"]


async def test_start_from_a_time(life: Any) -> None:
    for hour, call in enumerate("abc"):
        await life.commit(call, at=life.clock.now() - 3600 * (3 - hour))
    await life.begin(start_from="150m")
    assert life.published == ["b", "c"]


async def test_renamed_sink_keeps_its_place_and_settles_its_old_progress(life: Any) -> None:
    await life.commit("a")
    await life.begin()
    old, life.sink.name = life.sink.name, "events"
    await life.commit("b")
    await life.begin(restart=True, renamed_from=old)
    assert life.published == ["a", "b"]


async def test_changed_prefix_is_settled_under_the_old_one_first(life: Any) -> None:
    await life.commit("a")
    await life.begin()

    await life.end()
    before = await life.store.position("kafka", 0)
    await life.begin(restart=True)
    await life.commit("b")
    await life.drive()
    async with life.shard.lock:  # as if the crash came between the commit and the note
        await life.store.delivered(life.shard.held, "kafka", before)
    life.sink.prefix = "other"
    await life.begin(restart=True)
    assert life.published == ["a", "b"], "what was sent under the old id is not sent again"
    assert life.topics.progress["other.kafka.0 progress"].position == life.shard.held.last


async def test_dead_letter_is_kept_before_it_is_passed(life: Any) -> None:
    life.sink.too_large = {"big"}
    await life.commit("a", "big", "b")
    await life.begin()
    assert life.published == ["a", "b"]
    assert [dead.event.subject for dead in await dead_events(life.store, "kafka")] == ["big"]
    assert life.metrics.delivery_dead_letters["kafka", "too_large"].value == 1


async def test_outage_is_said_once_and_once_when_it_ends(life: Any) -> None:
    life.sink.faults = [SinkFault("no broker")] * 5
    await life.commit("a")
    with capture_logs() as lines:
        await life.begin()
    said = [line["event"] for line in lines]
    assert said.count("failing") == 1
    assert said.count("works again") == 1
    assert life.published == ["a"]
    assert life.metrics.producer_rebuilds["kafka"].value == 5
    assert max(life.waits) <= 30
    assert life.delivery.error is None, "what is over is not shown any more"


async def test_a_store_that_is_back_is_said_although_the_sink_is_away_by_then(life: Any) -> None:
    real, faults = life.store.delivered, [StoreFault("the disk does not answer")]

    async def delivered(*arguments: Any) -> None:
        if faults:
            life.sink.faults = [SinkFault("no broker")] * 3
            raise faults.pop()
        await real(*arguments)

    await life.begin()
    life.store.delivered = delivered
    await life.commit("a")
    with capture_logs() as lines:
        await life.drive()
    said = [(line["event"], line.get("store") or line.get("sink")) for line in lines if line["log_level"] != "debug"]
    assert said == [
        ("failing", "memory"),
        ("failing", "kafka"),
        ("works again", "memory"),
        ("works again", "kafka"),
    ]
    assert life.published == ["a"]


async def test_a_store_that_fails_is_said_once_and_not_by_the_sink(life: Any) -> None:
    real, faults = life.store.delivered, [StoreFault("the disk does not answer")] * 4

    async def delivered(*arguments: Any) -> None:
        if faults:
            raise faults.pop()
        await real(*arguments)

    life.store.delivered = delivered
    await life.commit("a")
    with capture_logs() as lines:
        await life.begin()
    said = [(line["event"], line.get("store"), line.get("sink")) for line in lines if line["log_level"] != "debug"]
    assert said == [("failing", "memory", None), ("works again", "memory", None)]
    assert life.published == ["a"]


async def test_a_fenced_lane_whose_shard_is_still_ours_is_replaced(life: Any) -> None:
    await life.commit("a")
    await life.begin()
    key = life.sink.identity(0)
    life.topics.fence(key)  # a transaction timeout does the same
    await life.commit("b")
    await life.drive()
    assert life.published == ["a", "b"]
    assert life.sink.lanes == 2


async def test_progress_that_somebody_else_moved_ends_the_program(life: Any) -> None:
    await life.commit("a")
    await life.begin()
    key = life.sink.identity(0)
    life.topics.fence(key)
    life.topics.progress[key] = Progress(Position(500, b"f" * 16), life.clock.now())
    await life.commit("b")
    await life.drive()
    with pytest.raises(ForeignProgress, match="another installation"):
        await life.task
    assert life.published == ["a"]


async def test_new_store_watches_progress_for_a_minute(life: Any) -> None:
    key = life.sink.identity(0)
    life.topics.progress[key] = Progress(Position(5, b"f" * 16), life.clock.now())
    await life.begin(restart=True)
    assert 60.0 in life.waits
    assert life.task is not None
    assert not life.task.done()


async def test_new_store_that_sees_progress_grow_stops_before_it_fences(life: Any) -> None:
    key = life.sink.identity(0)
    life.topics.progress[key] = Progress(Position(5, b"f" * 16), life.clock.now())
    real = life.clock.sleep

    async def sleep(seconds: float) -> None:
        await real(seconds)
        if seconds == 60:
            life.topics.progress[key] = Progress(Position(6, b"g" * 16), life.clock.now())

    life.clock.sleep = sleep
    await life.begin(restart=True)
    with pytest.raises(ForeignProgress, match="transactional_id_prefix"):
        await life.task
    assert life.sink.lanes == 0, "nobody was fenced"


async def test_emptied_store_reads_back_and_begins_again(life: Any) -> None:
    await life.commit("a", "b")
    await life.begin()
    life.store.restore(type(life.store)())
    asked: list[float] = []
    key = CheckpointKey("fono-1", "cdrs")

    def rewind(at: float) -> Rewound:
        asked.append(at)
        return Rewound(at - 1000, {key: b"again"})

    generation = life.shard.generation
    await life.begin(restart=True, rewind=rewind)
    assert len(asked) == 1
    assert asked[0] <= life.clock.now()
    assert (await life.store.checkpoints())[key] == b"again"
    assert life.shard.generation > generation, "whoever holds a checkpoint in memory reads it anew"
    assert not life.shard.paused
    assert await life.store.look_up(None, [seen_key("a"), seen_key("b")]) == {}, "what was published is known"
    assert b"poller_store_rollbacks_total 1" in b"".join(life.metrics.write())
    await life.commit("c")
    await life.drive()
    assert life.published == ["a", "b", "c"]


async def test_a_checkpoint_that_was_read_before_it_was_set_back_is_void_at_once(life: Any) -> None:
    """A poll that is under way would write its own over it; also where somebody believed the shard anew while it was settled."""
    await life.commit("a", "b")
    await life.begin()
    life.store.restore(type(life.store)())
    wait, lane, noted = life.clock.sleep, life.sink.lane, list[bool]()
    read = [0]

    async def sleep(seconds: float) -> None:
        await wait(seconds)
        if seconds == WATCH:
            await life.shard.believe_anew(life.shard.generation, life.metrics.store_rollbacks.inc)
            read[0] = life.shard.generation

    async def taken(shard: int, identity: str = "") -> Any:
        made = await lane(shard, identity)
        note = made.note

        async def noting(position: Position) -> None:
            noted.append(life.shard.generation > read[0])
            await note(position)

        made.note = noting
        return made

    life.clock.sleep, life.sink.lane = sleep, taken
    await life.begin(restart=True, rewind=lambda at: Rewound(at - 1000, {CheckpointKey("fono-1", "cdrs"): b"again"}))
    assert read[0] > 1
    assert noted == [True]
    assert not life.shard.paused


async def test_rolled_back_store_sends_what_is_missing_under_new_numbers(life: Any) -> None:
    await life.commit("a")
    await life.begin()
    life.sink.faults = [SinkFault("no broker")] * 99
    life.topics.fence(life.sink.identity(0))
    await life.commit("undelivered")
    await life.end()
    copy = life.store.copy()
    life.sink.faults = []
    await life.begin(restart=True)
    await life.commit("lost to the store")
    await life.drive()
    life.store.restore(copy)
    await life.end()
    await life.begin(restart=True, others=("crm",))
    assert life.published == ["a", "undelivered", "lost to the store"]
    log = [event for one in await life.store.segments_after(0, 0, 1 << 20) for event in unpack(one)]
    back = [event for event in log if event.subject == "lost to the store"]
    assert [event.only for event in back] == [("crm",)], "the other sinks have not seen it"
    seqs = [
        seq
        for one in await life.store.segments_after(0, 0, 1 << 20)
        for seq, e in enumerate(unpack(one), one.first)
        if e is not None
    ]
    assert int(json.loads(back[0].body)["sequence"]) in seqs


async def test_healing_pauses_polling_until_the_topics_can_be_read(life: Any) -> None:
    await life.commit("a", "b")
    await life.begin()
    await life.end()
    life.store.restore(type(life.store)())
    life.sink.unreadable = True
    await life.begin(restart=True)
    assert "rebuilding" in life.shard.paused
    assert life.metrics.polling_paused["rebuilding"].value == 1
    life.sink.unreadable = False
    await life.drive()
    assert "rebuilding" not in life.shard.paused, "and it goes on once they were read"
    await life.commit("c")
    await life.drive()
    assert life.published == ["a", "b", "c"]


async def test_duplicates_can_be_accepted_where_the_topics_stay_unreadable(life: Any) -> None:
    await life.commit("a")
    await life.begin()
    assert await life.delivery.accept_duplicates() is None, "nothing waits"
    await life.end()
    life.store.restore(type(life.store)())
    life.sink.unreadable = True
    await life.begin(restart=True)
    assert "may be published again" in await life.delivery.accept_duplicates()
    await life.drive()
    assert not life.shard.paused
    await life.commit("a")
    await life.drive()
    assert life.published == ["a", "a"]


async def test_progress_gone_is_said_loudly(life: Any) -> None:
    await life.commit("a")
    await life.begin()
    life.topics.progress.clear()
    with capture_logs() as lines:
        await life.begin(restart=True)
    assert [line for line in lines if line["event"] == "progress is gone" and line["log_level"] == "error"]


async def test_refused_at_the_start_ends_refused_later_is_tried_again(life: Any) -> None:
    life.sink.faults = [SinkRefused("no right")]
    await life.begin()
    with pytest.raises(SinkRefused):
        await life.task
    life.sink.faults = []
    await life.begin(restart=True)
    await life.commit("a")
    await life.drive()
    life.sink.faults = [SinkRefused("no right any more"), Fenced("again")]
    life.topics.fence(life.sink.identity(0))
    await life.commit("b")
    await life.drive()
    assert life.published == ["a", "b"]


async def test_a_backlog_pauses_polling_and_ends_it(life: Any) -> None:
    life.sink.faults = [SinkFault("no broker")] * 4
    await life.commit(*[f"c{number}" for number in range(50)])
    await life.begin(max_pending="1KiB")
    assert len(life.published) == 50
    assert not life.shard.paused
    life.sink.faults = [SinkFault("no broker")] * 400
    life.topics.fence(life.sink.identity(0))
    await life.commit(*[f"d{number}" for number in range(50)])
    await life.drive(sleeps=3)
    assert life.shard.paused == {"backlog of kafka"}
    life.sink.faults = []
    await life.drive()
    assert not life.shard.paused


async def test_a_backlog_of_a_sink_that_does_not_pause_becomes_dead_letters(life: Any) -> None:
    life.sink.pauses_polling = False
    life.sink.keeps_progress = False
    life.sink.faults = [SinkFault("no disk")] * 3
    for number in range(5):
        await life.commit(f"c{number}", f"d{number}")
    each = len(call_event("c0", 1).body) * 2
    await life.begin(max_pending=f"{each * 2}B")
    letters = sorted(await dead_events(life.store, "kafka"), key=lambda letter: letter.seq)
    dead = [letter.event.subject for letter in letters]
    assert dead == ["c0", "d0", "c1", "d1", "c2", "d2"]
    assert life.published == ["c3", "d3", "c4", "d4"]
    assert not life.shard.paused
