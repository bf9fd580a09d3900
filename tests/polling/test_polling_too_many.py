"""More rows than can be asked for, second after second."""

import pytest
from polling_rig import Rig, poll_on
from polling_vendor import Listed, Query, lines

from poller.errors import Incomplete
from poller.poll import poll

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("harness", ["memory"], indirect=True)]


async def test_too_many_rows_in_many_seconds_are_an_outage_and_what_came_is_kept(rig: Rig) -> None:
    now = int(rig.clock.now())
    for number in range(200):
        rig.phones.add(now - 500 + number // 20)

    def say(query: Query) -> bytes:
        found = rig.phones.visible(query)
        return rig.phones.whole(lines(found[:10], cut=len(found) > 10))

    rig.phones.say = say
    track = rig.track(Listed(cap=10))
    with pytest.raises(Incomplete, match="even in the shortest windows"):
        await poll(track, None)
    kept = len(await rig.events())
    assert 0 < kept < 200
    assert track.checkpoint is not None
    assert track.checkpoint.gaps == []
    rig.phones.say = None  # the vendor can be asked for more now
    await poll_on(track, 2)  # the second one tries again what the pass had put aside before
    assert len(await rig.events()) == 200
    assert (await rig.checkpoint(track)).gaps == []
