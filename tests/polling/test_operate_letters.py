"""What the command line does with dead letters, and what it refuses to forget."""

from pathlib import Path

import msgspec
import pytest
from polling_rig import ID, NAME, Rig, poll_on
from polling_vendor import Listed, Query, lines

from poller.app_parts import App
from poller.config import Settings
from poller.errors import PollerError, Unknown
from poller.model import DeadEvent
from poller.operate import Work
from poller.sinks import ndjson
from poller.stores.memory import Config

pytestmark = pytest.mark.anyio

BROKEN = b'{"id": "x", "own": \xff'


def working(rig: Rig, listed: Listed, *sinks: str) -> Work:
    """The operations of a daemon with this one endpoint and these sinks."""
    options = {name: ndjson.Config(kind="ndjson", path=Path("-")) for name in sinks}
    app = App(Settings(store=Config()), rig.store, rig.clock, rig.metrics, rig.setup.rnd, [rig.shard])
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


async def test_a_record_is_published_once_its_parser_was_mended(rig: Rig) -> None:
    listed = Listed()
    await bury(rig, listed, BROKEN)
    work = working(rig, listed)
    (letter,) = await work.dead_letters()
    (early,) = await work.retry([letter.id])
    assert (early.done, early.error) == (False, "is no JSON")
    assert len(await work.dead_letters()) == 1, "kept"
    listed.mended = True
    (done,) = await work.retry([letter.id[:8]])
    assert done.done
    assert await work.dead_letters() == []
    assert await rig.told() == [("call.new", "good", 1), ("call.new", "mended", 1)]
    with pytest.raises(Unknown):
        await work.retry([letter.id])


async def test_a_record_that_was_published_meanwhile_is_closed_and_not_published_again(rig: Rig) -> None:
    listed = Listed()
    await bury(rig, listed, BROKEN, BROKEN + b" ")
    listed.mended = True
    work = working(rig, listed)
    results = await work.retry([letter.id for letter in await work.dead_letters()])
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
    (done,) = await work.retry(["crm-1"])
    assert done.done
    first, again = await rig.log()
    assert (again.only, first.only) == (("crm",), None)
    assert (again.id, again.seen) == (first.id, None)
    assert msgspec.json.decode(again.body)["sequence"].endswith("2")
    assert await work.dead_letters() == []
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
    (result,) = await work.retry(["old-1"])
    assert not result.done
    assert "not configured" in (result.error or "")
    assert len(await work.dead_letters()) == 1


async def test_ids_may_be_shortened_while_they_are_unambiguous(rig: Rig) -> None:
    listed = Listed()
    await bury(rig, listed, *(BROKEN + b" " * number for number in range(40)))
    work = working(rig, listed)
    letters = await work.dead_letters()
    assert len(letters) == 40
    assert all(letter.body is None for letter in letters)
    shown = await work.dead_letter(letters[0].id)
    assert shown.body is not None
    assert shown.body.startswith(BROKEN)
    digit = max("0123456789abcdef", key=lambda one: sum(letter.id.startswith(one) for letter in letters))
    for letter, sentence in ((digit, "several"), ("zz", "no dead letter"), ("", "several")):
        with pytest.raises(Unknown, match=sentence):
            await work.dead_letter(letter)
    assert {letter.source for letter in await work.dead_letters(source=ID)} == {ID}
    assert await work.dead_letters(sink="kafka") == []


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
