"""`run --once`: one pass of every rung of every endpoint, and which of them could not be finished."""

from collections.abc import AsyncIterator

import anyio
import pytest
from fake_clock import HurriedClock
from http_peer import answer
from polling_rig import NAME, Rig, later, poll_on, polling
from polling_vendor import Listed

from poller.shift import ONCE_TRIES, read_once
from poller.track import Track

pytestmark = pytest.mark.anyio

LADDER = [{"back": "5m"}, {"back": "30m", "every": "6h"}]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """Whoever waits is awake at once."""
    async with polling(clock=HurriedClock()) as one:
        yield one


async def once(*tracks: Track) -> list[Track]:
    with anyio.fail_after(120):
        return await read_once(list(tracks))


async def test_every_rung_is_read_whether_due_or_not(rig: Rig) -> None:
    track = rig.track(ladder=LADDER, start="2h")
    await poll_on(track, 2)
    rig.phones.add(rig.clock.now() - 1_500, visible=rig.clock.now(), id="late")
    rig.phones.asked.clear()
    assert await once(track) == []
    assert await rig.told() == [("call.new", "late", 1)], "the long rung was not due"
    checkpoint = await rig.checkpoint(track)
    assert {rung.last for rung in checkpoint.rungs} == {rig.clock.now() - 10}


async def test_a_long_pass_is_read_to_its_end(rig: Rig) -> None:
    rig.phones.takes = 30.0
    track = rig.track(Listed(first_span=3_600, max_span=3_600), ladder=LADDER, start="20h")
    rig.phones.add(rig.clock.now() - 70_000, id="old")
    assert await once(track) == []
    assert await rig.told() == [("call.new", "old", 1)]


async def test_windows_that_must_be_shorter_are_no_failure(rig: Rig) -> None:
    """Twelve bad answers in a row end four polls, more than a vendor that is away would get."""
    rig.phones.add(rig.clock.now() - 100, id="a")
    rig.phones.say = lambda _: rig.phones.whole(b"") if len(rig.phones.asked) <= 12 else None
    assert await once(rig.track(start="1h")) == []
    assert await rig.told() == [("call.new", "a", 1)]
    assert rig.metrics.polls[NAME, "phones.calls", "bad_answer"].value == 4 > ONCE_TRIES


async def test_one_endpoint_that_fails_does_not_keep_the_others(rig: Rig) -> None:
    rig.phones.add(rig.clock.now() - 100, path="recordings", id="r")
    rig.phones.say = lambda query: answer(500, b"oops") if query.path == "calls" else None
    failing, well = rig.track(), rig.track(Listed("recording"))
    assert await once(failing, well) == [failing]
    assert await rig.told() == [("recording.new", "r", 1)]
    assert sum(one.path == "calls" for one in rig.phones.asked) == ONCE_TRIES + 1
    assert failing.last_error is not None


async def test_a_vendor_that_only_sends_rubbish_ends_too(rig: Rig) -> None:
    track = rig.track(start="10m")
    rig.phones.say = lambda _: rig.phones.whole(b"rubbish")
    assert await once(track) == [track]
    later(rig.clock, 60)
    assert await rig.store.checkpoints() == {}
