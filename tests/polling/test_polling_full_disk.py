"""A store that takes nothing is one matter, however many tracks meet it."""

import pytest
from polling_rig import Rig, later, poll_on, polling
from polling_vendor import Listed
from polling_vendor import lines as lines_of
from structlog.testing import capture_logs

from poller import schedule
from poller.model import Ask
from poller.stores.memory import Config, MemoryStore
from poller.track import Track

pytestmark = pytest.mark.anyio

WORDS = ("failing", "works again")


async def tracks(rig: Rig) -> list[Track]:
    """Several, each of which has read something."""
    rig.phones.add(rig.clock.now() - 100)
    listed = Listed(asks=tuple(Ask((("user", str(number)),)) for number in range(4)))
    made = [rig.track(listed, ask=ask) for ask in listed.asks]
    for track in made:
        await poll_on(track)
    return made


async def test_a_full_disk_is_one_line_when_it_begins_and_one_when_it_ends() -> None:
    store = MemoryStore()
    async with polling(store) as rig:
        made = await tracks(rig)
        with capture_logs() as lines:
            store._config = Config.model_validate({"max_bytes": "1B"})
            for _ in range(3):
                for number, track in enumerate(made):
                    rig.phones.add(rig.clock.now() - 50 - number)
                    assert await schedule.poll_once(track, until=None) is not None
                    assert track.outage.attempts, "each waits longer all the same"
                later(rig.clock, 60)
            store._config = Config()
            for track in made:
                assert await schedule.poll_once(track, until=None) is None
        said = [(line["event"], line.get("store"), line.get("reason")) for line in lines if line["event"] in WORDS]
        assert said == [("failing", "memory", "store_full"), ("works again", "memory", None)]


async def test_what_else_fails_meanwhile_is_said_by_its_own_track() -> None:
    store = MemoryStore()
    async with polling(store) as rig:
        made = await tracks(rig)
        with capture_logs() as lines:
            store._config = Config.model_validate({"max_bytes": "1B"})
            rig.phones.add(rig.clock.now() - 50)
            for track in made:
                assert await schedule.poll_once(track, until=None) is not None
            later(rig.clock, 60)
            rig.phones.say = lambda _: rig.phones.whole(lines_of([], denied=True))
            assert await schedule.poll_once(made[0], until=None) is not None
            rig.phones.say = None
            store._config = Config()
            later(rig.clock, 60)
            for track in made:
                assert await schedule.poll_once(track, until=None) is None
        said = [(line["event"], line.get("reason")) for line in lines if line["event"] in WORDS]
        assert said == [("failing", "store_full"), ("failing", "denied"), ("works again", None), ("works again", None)]
