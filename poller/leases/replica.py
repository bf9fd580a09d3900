"""One process among those that share a store: takes its share of the shards, keeps their leases, and lets go in time.

Three loops: leases are renewed every third of their time, also while shards are being closed; who owns what is looked at
every second; and what could not be renewed is dropped before its lease ends in the store. A process that was stopped finds
the clock ahead when it wakes: `ours` says no at once, whichever task runs first.
"""

import math
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup, TaskStatus

from poller.clock import Clock, lasting
from poller.errors import Lost, PollerError, StoreFault, StoreRefused
from poller.leases.fair import plan
from poller.leases.tenure import Tenure, Tenures
from poller.leasing import Leases, Leasing
from poller.log import SharedOutage, get_logger
from poller.model import Held

LOOK = 1.0
"""Seconds between two looks at who owns what: what is given up is taken over that soon."""
RETRY = 0.5
"""Seconds before a renewal that failed is tried again."""
TICK, TICKS = 1.0, 10
"""Seconds between two looks for what is over, at most, and at least so many looks in a lease."""
RELEASE = 1.0
"""Seconds that giving a lease back may take; else it ends by itself."""
HOUR = 3_600.0
_WHO, _LOOKING = "renewing leases", "looking at leases"
_AFTER = 0.02
"""Seconds after the end of somebody's lease at which it is claimed."""


T = TypeVar("T")


class News:
    """What each look at the leases finds, also for those who would else have to ask the store every second by themselves."""

    def __init__(self) -> None:
        self._table = Leases()
        self._came = anyio.Event()

    def tell(self, table: Leases) -> None:
        """A look has found this."""
        self._table = table
        self._came.set()
        self._came = anyio.Event()

    async def asked(self) -> Collection[int]:
        """Of which shards something is asked, by the next look."""
        await self._came.wait()
        return self._table.asked

    async def switched(self) -> str | None:
        """What changes when somebody has switched a sink, by the next look."""
        await self._came.wait()
        return self._table.switched


def unique_name() -> str:
    """Of this process: where it runs, for people, and something that no other life of it has."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


class Owned:
    """One shard while it is this replica's."""

    def __init__(self, replica: "Replica", tenure: Tenure) -> None:
        self.number = tenure.held.shard
        self.held: Held | None = tenure.held
        """As the claim found it, for whoever works on it first."""
        self.ending = anyio.Event()
        """It is to be given up: stop in order, soon."""
        self.scope = anyio.CancelScope()
        self.tenure = tenure
        self._replica = replica

    def ours(self) -> bool:
        """Whether anything may be done for it now."""
        return self._replica.ours(self)

    async def take(self) -> Held:
        """What the store has for the shard, as the claim found it or read anew. Raises Lost, StoreFault."""
        held, self.held = self.held, None
        return held if held is not None and self.ours() else await self._replica.take(self)


Work = Callable[[Owned], Awaitable[None]]
"""Works on one shard until it is told to end; is cancelled where the shard is lost."""


