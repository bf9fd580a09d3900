"""A life of one process with a sink that takes events one by one and answers by a script."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from delivery_events import call_event
from delivery_model import Crashed, Fuse, Fused, quiet, wake_next
from fake_clock import FakeClock
from msgspec import structs

from poller.each import Answered, Attempt, Pace
from poller.errors import StoreFault
from poller.metrics import Metrics
from poller.model import Event, PageCommit, Position
from poller.one_by_one.delivery import EachDelivery
from poller.one_by_one.outlet import Outlet
from poller.one_by_one.turns import Turns
from poller.options import SinkOptions
from poller.segment import pack
from poller.shard import Shard
from poller.stores.memory import Config, MemoryStore

PACE = Pace(
    concurrency=4, rate=None, in_flight=8 << 20,
    schedule=(5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0),
    jitter=0.0, ordered=False, probe=300.0, longest_retry_after=86_400.0,
)  # fmt: skip

TAKEN = Answered(outcome="delivered")


def later(reason: str = "server_error", **more: Any) -> Answered:
    """An attempt that failed."""
    return Answered(outcome="later", reason=reason, error=f"said {reason}", **more)


REFUSED = Answered(outcome="dead", reason="client_error", error="400 no")

Answer = Answered | Callable[[], Awaitable[Answered]]


class ScriptedSink:
    """Answers by `answer`, and keeps what it was asked. An honest one: it waits only where the script does."""

    def __init__(self, clock: FakeClock, pace: Pace = PACE, name: str = "crm") -> None:
        self.name = name
        self.pace = pace
        self.clock = clock
        self.fuse: Fuse | None = None
        self.answer: Callable[[Event, Attempt], Answer] = lambda _event, _attempt: TAKEN
        self.asked: list[tuple[float, str, Attempt]] = []
        """When, which call, which attempt."""
        self.taken: list[str] = []
        self.ids: dict[str, set[str]] = defaultdict(set)
        self.running = 0
        self.most = 0
        self.bytes = 0
        self.most_bytes = 0
        self.unwanted: set[str] = set()

    def wants(self, event: Event) -> bool:
        return event.subject not in self.unwanted

    async def step(self) -> None:
        """A crash may come here; a fault of the store cannot."""
        if self.fuse is not None:
            with suppress(StoreFault):
                await self.fuse.step()

    async def attempt(self, event: Event, attempt: Attempt) -> Answered:
        await self.step()
        self.asked.append((self.clock.now(), event.subject, attempt))
        self.ids[event.subject].add(event.id)
        self.running += 1
        self.bytes += len(event.body)
        self.most, self.most_bytes = max(self.most, self.running), max(self.most_bytes, self.bytes)
        try:
            answer = self.answer(event, attempt)
            if not isinstance(answer, Answered):
                answer = await answer()
            if answer.outcome == "delivered":
                self.taken.append(event.subject)
            await self.step()
            return answer
        finally:
            self.running -= 1
            self.bytes -= len(event.body)

    async def close(self) -> None:
        pass

    def times(self, call: str) -> list[float]:
        """When a call was tried."""
        return [at for at, subject, _ in self.asked if subject == call]


class EachLife:
    """`begin` starts a delivery; `drive` lets it run until it waits, `pass_time` lets time pass."""

    def __init__(self, pace: Pace = PACE) -> None:
        self.clock = FakeClock()
        self.store: Any = MemoryStore()
        self.fuse = Fuse()
        self.metrics = Metrics()
        self.sink = ScriptedSink(self.clock, pace)
        self.shard = Shard(self.store, 0)
        self.more: list[Shard] = []
        """The others of the store that this process has."""
        self.task: asyncio.Task[None] | None = None
        self.delivery: EachDelivery | None = None

    def pace(self, **changed: Any) -> None:
        """Another pace, before `begin`."""
        self.sink.pace = structs.replace(self.sink.pace, **changed)

    def shards(self, count: int) -> None:
        """A store of so many, before `begin`; the process has all of them."""
        self.store = MemoryStore(Config(shards=count))
        self.shard, *self.more = (Shard(self.store, number) for number in range(count))

    async def commit(
        self, *calls: str, key: str | None = None, size: int = 0, only: tuple[str, ...] | None = None, shard: int = 0
    ) -> None:
        """A page of new calls, as the way in commits it."""
        it = next(one for one in (self.shard, *self.more) if one.number == shard)
        if not it.held.epoch:
            await it.believe()
        events = []
        for seq, call in enumerate(calls, it.held.last.seq + 1):
            event = call_event(call, seq, size=size)
            events.append(structs.replace(event, key=key or event.key, only=only))
        segment = pack(events, it.held.last, self.clock.now())
        it.held = await it.store.commit_page(it.held, PageCommit(segment=segment))
        it.tell()

    async def begin(self, *, restart: bool = False, **options: Any) -> EachDelivery:
        await self.end()
        if restart:
            self.shard, *self.more = (Shard(one.store, one.number) for one in (self.shard, *self.more))
        chosen = SinkOptions.model_validate({"start_from": "earliest"} | options)
        store, turns = self.shard.store, Turns(self.clock.mono)
        outlet = Outlet(store, self.sink, chosen, self.clock, random.Random(1), self.metrics, turns)
        self.delivery = EachDelivery(outlet, [self.shard, *self.more])
        self.task = asyncio.create_task(self.delivery.run())
        await self.drive()
        return self.delivery

    async def drive(self) -> None:
        """Runs until everything waits for time to pass, or for the outside."""
        await quiet(self.fuse)

    async def pass_time(self, seconds: float) -> None:
        """Whoever sleeps wakes at his time."""
        end = self.clock.time + seconds
        await self.drive()
        while self.clock._sleepers and self.clock._sleepers[0][0] <= end and not self.ended:
            wake_next(self.clock)
            await self.drive()
        self.clock._to(max(end, self.clock.time))

    async def until(self, true: Callable[[], bool], *, longest: float = 1e7) -> None:
        """Time passes until it is so."""
        end = self.clock.time + longest
        await self.drive()
        while not true():
            assert self.clock._sleepers, "nothing will ever happen"
            assert self.clock.time < end, "it does not come to that"
            assert not self.ended
            wake_next(self.clock)
            await self.drive()

    @property
    def position(self) -> Position | None:
        """Up to where everything is settled."""
        assert self.delivery is not None
        return self.delivery.positions.get(self.shard.number)

    @property
    def ended(self) -> bool:
        return self.task is not None and self.task.done()

    async def end(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with suppress(asyncio.CancelledError, Crashed, BaseExceptionGroup):
                await self.task
        self.task = None

    def fused(self) -> None:
        """From now on every call of the store, and every attempt, passes the fuse."""
        self.shard = Shard(Fused(self.store, self.fuse), 0)
        self.sink.fuse = self.fuse


async def never() -> Answered:
    """Hangs until it is cancelled."""
    await asyncio.Event().wait()
    raise AssertionError
