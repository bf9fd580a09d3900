"""One shard from the moment it is taken until it is given up, lost, or the program ends: both lines, in order.

The way out opens first, so that no event is committed that a sink must not miss; the way in stops first.
"""

import math
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from poller import schedule
from poller.app_parts import AnyDelivery, App, Part
from poller.backoff import delay
from poller.errors import BadAnswer, Lost, PollerError, StoreFault
from poller.leases.replica import LOOK, Owned, Replica
from poller.log import get_logger
from poller.marks import refuse_marked
from poller.one_by_one.delivery import EachDelivery
from poller.parts import opened_part
from poller.shard import Shard
from poller.track import Track
from poller.until import cancel_when, pause

ONCE_TRIES = 3
"""`run --once`: how often a failed poll is tried again."""
ONCE_SHORTER = 40
"""And how often while the windows still become shorter."""
DRAIN_PATIENCE = 60.0
"""`run --once`: seconds without a delivery after which what is left is left."""
CLOSING = 5.0
"""Seconds of the grace that are kept for closing."""
HAND_OVER = 0.7
"""Seconds for what is under way where another replica goes on with the rest: with its look once a second it has it in under two."""
_FIRST, _LIMIT = 0.25, 15.0

_log = get_logger()


class Ended(Protocol):
    """Says how the program ends."""

    def is_set(self) -> bool:
        """Whether somebody wants it to."""
        ...


class Shifts:
    """All that this process works on."""

    def __init__(self, app: App, stopping: Ended, *, once: bool, alone: bool) -> None:
        """`alone`: nobody else can go on with a shard that is given up."""
        self.left: list[Track] = []
        """`once`: what could not be read to its end."""
        self.drained = True
        self.worked: set[int] = set()
        """The shards that it has worked on."""
        self._app = app
        self._stopping = stopping
        self._once = once
        self._alone = alone
        self._open: set[int] = set()
        self._resting: set[int] = set()
        self._changed = anyio.Event()

    async def work(self, owned: Owned) -> None:
        """One shard, until it is to be given up. Raises what a sink refuses for good, StoreRefused."""
        metrics = self._app.metrics
        metrics.shards_owned.inc()
        try:
            async with AsyncExitStack() as stack:
                part = await self._opened(owned, stack)
                if part is not None:
                    self.worked.add(owned.number)
                    self._tell(self._open, owned.number)
                    await self._both_lines(part, owned)
        finally:
            self._open.discard(owned.number)
            self._resting.discard(owned.number)
            metrics.shards_owned.inc(-1)

    async def all_open(self, replica: Replica) -> None:
        """Until its first share is open."""
        await self._until(replica, self._open)

    async def all_rest(self, replica: Replica) -> None:
        """`once`: until each of its shards is done."""
        await self._until(replica, self._resting)

    async def _until(self, replica: Replica, where: set[int]) -> None:
        await replica.looked.wait()
        while not replica.owned.keys() <= where:
            await pause(self._app.clock, self._changed, LOOK)  # of a shard that is lost nobody says anything here

    async def _opened(self, owned: Owned, stack: AsyncExitStack) -> Part | None:
        """None: it is to be given up before it was open. A store that is away is waited for."""
        shard = Shard(self._app.store, owned.number, self._app.outage, owned)
        part: Part | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cancel_when, owned.ending, tasks.cancel_scope, name="give up")
                with suppress(Lost):
                    part = await self._open_at_last(shard, stack)
                tasks.cancel_scope.cancel()
        finally:
            if part is None:
                shard.given_up()
        return part

    async def _open_at_last(self, shard: Shard, stack: AsyncExitStack) -> Part:
        attempts = 0
        while True:
            try:
                async with shard.lock:
                    await shard.believe()
                # An import marks the store once it has every shard: one that began after this process may have been killed since.
                await refuse_marked(self._app.store)
                part = await stack.enter_async_context(opened_part(self._app, shard))
            except StoreFault as error:
                attempts += 1
                shard.store_failed("opening", error)
                await self._app.clock.sleep(delay(attempts, first=_FIRST, limit=_LIMIT, rnd=self._app.rnd))
            else:
                shard.store_works("opening")
                return part

    async def _both_lines(self, part: Part, owned: Owned) -> None:
        try:
            async with anyio.create_task_group() as out:
                if await self._start_deliveries(part, owned, out):
                    await self._way_in(part, owned)
                    self.drained &= await self._drain(part)
                    self._tell(self._resting, owned.number)
                    if self._once:
                        await owned.ending.wait()
                out.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):  # each is bounded
                await self._drop(owned)

    async def _drop(self, owned: Owned) -> None:
        """All together: whoever is to go on with the shard waits for the slowest, not for their sum."""
        async with anyio.create_task_group() as drops:
            for each in self._app.each:
                drops.start_soon(partial(each.drop, owned.number, lost=not owned.ours()))

    async def _way_in(self, part: Part, owned: Owned) -> None:
        async with anyio.create_task_group() as polls:
            if self._once:
                await self._read_once(part, owned, polls)
            else:
                self._start_polls(part, polls)
                await owned.ending.wait()
            polls.cancel_scope.cancel()

    async def _start_deliveries(self, part: Part, owned: Owned, out: TaskGroup) -> bool:
        """False: the shard is to be given up before every sink has a place in its log."""
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cancel_when, owned.ending, scope, name="give up")
                for lane in part.lanes:
                    await out.start(lane.run, name=f"deliver {lane.sink.name} {part.shard.number}")
                for each in self._app.each:
                    await each.add(part.shard)
                tasks.cancel_scope.cancel()
        return not scope.cancelled_caught

    def _start_polls(self, part: Part, polls: TaskGroup) -> None:
        polls.start_soon(
            schedule.keep_polling, part.tracks, self._app.clock, name=f"polls of shard {part.shard.number}"
        )
        _log.info(
            "running",
            shard=part.shard.number,
            sources=sorted({track.setup.name for track in part.tracks}),
            tracks=len(part.tracks),
            sinks=list(self._app.sinks),
        )

    async def _read_once(self, part: Part, owned: Owned, polls: TaskGroup) -> None:
        polls.start_soon(cancel_when, owned.ending, polls.cancel_scope, name="stop")
        left = await read_once(part.tracks)
        _say_left(left)
        self.left += left

    def _tell(self, where: set[int], number: int) -> None:
        where.add(number)
        self._changed.set()
        self._changed = anyio.Event()

    async def _drain(self, part: Part) -> bool:
        """Waits until every sink has everything: as long as deliveries go on where that is all there is to do, else within
        the grace, or no longer than what is under way takes where others can go on.
        """
        patient = self._once and not self._stopping.is_set()
        grace = max(1.0, self._app.settings.shutdown_grace - CLOSING) if self._alone else HAND_OVER
        deliveries: list[AnyDelivery] = [*part.lanes, *self._app.each]
        with anyio.move_on_after(math.inf if patient else grace):
            for delivery in deliveries:
                await _caught_up(delivery, DRAIN_PATIENCE if patient else 0.0)
        return all(delivery.pending == 0 for delivery in deliveries)


