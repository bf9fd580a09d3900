"""Transactional id and progress topic are changed, and a store from another time comes back, with whichever configuration."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from poller.errors import ForeignProgress
from poller.model import Position, Progress

pytestmark = pytest.mark.anyio


async def lives(life: Any, prefix: str, *calls: str, **more: Any) -> None:
    """A life under a name, which finds these calls, unless it knows them."""
    life.sink.prefix = prefix
    await life.begin(restart=True, **more)
    await life.poll(*calls)
    await life.drive()
    await life.end()


def identity(prefix: str) -> str:
    return f"{prefix}.kafka.0 progress"


@pytest.mark.parametrize("meanwhile", [["b"], ["b", "c"], ["b", "a"], ["b", "c", "b"]])
@pytest.mark.parametrize("again", ["a", "b", "c", "d"])
async def test_a_store_from_before_the_changes_finds_what_was_published_since(
    life: Any, meanwhile: list[str], again: str
) -> None:
    await lives(life, "a", "first")
    before = life.store.copy()
    calls = ["first"]
    for number, name in enumerate(meanwhile):
        calls.append(f"call {number}")
        await lives(life, name, *calls)
    life.store.restore(before)
    await lives(life, again, *calls, "last")
    assert life.published == [*calls, "last"]
    last = [one for one in life.topics.progress.values() if one.moved is None]
    assert last == [life.topics.progress[identity(again)]], "one name is in use, and every other one leads to it"


async def test_a_store_without_history_is_led_on_and_watches_where_the_work_is(life: Any) -> None:
    await lives(life, "a", "first")
    await lives(life, "b", "first", "second")
    life.store.restore(type(life.store)())
    real = life.clock.sleep

    async def sleep(seconds: float) -> None:
        await real(seconds)
        if seconds == 60:
            life.topics.progress[identity("b")] = Progress(Position(9, b"g" * 16), life.clock.now())

    life.clock.sleep = sleep
    life.sink.prefix = "a"
    lanes = life.sink.lanes
    await life.begin(restart=True)
    assert life.task.done(), "it works on"
    with pytest.raises(ForeignProgress, match="another installation"):
        await life.task
    assert life.sink.lanes == lanes, "nobody was fenced"


async def test_a_name_that_somebody_else_takes_over_ends_the_program(life: Any) -> None:
    await life.commit("first")
    await life.begin()
    found = life.topics.progress[life.sink.identity(0)]
    life.topics.progress[life.sink.identity(0)] = Progress(found.position, life.clock.now(), identity("b"))
    life.topics.progress[identity("b")] = Progress(found.position, life.clock.now())
    life.topics.fence(life.sink.identity(0))
    await life.commit("second")
    await life.drive()
    assert life.task.done(), "it works on"
    with pytest.raises(ForeignProgress, match=r"moved to b\.kafka\.0 progress"):
        await life.task
    assert life.published == ["first"]


async def test_progress_that_moved_to_where_nothing_is_any_more_is_not_believed(life: Any) -> None:
    """A progress topic of a time between was deleted: what was published then shows nowhere but in the topics."""
    await lives(life, "a", "first")
    before = life.store.copy()
    await lives(life, "b", "first", "second")
    del life.topics.progress[identity("b")]
    life.store.restore(before)
    await lives(life, "a", "first", "second", "third")
    assert life.published == ["first", "second", "third"]


async def test_progress_beyond_ours_under_the_new_name_counts_though_nothing_leads_there(life: Any) -> None:
    """Programs before this one left no word about where the work went."""
    await lives(life, "a", "first")
    before, left = life.store.copy(), life.topics.progress[identity("a")]
    await lives(life, "b", "first", "second")
    life.topics.progress[identity("a")] = left
    life.store.restore(before)
    await lives(life, "b", "first", "second", "third")
    assert life.published == ["first", "second", "third"]


async def test_a_name_under_which_nothing_was_published_leads_on_too(life: Any) -> None:
    await lives(life, "a")
    before = life.store.copy()
    await lives(life, "b", "first")
    life.store.restore(before)
    await lives(life, "a", "first", "second")
    assert life.published == ["first", "second"]


async def test_progress_of_nothing_is_noted_and_nobody_is_looked_for_behind_it(life: Any) -> None:
    await lives(life, "a")
    assert life.topics.progress[identity("a")].position == Position()
    life.store.restore(type(life.store)())
    await lives(life, "a", "first")
    assert life.published == ["first"]
    assert 60.0 not in life.waits


async def test_at_least_once_in_between_changes_no_names(life: Any) -> None:
    await lives(life, "a", "first")
    life.sink.keeps_progress = False
    await lives(life, "b", "first", "second")
    life.sink.keeps_progress = True
    await lives(life, "b", "first", "second", "third")
    assert life.published == ["first", "second", "third"]
    assert life.topics.progress[identity("a")].moved == identity("b")


async def test_a_change_is_said_once(life: Any) -> None:
    await lives(life, "a", "first")
    with capture_logs() as lines:
        await lives(life, "b", "first")
        await lives(life, "b", "first")
    assert [(line["old"], line["new"]) for line in lines if line["event"] == "the progress moves"] == [
        (identity("a"), identity("b"))
    ]
    assert not [line for line in lines if line["log_level"] == "error"]


async def test_two_that_live_under_two_names_end_each_other_and_publish_nothing_twice(life: Any) -> None:
    """Somebody has started a copy of the store under another name, while the first one runs."""
    calls = ["first", "second", "third", "fourth"]
    life.sink.prefix = "a"
    await life.begin()
    await life.poll("first")
    await life.drive()
    other = type(life)()
    other.clock, other.topics, other.store = life.clock, life.topics, life.store.copy()
    other.sink = type(life.sink)("kafka", life.topics, other.fuse)
    other.sink.prefix = "b"
    await other.begin(restart=True)
    for one, instead, known in ((life, other, 2), (other, life, 3), (life, other, 4)):
        await one.poll(*calls[:known])
        await one.drive()
        assert one.task.done(), "it was fenced, and finds that the work went on under another name"
        with pytest.raises(ForeignProgress, match="not by us"):
            await one.task
        await instead.poll(*calls[:known])
        await instead.drive()
        await one.begin(restart=True)  # as whoever watches over it does
    await other.end()
    assert life.published == calls


async def test_progress_for_another_number_of_shards_ends_the_program(life: Any) -> None:
    """What other shards published does not show in it."""
    await lives(life, "a", "first")
    found = life.topics.progress[identity("a")]
    life.topics.progress[identity("a")] = Progress(found.position, life.clock.now(), shards=16)
    life.sink.prefix = "a"
    await life.begin(restart=True)
    await life.poll("second")
    await life.drive()
    assert life.task.done(), "it works on"
    with pytest.raises(ForeignProgress, match="written for a store of 16 shards, and this one has 1"):
        await life.task
    assert life.published == ["first"]
