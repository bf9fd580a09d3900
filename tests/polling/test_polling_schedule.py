"""When a track is polled, how long it waits after a failure, and what is said about it."""

import itertools
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest
from fake_clock import FakeClock
from http_peer import answer
from polling_rig import ID, NAME, Rig, poll_on
from polling_vendor import LinesReading, Listed, lines
from structlog.testing import capture_logs

from poller import schedule
from poller.errors import Denied, RateLimited, VendorFault
from poller.metrics import POLL_OUTCOMES
from poller.track import Track

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("harness", ["memory"], indirect=True)]


@asynccontextmanager
async def scheduled(*tracks: Track) -> AsyncIterator[None]:
    """Polls of these tracks go on during the block."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(schedule.keep_polling, tracks, tracks[0].setup.clock)
        yield
        tasks.cancel_scope.cancel()


async def until(true: Callable[[], object]) -> None:
    with anyio.fail_after(120):
        while not true():  # noqa: ASYNC110 there is nobody to set an event
            await anyio.sleep(0.001)


async def polls(rig: Rig, track: Track, count: int) -> None:
    """Lets time pass until so many polls are over."""

    def over() -> int:
        found = (rig.metrics.polls[NAME, track.endpoint.name, outcome].value for outcome in POLL_OUTCOMES)
        return int(sum(count or 0 for count in found))

    def moved(before: int) -> bool:
        return over() > before or rig.clock.sleeping > 0

    while (before := over()) < count:
        await until(lambda: rig.clock.sleeping)
        await rig.clock.advance_to_next()
        await until(partial(moved, before))


async def test_polls_come_on_their_interval_whatever_they_last(rig: Rig) -> None:
    track = rig.track(interval="60s")
    rig.phones.takes = 7.0
    async with scheduled(track):
        await polls(rig, track, 5)
    times = [one.at for one in rig.phones.asked]
    assert times[0] - 1_700_000_000 < 60, "the first one somewhere within the interval"
    gaps = [second - first for first, second in itertools.pairwise(times) if second - first > 30]
    assert gaps
    assert all(abs(gap - 60) < 0.01 for gap in gaps)
    lateness = rig.metrics.schedule_lateness_seconds._sum.get()
    assert lateness == pytest.approx(0.0, abs=0.001)


async def test_starts_are_spread_over_the_interval(rig: Rig) -> None:
    starts = set()
    for seed in range(5):
        rig.setup.rnd = random.Random(seed)
        began, track = rig.clock.now(), rig.track(interval="60s")
        async with scheduled(track):
            await until(lambda: rig.clock.sleeping)
            starts.add(round(await rig.clock.advance_to_next(), 3))
        assert rig.clock.now() - began <= 60
    assert len(starts) == 5


async def test_a_poll_that_starts_late_is_measured(rig: Rig) -> None:
    track = rig.track(interval="60s")
    async with scheduled(track):
        await until(lambda: rig.clock.sleeping)
        rig.clock.time += 100.0  # the loop was busy
        await rig.clock.advance(0)
        await until(lambda: rig.phones.asked)
    assert 40 <= rig.metrics.schedule_lateness_seconds._sum.get() <= 100


async def test_waits_grow_with_every_failure_up_to_a_limit(rig: Rig) -> None:
    track = rig.track(interval="60s")
    longest = []
    for attempts in range(1, 12):
        track.outage.attempts = attempts
        waits = [schedule.wait_after(track, VendorFault("500")) for _ in range(200)]
        assert min(waits) >= 1.0
        longest.append(max(waits))
        assert len(set(waits)) > 10, "jittered"
    assert longest[0] <= 5.0
    assert longest == sorted(longest) or max(longest) <= 300
    assert 200 < longest[-1] <= 300


async def test_what_the_vendor_asks_for_is_waited(rig: Rig) -> None:
    track = rig.track(interval="60s")
    assert schedule.wait_after(track, RateLimited("429", retry_after=777.0)) == 777.0
    waits = []
    track.outage.attempts = 5  # whatever else has failed before says nothing about the credential
    for track.refusals in (1, 2, 3, 4):
        waits.append(schedule.wait_after(track, Denied("401")))
    assert max(waits[:2]) <= 80, "once or twice may be a coincidence"
    assert min(waits[2:]) >= 300, "many vendors log every refusal"


@pytest.mark.parametrize(
    ("said", "least", "outcome"),
    [
        (answer(429, b"", retry_after="900"), 900, "rate_limited"),
        (answer(503, b"", retry_after="900"), 900, "rate_limited"),
        (answer(500, b"oops"), 1, "vendor_fault"),
    ],
)
async def test_a_refusal_is_tried_again_when_it_may_be(rig: Rig, said: bytes, least: float, outcome: str) -> None:
    rig.phones.say = lambda _: said
    track = rig.track(interval="60s")
    async with scheduled(track):
        await polls(rig, track, 2)
    first, second = rig.phones.asked[0].at, rig.phones.asked[1].at
    assert least - 1 <= second - first <= max(least, 60) + 1
    assert rig.metrics.polls[NAME, "phones.calls", outcome].value == 2


async def test_a_refused_credential_is_tried_rarely(rig: Rig) -> None:
    rig.phones.say = lambda _: answer(401, b"no")
    track = rig.track(interval="60s")
    async with scheduled(track):
        await polls(rig, track, 5)
    times = [one.at for one in rig.phones.asked]
    assert times[4] - times[2] >= 600
    assert rig.metrics.polls[NAME, "phones.calls", "denied"].value == 5


async def test_an_outage_is_said_once_at_its_beginning_and_once_at_its_end(rig: Rig) -> None:
    track = rig.track()
    with capture_logs() as said:
        rig.phones.say = lambda _: answer(500, b"oops")
        for _ in range(5):
            await schedule.poll_once(track, until=None)
        rig.phones.say = None
        for _ in range(2):
            await schedule.poll_once(track, until=None)
    assert [one["event"] for one in said] == ["failing", "works again"]
    assert (said[0]["reason"], said[1]["attempts"]) == ("vendor_fault", 5)
    assert (said[0]["source"], said[0]["endpoint"]) == (NAME, "phones.calls")
    assert rig.metrics.last_success[NAME, "phones.calls"].value == rig.clock.now()


class Defective(Listed):
    """Its parser has a defect that no record is to blame for."""

    def reading(self, ask: object, window: object, cursor: object) -> LinesReading:  # noqa: ARG002 the protocol's
        raise ZeroDivisionError("a defect of the parser")


async def test_a_defect_of_one_endpoint_leaves_the_others_running(rig: Rig) -> None:
    rig.phones.add(rig.clock.now() - 100, path="recordings", id="r")
    broken, well = rig.track(Defective(), interval="60s"), rig.track(Listed("recording"), interval="60s")
    async with scheduled(broken, well):
        await polls(rig, broken, 2)
        await polls(rig, well, 2)
    assert [name for _, name, _ in await rig.told()] == ["r"]
    assert (rig.metrics.polls[NAME, "phones.calls", "error"].value or 0) >= 2
    assert "a defect of this program: ZeroDivisionError" in str(broken.last_error)
    assert well.last_error is None


async def test_a_damaged_checkpoint_holds_up_its_own_list_and_no_other(rig: Rig) -> None:
    rig.phones.add(rig.clock.now() - 100, path="recordings", id="r")
    broken, well = rig.track(interval="60s"), rig.track(Listed("recording"), interval="60s")
    await rig.damage(broken.key)
    with capture_logs() as said:
        async with scheduled(broken, well):
            await polls(rig, broken, 2)
            await polls(rig, well, 2)
        assert {query.path for query in rig.phones.asked} == {"recordings"}, (
            "from where the other one goes on, nobody knows"
        )
        assert await rig.store.forget_source(ID)
        assert await schedule.poll_once(broken, until=None) is None
    assert [name for _, name, _ in await rig.told()] == ["r"]
    assert [one["event"] for one in said if one.get("endpoint") == "phones.calls"] == ["failing", "works again"]
    (line,) = [one for one in said if one["event"] == "failing"]
    assert line["reason"] == "damaged"
    assert f"{ID} phones.calls was read is damaged (Input data was truncated)" in line["error"]
    assert f"`poller sources forget {ID}`" in line["error"]


async def test_polling_waits_while_there_is_a_reason_to_pause(rig: Rig) -> None:
    track = rig.track()
    rig.shard.pause("backlog")
    rig.shard.pause("rebuilding")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(poll_on, track)
        await anyio.wait_all_tasks_blocked()
        rig.shard.resume("backlog")
        await anyio.wait_all_tasks_blocked()
        assert rig.phones.asked == []
        rig.shard.resume("rebuilding")
    assert len(rig.phones.asked) == 1


async def test_a_row_close_to_the_ladders_reach_is_said(rig: Rig) -> None:
    track = rig.track(ladder=[{"back": "10m"}], start="30m")
    await poll_on(track)
    rig.phones.add(rig.clock.now() - 75, visible=rig.clock.now() + 450, id="late")
    rig.phones.add(rig.clock.now() - 20, id="fresh")
    with capture_logs() as said:
        await schedule.poll_once(track, until=None)
        assert [one["event"] for one in said] == ["polled"]
    rig.clock.wall += 460
    rig.clock.time += 460
    with capture_logs() as said:
        await schedule.poll_once(track, until=None)
    assert "row close to the ladder's reach" in [one["event"] for one in said]
    assert rig.metrics.near_reach_rows[NAME, "phones.calls"].value == 1


async def test_no_answer_is_an_endpoint_that_spins(rig: Rig) -> None:
    """Bad answers wait as other failures do."""
    rig.phones.say = lambda _: rig.phones.whole(lines([])[:-2])
    track = rig.track(interval="60s")
    async with scheduled(track):
        await polls(rig, track, 3)
    assert len(rig.phones.asked) == 9
    assert rig.phones.asked[-1].at - rig.phones.asked[0].at >= 2


async def test_a_track_that_is_due_sooner_is_not_kept_waiting(rig: Rig) -> None:
    late, soon = rig.track(interval="60s"), rig.track(interval="60s")
    timetable = schedule.Timetable(rig.clock)
    timetable.add(late, rig.clock.mono() + 60)
    found: list[tuple[float, Track]] = []

    async def follow() -> None:
        found.extend([await timetable.next(), await timetable.next()])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        await until(lambda: rig.clock.sleeping)
        timetable.add(soon, rig.clock.mono() + 5)
        await rig.clock.advance(5)
        await rig.clock.advance(55)
    assert [track for _, track in found] == [soon, late]


@pytest.mark.parametrize(("early", "waits"), [(0.0013, 1), (0.1, 2)])
async def test_a_loop_that_wakes_a_millisecond_early_does_not_wait_again_for_it(
    rig: Rig, early: float, waits: int
) -> None:
    """What wakes much too early does: no poll begins long before its time."""
    slept: list[float] = []

    class Hasty(FakeClock):
        async def sleep(self, seconds: float) -> None:
            slept.append(seconds)
            self.time += seconds - early if len(slept) == 1 else seconds

    clock = Hasty()
    timetable = schedule.Timetable(clock)
    timetable.add(rig.track(interval="60s"), clock.mono() + 5)
    due, _ = await timetable.next()
    assert len(slept) == waits
    assert due - schedule.EARLY < clock.mono() <= due
