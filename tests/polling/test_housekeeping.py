"""What is shown and what expires."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from anyio import create_task_group, fail_after
from anyio.lowlevel import checkpoint
from fake_clock import HurriedClock
from polling_app import app_of
from polling_rig import NAME, Rig, later, poll_on
from polling_vendor import Listed, Query
from stores_content import dead_events, dead_records
from structlog.testing import capture_logs

from poller import schedule
from poller.checkpoint import Checkpoint, RungState, Step
from poller.config import Settings
from poller.errors import BadAnswer, StoreFull
from poller.housekeeping import ALL_EVERY, LETTERS, PAUSE, Housekeeping, missed_turns
from poller.model import DAY, Ask, CheckpointKey, DeadEvent, DeadRecord, Event, Keys, Limits, PageCommit, Position
from poller.options import EndpointOptions
from poller.segment import end
from poller.shard import Nobody, Shard
from poller.sinks import ndjson
from poller.stores.memory import Config
from poller.track import Track

pytestmark = pytest.mark.anyio

LADDER = [{"back": "5m"}, {"back": "30m", "every": "5m"}]


def keeping(rig: Rig, *tracks: Track, sinks: tuple[str, ...] = (), **keys: Any) -> Housekeeping:
    """Housekeeping over these tracks, with these sinks configured. `keys`: of each sink."""
    options = {name: ndjson.Config(kind="ndjson", path=Path("-"), **keys) for name in sinks}
    settings = Settings.model_validate({"store": Config(), "sinks": options, "seen_ttl": "30d", "retention": "7d"})
    app = app_of(settings, rig.store, rig.clock, rig.metrics, rig.setup.rnd, [rig.shard])
    app.tracks = list(tracks)
    return Housekeeping(app)


def claims(rig: Rig) -> tuple[float | None, float | None]:
    return rig.metrics.read_until[NAME, "phones.calls"].value, rig.metrics.complete_until[NAME, "phones.calls"].value


async def test_of_those_that_share_a_store_one_deletes(rig: Rig) -> None:
    await bury(rig, "crm", 4, age=2 * 365 * DAY)
    other = keeping(rig, sinks=("crm",), max_dead_letters="1KiB")
    other._parts.shards[0] = Shard(rig.store, 0, owner=Nobody(0))
    await other.limit_letters()
    await other.expire_letters()
    assert len(await dead_events(rig.store)) == 4
    await keeping(rig, sinks=("crm",)).expire_letters()
    assert not await dead_events(rig.store)


async def test_an_endpoint_claims_the_least_of_what_it_asks(rig: Rig) -> None:
    listed = Listed(asks=(Ask((("user", "1"),)), Ask((("user", "2"),))))
    one, other = (rig.track(listed, ask=ask, ladder=LADDER, start="2h") for ask in listed.asks)
    shown = keeping(rig, one, other)
    await shown.show_tracks()
    assert claims(rig) == (None, None), "nothing was read: nothing is shown"
    await poll_on(one)
    await shown.show_tracks()
    assert claims(rig) == (None, None), "one of them was never read"
    await other.load(other.target())
    await shown.show_tracks()
    assert claims(rig) == (None, None), "one of them claims nothing yet"
    first = rig.clock.now() - 60 - 10
    later(rig.clock, 600)
    await poll_on(other)
    await shown.show_tracks()
    assert claims(rig) == (first, first - 1_800)
    await poll_on(one, 2)
    await shown.show_tracks()
    assert claims(rig)[0] == 1_700_000_000 + 660 - 10, "now the other is the last"


async def test_a_shard_that_was_given_up_claims_nothing_more(rig: Rig) -> None:
    """Its lease ends later than the work on it."""
    track = rig.track(ladder=LADDER, start="2h")
    shown = keeping(rig, track)
    await poll_on(track)
    async with create_task_group() as tasks:
        tasks.start_soon(shown.show_tracks)
        shown._parts.shards[0] = Shard(rig.store, 0, owner=Nobody(0))  # while it gives polls their turn
    assert track.setup.shard.ours
    assert claims(rig) == (None, None)


async def test_gaps_and_overdue_rungs_are_shown(rig: Rig) -> None:
    track = rig.track(start="10m", ladder=LADDER, interval="60s")
    shown = keeping(rig, track)
    await poll_on(track)
    await shown.show_tracks()
    overdue, gaps = rig.metrics.overdue_rungs[NAME, "phones.calls"], rig.metrics.open_gaps[NAME, "phones.calls"]
    assert (overdue.value, gaps.value) == (0, 0)
    later(rig.clock, 300)
    await shown.show_tracks()
    assert overdue.value == 1
    later(rig.clock, 600)
    await shown.show_tracks()
    assert overdue.value == 2

    def say(query: Query) -> bytes | None:
        return rig.phones.whole(b"") if query.window.begin <= 1_700_000_100 <= query.window.end else None

    rig.phones.say = say
    for _ in range(3):
        with suppress(BadAnswer):  # three of them end a poll
            await poll_on(track)
    await shown.show_tracks()
    assert (gaps.value or 0) >= 1


async def test_what_was_not_polled_since_is_shown_anew_now_and_then(rig: Rig) -> None:
    """Of ten thousand sources few are polled between two looks."""
    track = rig.track(start="10m", ladder=LADDER, interval="60s")
    shown, overdue = keeping(rig, track), rig.metrics.overdue_rungs[NAME, "phones.calls"]
    await schedule.poll_once(track, until=None)
    await shown.show_tracks()
    overdue.set(7)
    later(rig.clock, ALL_EVERY - 1)
    await shown.show_tracks()
    assert overdue.value == 7, "nothing was polled"
    await schedule.poll_once(track, until=None)
    await shown.show_tracks()
    assert overdue.value == 0
    overdue.set(7)
    later(rig.clock, 1)
    await shown.show_tracks()
    assert overdue.value == 0, "time passes for those that are not polled too"


async def test_a_poll_that_takes_long_is_shown_meanwhile_and_a_shard_that_is_believed_anew_after_it(rig: Rig) -> None:
    track = rig.track(start="10m", ladder=LADDER, interval="60s")
    shown, overdue = keeping(rig, track), rig.metrics.overdue_rungs[NAME, "phones.calls"]
    await poll_on(track)
    await shown.show_tracks()
    overdue.set(7)
    track.lately.begun(rig.clock.now())
    await shown.show_tracks()
    assert overdue.value == 0
    track.lately.polling_since = None
    await shown.show_tracks()
    await rig.shard.believe()
    await shown.show_tracks()
    assert claims(rig) == (None, None), "what was read from another store claims nothing"


def test_what_is_asked_by_whole_minutes_is_not_late_within_one() -> None:
    options = EndpointOptions.model_validate({"interval": "5s", "settle": "1s", "timeout": "3s"})
    ladder = [Step(60, 5)]
    read = Checkpoint(start=0, configured_start=0.0, rungs=[RungState(60, last=1_020)], span=60)
    seconds, minutes = (Limits(max_span=DAY, first_span=DAY, resolution=each) for each in (1, 60))
    assert missed_turns(read, ladder, options, seconds, 1_020 + 70) == 1
    assert missed_turns(read, ladder, options, minutes, 1_020 + 70) == 0
    assert missed_turns(read, ladder, options, minutes, 1_020 + 2 * 60 + 5) == 1


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
    return not await rig.store.look_up(None, [key])


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


async def test_no_id_expires_while_a_checkpoint_does_not_say_which_it_needs(rig: Rig) -> None:
    """What was delivered does: a store must not fill up with that."""
    day = int(rig.clock.now() // DAY)
    rig.phones.add(rig.clock.now() - 100, id="old")
    track = rig.track(ladder=LADDER, start="10m")
    await poll_on(track)
    later(rig.clock, 40 * DAY)
    rig.phones.add(rig.clock.now() - 100, id="young")
    await poll_on(track)
    await rig.damage(CheckpointKey("removed", "phones.calls", ""))
    await rig.store.delivered(rig.shard.held, "kafka", rig.shard.held.last)
    shown = keeping(rig, track, sinks=("kafka",))
    with capture_logs() as said:
        await shown.expire()
        await shown.expire()
        assert await seen(rig, day, "old")
        assert len(await rig.log()) == 1
        assert await rig.store.forget_source("removed")
        await shown.expire()
    assert not await seen(rig, day, "old")
    assert [(one["what"], one["event"]) for one in said] == [
        ("expiry of ids", "failing"),
        ("expiry of ids", "works again"),
    ]
    assert "removed phones.calls was read is damaged" in said[0]["error"]


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


# --- dead letters ----------------------------------------------------------------------------------------------------

BODY = 1_000


async def bury(rig: Rig, sink: str, count: int, *, age: float = 0.0) -> None:
    """Dead events of one sink, each a second younger than the one before; the first one is `age` seconds old."""
    began = rig.clock.now() - age
    first = len(await dead_events(rig.store))
    letters = [
        DeadEvent(
            id=f"{sink}-{number:05d}", sink=sink, shard=0, seq=number, reason="backlog", error="", at=began + number - first,
            event=Event(str(number), "telephony.call.new", "/poller/mor/calls", "", None, "", None, b"x" * BODY),
        )
        for number in range(first, first + count)
    ]  # fmt: skip
    await rig.store.delivered(rig.shard.held, sink, Position(), letters)


async def test_dead_letters_expire(rig: Rig) -> None:
    """In small transactions, whatever they are, whoever they are for, and with one sentence."""
    rig.clock = HurriedClock()
    await bury(rig, "crm", 3 * LETTERS // 2, age=30 * DAY + LETTERS - 0.5)
    record = DeadRecord(
        id="r", source=NAME, endpoint="phones.calls", ask="", reason="bad_record", error="", raw=b"{", offset=None,
        at=rig.clock.now() - 30 * DAY - 1,
    )  # fmt: skip
    rig.shard.held = await rig.store.commit_page(rig.shard.held, PageCommit(dead=[record]))
    with capture_logs() as said:
        await keeping(rig).expire_letters()
        await keeping(rig).expire_letters()
    left = [letter.id for letter in await dead_events(rig.store)]
    assert (left[0], len(left)) == (f"crm-{LETTERS:05d}", LETTERS // 2)
    assert await dead_records(rig.store) == []
    expired = rig.metrics.dead_letters_expired
    assert (expired["record"].value, expired["event"].value) == (1, LETTERS)
    (line,) = said
    assert (line["records"], line["events"], line["log_level"]) == (1, LETTERS, "warning")


async def test_the_oldest_dead_letters_make_room(rig: Rig) -> None:
    await bury(rig, "crm", 100)
    await bury(rig, "erp", 10)
    await bury(rig, "gone", 20)
    shown = keeping(rig, sinks=("crm", "erp"), max_dead_letters=f"{90 * BODY}B")
    with capture_logs() as said:
        await shown.limit_letters()
        await shown.limit_letters()
    left = [letter.id for letter in await dead_events(rig.store, "crm")]
    assert left == [f"crm-{number:05d}" for number in range(19, 100)], "nine tenths are left"
    assert (len(await dead_events(rig.store, "erp")), len(await dead_events(rig.store, "gone"))) == (10, 20)
    metrics = rig.metrics
    assert (metrics.dead_letters_discarded["crm"].value, metrics.dead_letters_discarded["erp"].value) == (19, 0)
    assert (metrics.dead_letter_bytes["crm"].value, metrics.dead_letter_bytes["erp"].value) == (81_000, 10_000)
    (line,) = said
    assert (line["sink"], line["letters"], line["log_level"]) == ("crm", 19, "error")
    assert line["set_aside_until"] == "2023-11-14T22:13:38.000Z"
    assert "more than max_dead_letters (90000B)" in line["detail"]


async def test_many_dead_letters_are_deleted_a_few_at_a_time(rig: Rig) -> None:
    rig.clock = HurriedClock()
    await bury(rig, "crm", 3 * LETTERS)
    with capture_logs() as said:
        await keeping(rig, sinks=("crm",), max_dead_letters="1KiB").limit_letters()
    assert await rig.store.letter_totals() == []
    assert [line["letters"] for line in said] == [3 * LETTERS]
    assert rig.clock.mono() == pytest.approx(1_000 + 3 * PAUSE)


async def test_a_sink_without_a_limit_keeps_its_dead_letters(rig: Rig) -> None:
    await bury(rig, "kafka", 100)
    await keeping(rig, sinks=("kafka",), max_dead_letters=None).limit_letters()
    assert len(await dead_events(rig.store, "kafka")) == 100
    assert rig.metrics.dead_letter_bytes["kafka"].value == 100 * BODY


async def test_it_looks_after_dead_letters_by_itself(rig: Rig) -> None:
    rig.clock = HurriedClock()
    await bury(rig, "crm", 10)
    await bury(rig, "old", 5, age=31 * DAY)
    shown = keeping(rig, sinks=("crm",), max_dead_letters=f"{5 * BODY}B")
    with fail_after(60):
        async with create_task_group() as tasks:
            tasks.start_soon(shown.run)
            while sum(total.letters for total in await rig.store.letter_totals()) > 4:
                await checkpoint()
            tasks.cancel_scope.cancel()
    assert {total.sink for total in await rig.store.letter_totals()} == {"crm"}