async def _caught_up(delivery: AnyDelivery, patience: float) -> None:
    """Returns when the sink has everything that can be had soon, or when it has taken nothing for DRAIN_PATIENCE."""
    while True:
        before = _progress(delivery)
        with anyio.move_on_after(DRAIN_PATIENCE):
            await delivery.caught_up(patience)
            return
        if _progress(delivery) == before:
            return


def _progress(delivery: AnyDelivery) -> object:
    """Not the same once something was delivered."""
    return delivery.positions if isinstance(delivery, EachDelivery) else delivery.position, delivery.pending


# --- once ------------------------------------------------------------------------------------------------------------


async def read_once(tracks: list[Track]) -> list[Track]:
    """One pass of every rung of every endpoint; those that could not be finished."""
    failed: list[Track] = []

    async def one(track: Track) -> None:
        if await _to_the_end(track) is not None:
            failed.append(track)

    async with anyio.create_task_group() as passes:
        for track in tracks:
            passes.start_soon(one, track)
    return failed


def _say_left(tracks: list[Track]) -> None:
    for track in tracks:
        reason = track.last_error.reason if track.last_error else None
        _log.error(
            "not read to the end",
            source=track.setup.name,
            endpoint=track.endpoint.name,
            ask=track.ask.key,
            reason=reason,
        )


async def _to_the_end(track: Track) -> PollerError | None:
    shorter, tries = 0, 0
    while True:
        error = await schedule.poll_once(track, until=None, force=True)
        if error is None:
            return None
        shorter, tries = (shorter + 1, tries) if isinstance(error, BadAnswer) else (shorter, tries + 1)
        if shorter > ONCE_SHORTER or tries > ONCE_TRIES:
            return error
        await track.setup.clock.sleep(min(schedule.wait_after(track, error), 5.0))
