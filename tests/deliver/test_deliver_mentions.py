"""Things of which two states, or a call's mention and the recording itself, lie on different sides of a restored store."""

from typing import Any

import msgspec
import pytest
from delivery_events import call_event

from poller.healing import Unsent
from poller.identity import MENTION
from poller.model import Event, PageCommit
from poller.segment import pack, unpack

pytestmark = pytest.mark.anyio


def mention(seq: int) -> Event:
    """A call has named the recording: it is new, and nothing else is known of it."""
    event = call_event("recording", seq)
    assert event.seen is not None
    return msgspec.structs.replace(event, seen=msgspec.structs.replace(event.seen, state=MENTION))


def whole(seq: int) -> Event:
    """The list of recordings has it: new, unless it was mentioned before."""
    return call_event("recording", seq, state="60s")


async def commit(life: Any, made: Any) -> None:
    event = made(life.shard.held.last.seq + 1)
    page = PageCommit(segment=pack([event], life.shard.held.last, life.clock.now()), seen=[(event.seen, 1)])
    life.shard.held = await life.store.commit_page(life.shard.held, page)
    life.shard.tell()


async def diverged(life: Any, here: Any, *there: Any) -> None:
    """The store holds one sighting and has not delivered it; the topics have others, which it does not know."""
    await life.commit("a")
    await life.begin()
    await life.end()
    before = life.store.copy()
    await commit(life, here)
    restored = life.store.copy()
    life.store.restore(before)
    await life.begin(restart=True)
    for made in there:
        await commit(life, made)
    await life.drive()
    await life.end()
    assert life.published == ["a", *["recording"] * len(there)]
    life.store.restore(restored)


def other(seq: int) -> Event:
    """Another state of it, which the list had before."""
    return call_event("recording", seq, state="30s")


def changed(seq: int) -> Event:
    """The state that the store knows, by those who know the other one."""
    return call_event("recording", seq, state="60s", new=False)


async def test_a_mention_of_what_was_published_meanwhile_is_not_sent(life: Any) -> None:
    await diverged(life, mention, whole)
    await life.begin(restart=True)
    assert [event.type for event in life.topics.events] == ["telephony.call.new"] * 2, "a mention is never an update"


async def test_the_recording_itself_is_sent_as_an_update_of_a_mention_that_was_published(life: Any) -> None:
    await diverged(life, whole, mention)
    await life.begin(restart=True)
    assert [event.type for event in life.topics.events[1:]] == ["telephony.call.new", "telephony.call.updated"]


async def test_a_mention_that_was_published_tells_the_other_sinks_nothing_about_what_they_have(life: Any) -> None:
    await diverged(life, whole, mention)
    await life.begin(restart=True, others=("crm",))
    log = [event for one in await life.store.segments_after(0, 0, 1 << 20) for event in unpack(one)]
    assert [event.subject for event in log if event.only in (None, ("crm",))] == ["a", "recording"]


async def test_a_state_that_gets_another_id_goes_to_the_sinks_that_got_it_under_the_first_one(life: Any) -> None:
    """They may have had the other state under that id before, and drop what comes under an id that they know."""
    await diverged(life, whole, other)
    await life.begin(restart=True, others=("crm", "second"), unsettled=("crm",))
    log = [event for one in await life.store.segments_after(0, 0, 1 << 20) for event in unpack(one)]
    again = [event for event in log if event.only == ("kafka", "crm")]
    assert [event.type for event in again] == ["telephony.call.updated"]
    assert again[0].seen == whole(1).seen, "the state that the topics lacked"
    assert again[0].id == life.topics.events[-1].id, "under the id that the topics have for it"


async def test_a_state_that_the_topics_have_under_another_id_goes_under_it_to_who_got_it_under_the_first_one(
    life: Any,
) -> None:
    """Who had the other state under that id drops this one, and would end with what is no longer so."""
    await diverged(life, whole, other, changed)
    await life.begin(restart=True, others=("crm", "second"), unsettled=("crm",))
    assert life.published == ["a", "recording", "recording"], "the topics lack nothing"
    log = [event for one in await life.store.segments_after(0, 0, 1 << 20) for event in unpack(one)][2:]
    assert [event.seen for event in log] == [other(1).seen, whole(1).seen], "in the order of the topics"
    assert [event.only for event in log] == [("crm", "second"), ("crm",)]
    assert log[1].id == life.topics.events[-1].id


async def test_what_was_passed_on_is_not_passed_on_again_by_a_healing_that_is_begun_again(life: Any) -> None:
    await diverged(life, whole, other, changed)
    await life.begin(restart=True, others=("crm",), unsettled=("crm",))
    log = await life.store.segments_after(0, 0, 1 << 20)
    events = [event for one in log for event in unpack(one)]
    unsent = Unsent("kafka")
    unsent.add(events)
    assert not any(unsent.found(event) for event in life.topics.events)
