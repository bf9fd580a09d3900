"""When a track is polled: on its interval, after a failure with a growing wait, and what is counted and said about each poll."""

import heapq
import itertools
from collections.abc import Sequence
from contextlib import suppress

import anyio
import anyio.lowlevel

from poller.backoff import delay
from poller.clock import Clock
from poller.errors import Denied, Lost, Outdated, PollerError, StoreFault, Transient, bare
from poller.keep import NEAR_REACH
from poller.log import get_logger
from poller.metrics import poll_outcome
from poller.poll import poll
from poller.recent import Polled
from poller.tally import Tally
from poller.track import Track

DENIED_TWICE = 2
"""So many refusals without a poll that worked are no coincidence: from then on DENIED_WAIT holds."""
DENIED_WAIT = 300.0
"""Seconds before a refused credential is tried again: some vendors log every refusal."""
LONGEST_WAIT = 300.0
EARLY = 0.002
"""Seconds by which a poll may start before its time: the loop counts in milliseconds and wakes in a quarter of all waits up to 1.3 of
them early; another wait for the rest would cost as much as the first.
"""
_LONG = 3600.0
_POLLS = "polls"

_log = get_logger()


class Timetable:
    """Which track is polled next. One that waits is an entry here and no task: ten thousand sources wait most of the time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: list[tuple[float, int, Track]] = []
        self._order = itertools.count()
        self._rest = anyio.CancelScope()

    def add(self, track: Track, due: float) -> None:
        """`due`: monotonic seconds."""
        track.lately.next_poll = self._clock.now() + due - self._clock.mono()
        heapq.heappush(self._entries, (due, next(self._order), track))
        if self._entries[0][2] is track:
            self._rest.cancel()

    async def next(self) -> tuple[float, Track]:
        """The track that is due, as soon as one is; and when it was."""
        while (seconds := self._entries[0][0] - self._clock.mono() if self._entries else _LONG) > EARLY:
            with anyio.CancelScope() as self._rest:
                await self._clock.sleep(seconds)
        due, _, track = heapq.heappop(self._entries)
        return due, track


async def keep_polling(tracks: Sequence[Track], clock: Clock) -> None:
    """Polls each on its endpoint's interval until cancelled; a failure is retried after a growing, jittered wait."""
    timetable = Timetable(clock)
    for track in tracks:
        timetable.add(track, clock.mono() + track.setup.rnd.uniform(0, track.options.interval))
    async with anyio.create_task_group() as polls:
        while True:
            due, track = await timetable.next()
            name = f"poll {track.setup.name} {track.endpoint.name} {track.ask.key}"
            polls.start_soon(_poll_now, track, due, timetable, name=name)
            await anyio.lowlevel.checkpoint()  # after a stall very many are due at once


async def _poll_now(track: Track, due: float, timetable: Timetable) -> None:
    clock, interval = track.setup.clock, track.options.interval
    track.setup.metrics.schedule_lateness_seconds.observe(max(0.0, clock.mono() - due))
    error = await poll_once(track, until=due + interval)
    now = clock.mono()
    timetable.add(track, max(due + interval, now) if error is None else now + wait_after(track, error))


async def poll_once(track: Track, *, until: float | None, force: bool = False) -> PollerError | None:
    """One poll with everything that is counted and said about it. Returns the error that ended it, if any."""
    setup, began = track.setup, track.setup.clock.mono()
    at = setup.clock.now()
    track.lately.begun(at)
    track.tally = Tally()
    error: PollerError | None = None
    try:
        await poll(track, until, force=force)
        track.outage.ended()
        track.refusals = 0
        if track.read_something:  # else nothing was written, and nothing is known about whether it can be
            setup.shard.store_works(_POLLS)
        setup.metrics.last_success[setup.name, track.endpoint.name].set(setup.clock.now())
    except PollerError as failure:
        error = bare(failure)
        await _failed(track, failure)
    except Exception as defect:  # noqa: BLE001 a defect of one endpoint must not end the others; it is said with its traceback
        error = PollerError(f"{track.endpoint.name}: a defect of this program: {type(defect).__name__}")
        _log.exception("defect", source=setup.name, endpoint=track.endpoint.name)
        track.outage.failed(error)
    track.last_error = error
    setup.metrics.polls[setup.name, track.endpoint.name, poll_outcome(error)].inc()
    setup.metrics.poll_seconds.labels(track.endpoint.name).observe(setup.clock.mono() - began)
    _remember(track, at, setup.clock.mono() - began, error)
    _say(track)
    return error


def _remember(track: Track, at: float, seconds: float, error: PollerError | None) -> None:
    """For whoever looks."""
    tally, (begin, end) = track.tally, track.lately.asked or (None, None)
    track.lately.late(tally.late, tally.latest, track.setup.clock.now())
    track.lately.polled(
        Polled(
            at=at, seconds=seconds, new=tally.new, updated=tally.updated, duplicate=tally.duplicate, invalid=tally.invalid,
            filtered=tally.filtered, begin=begin, end=end,
            reason=error.reason if error is not None else None,
            error=str(error) if error is not None else None,
        )
    )  # fmt: skip


async def _failed(track: Track, error: PollerError) -> None:
    shard, count = track.setup.shard, track.setup.metrics.store_rollbacks.inc
    if isinstance(error, Lost):
        return  # said where it was lost; nothing is polled here any more
    track.refusals += isinstance(error, Denied)
    track.outage.failed(error, quietly=shard.store_failed(_POLLS, error))
    with suppress(PollerError):
        if isinstance(error, Outdated):
            # Where that fails too, the belief stays, the next commit is refused, and it is tried again.
            await shard.believe_anew(track.generation, count)
        elif not isinstance(error, StoreFault):
            await shard.look_again(_POLLS, count)


def wait_after(track: Track, error: PollerError) -> float:
    """Seconds until a failed poll is tried again."""
    asked = error.retry_after if isinstance(error, Transient) else None
    least = DENIED_WAIT if isinstance(error, Denied) and track.refusals > DENIED_TWICE else 0.0
    wait = delay(
        track.outage.attempts,
        first=min(5.0, track.options.interval),
        limit=max(LONGEST_WAIT, track.options.interval),
        rnd=track.setup.rnd,
    )
    return max(asked or 0.0, least, wait, min(1.0, track.options.interval))


def _say(track: Track) -> None:
    tally = track.tally
    if tally.new or tally.updated or tally.invalid:
        _log.info("polled", source=track.setup.name, endpoint=track.endpoint.name, new=tally.new, updated=tally.updated,
                  duplicate=tally.duplicate, invalid=tally.invalid, filtered=tally.filtered)  # fmt: skip
    if tally.latest > NEAR_REACH * track.ladder[-1].back:
        _log.warning("row close to the ladder's reach", source=track.setup.name, endpoint=track.endpoint.name,
                     late_seconds=round(tally.latest), reach_seconds=track.ladder[-1].back,
                     detail="rows that come later than the longest rung reaches back are missed: make the ladder longer")  # fmt: skip