class Replica:
    """Owns a fair share of the shards."""

    def __init__(
        self,
        leasing: Leasing,
        shards: int,
        *,
        clock: Clock,
        outage: SharedOutage,
        name: str | None = None,
        elapsed: Callable[[], float] = lasting,
    ) -> None:
        """`elapsed`: seconds that go on while the machine sleeps."""
        self.name = name or unique_name()
        self.owned: dict[int, Owned] = {}
        self.looked = anyio.Event()
        """The first share was claimed."""
        self.news = News()
        self._leasing = leasing
        self._shards = shards
        self._clock = clock
        self._outage = outage
        self._elapsed = elapsed
        self._lease = leasing.lease
        self._tenures = Tenures(self._lease)
        self._staying = True
        self._rests: list[anyio.CancelScope] = []
        """Waits that end at once when this replica leaves."""
        self._quiet = anyio.Event()
        self._log = get_logger().bind(replica=self.name)

    async def run(self, work: Work, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Until `leave` was called and every shard is closed. Started when the first share was claimed."""
        try:
            async with anyio.create_task_group() as tasks:
                await self._renew()
                tasks.start_soon(self._renewals, name="renew leases")
                tasks.start_soon(self._watch, name="watch leases")
                await self._looks(tasks, work, task_status)
                while self.owned:
                    await self._quiet.wait()
                tasks.cancel_scope.cancel()
        finally:
            with anyio.move_on_after(RELEASE, shield=True), suppress(PollerError):  # whatever was said before
                await self._leasing.renew(self.name, (), self._lease, staying=False)

    def leave(self) -> None:
        """Gives everything up in order; `run` returns then. Nobody leaves this replica a share any more."""
        self._staying = False
        for rest in self._rests:
            rest.cancel()
        for owned in self.owned.values():
            owned.ending.set()

    def ours(self, owned: Owned) -> bool:
        """By the clock: no task has to have noticed anything."""
        return owned.tenure.ours(self._elapsed())

    # --- the store decides -----------------------------------------------------------------------------------------------

    async def take(self, owned: Owned) -> Held:
        """Claims a shard anew that is not as it was believed. Raises Lost, StoreFault."""
        number = owned.number
        if not owned.tenure.over and (held := await self._claim(number)) is not None and not owned.tenure.over:
            return held
        self._tenures.lose(number)
        owned.scope.cancel()
        raise Lost(f"shard {number} is another replica's now, or may be")

    async def _claim(self, number: int) -> Held | None:
        """None: it is somebody else's, or the answer came too late."""
        asked = self._elapsed()
        held = await self._within(self._leasing.claim(number, self.name, self._lease))
        if held is None or self._tenures.claimed(held, asked, self._elapsed()) is None:
            return None
        return held

    async def _within(self, call: Awaitable[T]) -> T:
        """Raises StoreFault also where the store says nothing for a third of a lease: the next try may get another answer."""
        try:
            with anyio.fail_after(self._lease / 3):
                return await call
        except TimeoutError:
            raise StoreFault(f"the store has not answered about leases within {self._lease / 3:.1f} s") from None
        except StoreRefused as error:
            if not self.looked.is_set():
                raise
            raise StoreFault(str(error)) from None  # a right that was revoked while it runs may be given again

    async def _renewals(self) -> None:
        while True:
            said = self._staying
            renewed = await self._renew()
            if said == self._staying:
                await self._rest(min(self._lease / 3 if renewed else RETRY, HOUR), unless=self._staying)

    async def _renew(self) -> bool:
        """What is not renewed is over when its time is; what is somebody else's is dropped now."""
        asked, held = self._elapsed(), self._tenures.asking()
        try:
            kept = await self._within(self._leasing.renew(self.name, held, self._lease, staying=self._staying))
        except StoreFault as error:
            self._outage.failed(_WHO, error)
            return False
        self._outage.ended(_WHO)
        self._drop(self._tenures.renewed(asked, held, kept), "another replica took them, or the store was restored")
        return True

    async def _watch(self) -> None:
        while True:
            self._drop(self._tenures.lapsed(self._elapsed()), "their leases could not be renewed in time")
            await self._clock.sleep(min(TICK, self._lease / TICKS) if math.isfinite(self._lease) else HOUR)

    def _drop(self, shards: Iterable[int], why: str) -> None:
        found = [self.owned[shard] for shard in shards if shard in self.owned]
        for owned in found:
            owned.scope.cancel()
        if found:
            self._log.warning("shards are dropped", shards=sorted(one.number for one in found), detail=why)

    # --- a fair share ----------------------------------------------------------------------------------------------------

    async def _looks(self, tasks: TaskGroup, work: Work, task_status: TaskStatus[None]) -> None:
        while self._staying:
            soon = LOOK
            try:
                soon = await self._look(tasks, work)
                self._outage.ended(_LOOKING)
                if not self.looked.is_set():
                    self.looked.set()
                    task_status.started()
            except StoreFault as error:
                self._outage.failed(_LOOKING, error)
            await self._rest(min(soon, HOUR), unless=True)
        if not self.looked.is_set():
            task_status.started()

    async def _look(self, tasks: TaskGroup, work: Work) -> float:
        """Claims what is due to this replica, or gives up what is too much. Returns the seconds until the next look."""
        table = await self._within(self._leasing.leases())
        self.news.tell(table)
        there = {one.owner for one in table.replicas if one.left > 0} | {self.name}
        mine = [shard for shard, owned in self.owned.items() if not owned.tenure.over]
        todo = plan(table.leases, there, self._shards, self.name, mine)
        for shard in todo.give_up:
            if not self.owned[shard].ending.is_set():
                self._log.info("a shard is given up for a fair share", shard=shard)
                self.owned[shard].ending.set()
        await self._claim_all([shard for shard in todo.claim if shard not in self.owned], tasks, work)
        if math.isinf(self._lease):
            return HOUR
        return min([LOOK] + [lease.left + _AFTER for lease in table.leases if lease.left > 0])

    async def _claim_all(self, shards: Iterable[int], tasks: TaskGroup, work: Work) -> None:
        taken = []
        try:
            for shard in shards:
                if self._staying and await self._claim(shard) is not None and (tenure := self._tenures.of(shard)):
                    owned = self.owned[shard] = Owned(self, tenure)
                    tasks.start_soon(self._own, owned, work, name=f"shard {shard}")
                    taken.append(shard)
        finally:
            if taken and math.isfinite(self._lease):
                self._log.info("shards are taken", shards=taken, owned=len(self.owned))

    async def _own(self, owned: Owned, work: Work) -> None:
        """From the claim until nothing is done for the shard any more, and others may have it."""
        if not self._staying:
            owned.ending.set()
        try:
            with owned.scope:
                await work(owned)
        finally:
            with anyio.move_on_after(RELEASE, shield=True), suppress(PollerError):
                await self._leasing.release(self.name, [owned.tenure.held])
            self._tenures.forget(owned.number)
            del self.owned[owned.number]
            self._quiet.set()
            self._quiet = anyio.Event()

    async def _rest(self, seconds: float, *, unless: bool) -> None:
        """Waits so long, by the program's clock; `unless`: or until this replica leaves."""
        if not unless:
            await self._clock.sleep(seconds)
        elif self._staying:
            with anyio.CancelScope() as scope:
                self._rests.append(scope)
                await self._clock.sleep(seconds)
            self._rests.remove(scope)
