"""What is shown and what expires."""

from contextlib import suppress
from pathlib import Path

import pytest
from polling_rig import NAME, Rig, later, poll_on
from polling_vendor import Listed, Query

from poller.app_parts import App
from poller.config import Settings
from poller.errors import BadAnswer, StoreFull
from poller.housekeeping import Housekeeping
from poller.model import DAY, Ask, CheckpointKey, Keys, PageCommit
from poller.segment import end
from poller.sinks import ndjson
from poller.stores.memory import Config
from poller.track import Track

pytestmark = pytest.mark.anyio

LADDER = [{"back": "5m"}, {"back": "30m", "every": "5m"}]


def keeping(rig: Rig, *tracks: Track, sinks: tuple[str, ...] = ()) -> Housekeeping:
    """Housekeeping over these tracks, with these sinks configured."""
    options = {name: ndjson.Config(kind="ndjson", path=Path("-")) for name in sinks}
    settings = Settings.model_validate({"store": Config(), "sinks": options, "seen_ttl": "30d", "retention": "7d"})
    app = App(settings, rig.store, rig.clock, rig.metrics, rig.setup.rnd, [rig.shard])
    app.tracks = list(tracks)
    return Housekeeping(app)


def claims(rig: Rig) -> tuple[float | None, float | None]:
    return rig.metrics.read_until[NAME, "phones.calls"].value, rig.metrics.complete_until[NAME, "phones.calls"].value


async def test_an_endpoint_claims_the_least_of_what_it_asks(rig: Rig) -> None:
    listed = Listed(asks=(Ask((("user", "1"),)), Ask((("user", "2"),))))
    one, other = (rig.track(listed, ask=ask, ladder=LADDER, start="2h") for ask in listed.asks)
    shown = keeping(rig, one, other)
    shown.show_tracks()
    assert claims(rig) == (None, None), "nothing was read: nothing is shown"
    await poll_on(one)
    shown.show_tracks()
    assert claims(rig) == (None, None), "one of them was never read"
    await other.load(other.target())
    shown.show_tracks()
    assert claims(rig) == (None, None), "one of them claims nothing yet"
    first = rig.clock.now() - 60 - 10
    later(rig.clock, 600)
    await poll_on(other)
    shown.show_tracks()
    assert claims(rig) == (first, first - 1_800)
    await poll_on(one, 2)
    shown.show_tracks()
    assert claims(rig)[0] == 1_700_000_000 + 660 - 10, "now the other is the last"


async def test_gaps_and_overdue_rungs_are_shown(rig: Rig) -> None:
    track = rig.track(start="10m", ladder=LADDER, interval="60s")
    shown = keeping(rig, track)
    await poll_on(track)
    shown.show_tracks()
    overdue, gaps = rig.metrics.overdue_rungs[NAME, "phones.calls"], rig.metrics.open_gaps[NAME, "phones.calls"]
    assert (overdue.value, gaps.value) == (0, 0)
    later(rig.clock, 300)
    shown.show_tracks()
    assert overdue.value == 1
    later(rig.clock, 600)
    shown.show_tracks()
    assert overdue.value == 2

    def say(query: Query) -> bytes | None:
        return rig.phones.whole(b"") if query.window.begin <= 1_700_000_100 <= query.window.end else None

    rig.phones.say = say
    for _ in range(3):
        with suppress(BadAnswer):  # three of them end a poll
            await poll_on(track)
    shown.show_tracks()
    assert (gaps.value or 0) >= 1


async def test_why_polling_pauses_is_shown(rig: Rig) -> None:
    track = rig.track()
    shown = keeping(rig, track)
    rig.shard.pause("backlog")
    track.last_error = StoreFull("no room")
    await shown.show_store()
    paused = {reason: rig.metrics.polling_paused[reason].value for reason in ("rebuilding", "backlog", "store_full")}
    assert paused == {"rebuilding": 0, "backlog": 1, "store_full": 1}


async def seen(rig: Rig, day: int, name: str) -> bool:
    key = rig.track().keeper.identities[-1][1].seen_key(Keys(name, day, ""))
    return not await rig.store.look_up(0, [key])


async def test_ids_expire_below_the_earliest_horizon_of_all_checkpoints(rig: Rig) -> None:
    """Those of removed sources included: until they are forgotten they may come back."""
    began = rig.clock.now()
    day = int(began // DAY)
    rig.phones.add(began - 100, id="old")
    track = rig.track(ladder=LADDER, start="10m")
    await poll_on(track)
    key = CheckpointKey("removed", "phones.calls", "")
    data = (await rig.store.checkpoints())[track.key]
    later(rig.clock, 40 * DAY)
    rig.phones.add(rig.clock.now() - 100, id="young")
    await poll_on(track)
    rig.shard.held = await rig.store.commit_page(rig.shard.held, PageCommit(checkpoints={key: data}))
    await keeping(rig, track).expire()
    assert await seen(rig, day, "old"), "the removed source's horizon holds it"
    assert await rig.store.forget_source("removed")
    await keeping(rig, track).expire()
    assert not await seen(rig, day, "old")
    assert await seen(rig, day + 40, "young")


async def test_neither_an_outage_nor_a_clock_that_jumps_expires_ids(rig: Rig) -> None:
    began = rig.clock.now()
    rig.phones.add(began - 100, id="old")
    track = rig.track(ladder=LADDER, start="10m")
    await poll_on(track)
    later(rig.clock, 400 * DAY)
    await keeping(rig, track).expire()
    assert await seen(rig, int(began // DAY), "old")


async def test_only_configured_sinks_hold_the_log_back(rig: Rig) -> None:
    track = rig.track()
    for number in range(3):
        rig.phones.add(rig.clock.now() - 100, id=f"c{number}")
        await poll_on(track)
    await rig.store.delivered(rig.shard.held, "kafka", rig.shard.held.last)
    first = (await rig.store.segments_after(0, 0, 1))[0]
    await rig.store.delivered(rig.shard.held, "slow", end(first))
    later(rig.clock, 8 * DAY)
    await keeping(rig, track, sinks=("kafka", "slow")).expire()
    assert len(await rig.log()) == 3
    await keeping(rig, track, sinks=("kafka",)).expire()
    assert len(await rig.log()) < 3
