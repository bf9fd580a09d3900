"""What a daemon tells of one source and of its endpoints: the next poll, late rows, gaps, the ladder, the last polls and errors."""

import pytest
from polling_app import app_of
from polling_rig import NAME, Rig, later
from polling_vendor import Listed, Query

from poller import schedule
from poller.config import Settings
from poller.errors import Unknown
from poller.model import CheckpointKey
from poller.operate import Work
from poller.options import SourceOptions
from poller.sources import mor
from poller.stores.memory import Config
from poller.track import Track

pytestmark = pytest.mark.anyio
LADDER = [{"back": "5m"}, {"back": "30m", "every": "5m"}]


def working(rig: Rig, *tracks: Track, running: bool = True) -> Work:
    sources: dict[str, SourceOptions] = {
        NAME: mor.Config.model_validate(
            {
                "kind": "mor",
                "id": rig.setup.id,
                "base_url": "https://pbx.example:8443/billing/api",
                "username": "admin",
                "api_secret": "s",
                "version": "x13",
                "endpoints": {"user_calls": {"ladder": LADDER}},
            },
            context={"literals": True},
        )
    }
    chosen = Settings.model_construct(store=Config(), sinks={}, sources=sources)
    app = app_of(chosen, rig.store, rig.clock, rig.metrics, rig.setup.rnd, [rig.shard])
    app.tracks = list(tracks)
    return Work(app, running=running)


async def test_a_list_that_is_read_well(rig: Rig) -> None:
    track = rig.track(start="2h", ladder=LADDER)
    work = working(rig, track)
    now = rig.clock.now()
    rig.phones.add(now - 400, now + 60, id="late")
    await schedule.poll_once(track, until=None)
    later(rig.clock, 600)
    await schedule.poll_once(track, until=None)
    schedule.Timetable(rig.clock).add(track, rig.clock.mono() + 12)
    found = await work.source(NAME)
    (one,) = found.endpoints
    assert (found.address, found.here, found.kind) == ("https://pbx.example:8443", True, "mor")
    assert (one.it.error, one.it.late_rows, one.it.behind) == (None, 1, 0.0)
    assert one.it.late_most == pytest.approx(1_000)
    assert (one.it.late_last, one.it.next_poll) == (rig.clock.now(), rig.clock.now() + 12)
    (ask,) = one.asks
    assert [(each.back, each.last) for each in ask.rungs] == [(300, now + 590), (1_800, now + 590)]
    assert ask.rungs[1].due == now + 590 + 300 + 10
    assert [(each.new, each.duplicate, each.error) for each in ask.polls] == [(1, 0, None), (0, 0, None)]
    assert (ask.polls[0].begin, ask.polls[0].end) == (int(now) - 10 - 1_801, int(now) + 590)
    assert (ask.start, ask.passes, ask.gaps, ask.failures) == (int(now) - 10 - 7_200, [], [], [])
    (status,) = (await work.status()).endpoints
    assert status == one.it


async def test_a_list_that_fails_and_falls_behind(rig: Rig) -> None:
    track = rig.track(start="10m", ladder=LADDER)
    work = working(rig, track)
    await schedule.poll_once(track, until=None)
    rig.phones.say = lambda _: rig.phones.whole(b"no such user", 403)
    for _ in range(7):
        later(rig.clock, 600)
        await schedule.poll_once(track, until=None)
    found = await work.source(NAME)
    (one,) = found.endpoints
    assert (one.it.reason, one.it.overdue_rungs) == ("denied", 2)
    assert one.it.behind == 4_200 - 60
    assert one.it.failing_since == rig.clock.now() - 3_600
    assert found.credential.startswith("refused")
    assert [each.reason for each in one.asks[0].polls] == ["denied"] * 3
    assert len(one.asks[0].failures) == 3
    rig.phones.say = None
    await schedule.poll_once(track, until=None)
    (one,) = (await work.source(NAME)).endpoints
    assert (one.it.error, one.it.failing_since) == (None, None)
    assert len(one.asks[0].failures) == 3, "an error outlives the polls that go well after it"


async def test_open_gaps_are_shown_from_and_until(rig: Rig) -> None:
    track = rig.track(start="10m", ladder=LADDER)
    begin = int(rig.clock.now()) - 300

    def say(query: Query) -> bytes | None:
        return rig.phones.whole(b"") if query.window.begin <= begin <= query.window.end else None

    rig.phones.say = say
    for _ in range(12):
        await schedule.poll_once(track, until=None)
    (one,) = (await working(rig, track).source(NAME)).endpoints
    gaps = one.asks[0].gaps
    assert gaps
    assert min(gap.begin for gap in gaps) <= begin <= max(gap.end for gap in gaps)
    assert one.it.gaps == gaps[:3]
    assert one.it.open_gaps == len(gaps)


@pytest.mark.parametrize("here", [True, False])
async def test_a_list_whose_checkpoint_is_damaged(rig: Rig, *, here: bool) -> None:
    """Without a daemon, or where another replica has it: the others are shown, and of this one what is wrong with it."""
    name = "phones.calls" if here else "mor.user_calls"
    await rig.damage(CheckpointKey(rig.setup.id, name))
    tracks = [rig.track(), rig.track(Listed("recording"))] if here else []
    work = working(rig, *tracks, running=False)
    (one, *others) = (await work.source(NAME)).endpoints
    assert (one.it.endpoint, one.it.reason, one.it.complete_until) == (name, "damaged", None)
    assert "was read is damaged (Input data was truncated)" in (one.it.error or "")
    assert [other.it.error for other in others] == ([None] if here else [])
    assert (await work.status()).endpoints[0] == one.it


async def test_what_another_replica_reads_is_as_the_store_has_it(rig: Rig) -> None:
    found = await working(rig, running=False).source(NAME)
    assert (found.here, [one.it.endpoint for one in found.endpoints]) == (False, ["mor.user_calls"])
    (one,) = found.endpoints
    assert (one.it.here, one.it.next_poll, one.it.complete_until) == (False, None, None)
    assert [(each.back, each.last) for each in one.asks[0].rungs] == [(300, None), (1_800, None)]
    with pytest.raises(Unknown, match="no source nobody"):
        await working(rig).source("nobody")
