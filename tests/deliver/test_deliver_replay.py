"""A store that was exchanged meets events that somebody had asked for again."""

from collections.abc import Sequence
from typing import Any

import pytest
from delivery_events import hour_event, seen_key

from poller.model import Event, PageCommit
from poller.replay import again
from poller.segment import pack, unpack

pytestmark = pytest.mark.anyio


async def log(life: Any) -> list[Event]:
    return [event for one in await life.store.segments_after(0, 0, 1 << 20) for event in unpack(one)]


async def ask_again(life: Any, *calls: str) -> None:
    """What `poller replay` appends for the sink."""
    if not life.shard.held.epoch:
        await life.shard.believe()
    last = life.shard.held.last
    originals = {event.subject: event for event in await log(life) if event.seen is not None}
    copies = [again(originals[call], seq, "kafka") for seq, call in enumerate(calls, last.seq + 1)]
    commit = PageCommit(segment=pack(copies, last, life.clock.now()))
    life.shard.held = await life.store.commit_page(life.shard.held, commit)
    life.shard.tell()


def for_others(events: Sequence[Event]) -> list[str]:
    return [event.subject for event in events if event.only is None or "crm" in event.only]


async def test_a_replay_is_published_once_more_and_no_news(life: Any) -> None:
    await life.commit("a", "b")
    await life.begin()
    await ask_again(life, "a")
    await life.drive()
    assert life.published == ["a", "b", "a"]
    assert life.topics.events[0].id == life.topics.events[2].id
    assert [event.seen for event in life.topics.events] == [seen_key("a"), seen_key("b"), None]


async def test_a_published_replay_behind_the_stores_end_is_neither_new_nor_sent_again(life: Any) -> None:
    await life.commit("a", "b")
    await life.begin()
    backup = life.store.copy()
    await ask_again(life, "a")
    await life.commit("c")
    await life.drive()
    assert life.published == ["a", "b", "a", "c"]
    await life.end()
    life.store.restore(backup)
    await life.begin(restart=True, others=("crm",))
    await life.poll("a", "b", "c", "d")
    await life.drive()
    assert life.published == ["a", "b", "a", "c", "d"]
    assert sorted(for_others(await log(life))) == ["a", "b", "c", "d"], "the others see each once"


async def test_an_emptied_store_takes_a_replay_for_no_sighting(life: Any) -> None:
    await life.commit("a", "b")
    await life.begin()
    await ask_again(life, "b", "a")
    await life.drive()
    await life.end()
    life.store.restore(type(life.store)())
    await life.begin(restart=True, others=("crm",))
    await life.poll("a", "b")
    await life.drive()
    assert life.published == ["a", "b", "b", "a"]
    assert sorted(for_others(await log(life))) == ["a", "b"]


async def test_a_replay_that_was_published_before_the_store_could_note_it_is_not_sent_again(life: Any) -> None:
    await life.commit("a")
    await life.begin()
    await life.end()
    await ask_again(life, "a")
    backup = life.store.copy()
    await life.begin(restart=True)
    await life.commit("b")
    await life.drive()
    assert life.published == ["a", "a", "b"]
    await life.end()
    life.store.restore(backup)
    await life.begin(restart=True)
    await life.poll("a", "b")
    await life.drive()
    assert life.published == ["a", "a", "b"]


async def test_a_replay_that_was_not_published_is_sent_and_still_says_what_it_is(life: Any) -> None:
    await life.commit("a")
    await life.begin()
    await life.end()
    backup = life.store.copy()
    await ask_again(life, "a")
    asked = life.store.copy()
    life.store.restore(backup)
    await life.begin(restart=True)
    await life.commit("b")
    await life.drive()
    await life.end()
    life.store.restore(asked)
    await life.begin(restart=True)
    assert life.published == ["a", "b", "a"]
    sent = (await log(life))[-1]
    assert (sent.subject, sent.replay, sent.only, sent.seen) == ("a", True, ("kafka",), None)


async def test_whole_hours_that_were_published_go_to_those_of_the_others_that_ask(life: Any) -> None:
    """The store is emptied; the topics say what it told."""
    await life.commit("a")
    told = hour_event(2, "kafka", "crm")
    assert told.seen is not None
    page = PageCommit(segment=pack([told], life.shard.held.last, life.clock.now()), seen=[(told.seen, 2)])
    life.shard.held = await life.store.commit_page(life.shard.held, page)
    await life.begin()
    await life.end()
    assert life.published == ["a", "fonouc.cdrs"]
    life.store.restore(type(life.store)())
    await life.begin(restart=True, others=("crm", "plain"), told=("crm",))
    assert {event.subject: event.only for event in await log(life)} == {"a": ("crm", "plain"), "fonouc.cdrs": ("crm",)}
    assert await life.store.look_up(None, [told.seen]) == {}, "it is not told again"
    assert life.published == ["a", "fonouc.cdrs"]
