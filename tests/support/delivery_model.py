"""An honest model of a sink that keeps progress, as read_committed consumers see it, and a fuse that breaks at any await."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from fake_clock import FakeClock

from poller.errors import Fenced, Lost, SinkFault
from poller.model import DeadEvent, Held, Position, Progress, Segment
from poller.outgoing import for_sink
from poller.protocols import Published, Sent
from poller.segment import end, unpack
from poller.stores.memory import MemoryStore


class Crashed(BaseException):
    """The process is gone: whatever runs now has no more effect on the store or the sink."""


class Fuse:
    """Counts the awaits of a delivery; at the `at`-th one it does `action` (raise Crashed, restore a copy, fail)."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.action: Callable[[], Awaitable[None]] | None = None
        self.blown = False
        self.fired = 0
        self.calls = 0
        """Store calls under way."""

    def set(self, left: int, action: Callable[[], Awaitable[None]]) -> None:
        self.left, self.action = left, action

    async def crash(self) -> None:
        self.blown = True
        raise Crashed

    async def step(self) -> None:
        if self.blown:
            raise Crashed
        if self.left is not None:
            self.left -= 1
            if self.left < 0 and self.action is not None:
                action, self.left, self.action = self.action, None, None
                self.fired += 1
                await action()


async def quiet(fuse: Fuse) -> None:
    """Runs the other tasks until all of them wait for something other than the store. Needs no real time for a store in memory."""
    me, since = asyncio.current_task(), 0
    while since < 3:
        await asyncio.sleep(0.001 if fuse.calls else 0)
        others = [task for task in asyncio.all_tasks() if task is not me and not task.done()]
        waiting = all(
            (waiter := getattr(task, "_fut_waiter", None)) is not None and not waiter.done() for task in others
        )
        since = since + 1 if waiting and not fuse.calls else 0


class Fused:
    """A store whose every call passes the fuse before and after."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._fuse.step()
            self._fuse.calls += 1
            try:
                result = await found(*args, **kwargs)
            finally:
                self._fuse.calls -= 1
            await self._fuse.step()
            return result

        return call


class ModelTopics:
    """What is published, and the progress by identity. Survives every crash; of the senders with one id only the last is not
    fenced.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.events: list[Published] = []
        self.progress: dict[str, Progress] = {}
        self.epochs: dict[str, int] = {}

    def fence(self, identity: str) -> None:
        """Another sender with this id begins, or its transaction took too long."""
        sender = identity.partition(" ")[0]
        self.epochs[sender] = self.epochs.get(sender, 0) + 1


class ModelSink:
    pauses_polling = True

    def __init__(self, name: str, topics: ModelTopics, fuse: Fuse, *, keeps_progress: bool = True) -> None:
        self.name = name
        self.topics = topics
        self.fuse = fuse
        self.keeps_progress = keeps_progress
        self.prefix, self.progress_topic = "poller", "progress"
        self.too_large: set[str] = set()
        """Subjects of events that are refused for their size."""
        self.faults: list[Exception] = []
        """Raised by the next lanes, in this order."""
        self.lanes = 0
        self.unreadable = False

    def identity(self, shard: int) -> str:
        return f"{self.prefix}.{self.name}.{shard} {self.progress_topic}" if self.keeps_progress else ""

    def take_name(self, identity: str) -> None:
        """The names that an identity consists of."""
        sender, _, self.progress_topic = identity.partition(" ")
        self.prefix = sender.partition(".")[0]

    async def peek(self, shard: int, identity: str = "") -> Progress | None:
        await self.fuse.step()
        return self.topics.progress.get(identity or self.identity(shard))

    async def lane(self, shard: int, identity: str = "") -> "ModelLane":
        await self.fuse.step()
        if self.faults:
            raise self.faults.pop(0)
        self.lanes += 1
        key = identity or self.identity(shard)
        self.topics.fence(key)
        lane = ModelLane(self, key, shard)
        await self.fuse.step()
        return lane

    async def close(self) -> None:
        pass


class ModelLane:
    def __init__(self, sink: ModelSink, key: str, shard: int) -> None:
        self.sink = sink
        self.shard = shard
        self.key = key
        self.sender = key.partition(" ")[0]
        self.epoch = sink.topics.epochs[self.sender]
        self.dead: set[int] = set()
        self.progress = sink.topics.progress.get(key) if sink.keeps_progress else None

    async def published(self, since: float | None) -> AsyncIterator[Published]:
        if self.sink.unreadable:
            raise SinkFault("the topics cannot be read")
        for event in list(self.sink.topics.events):
            if since is None or event.at >= since:
                await self.sink.fuse.step()
                yield event

    async def send(self, segments: Sequence[Segment]) -> Sent:
        await self.sink.fuse.step()
        entries = [(seq, event) for one in segments for seq, event in enumerate(unpack(one), one.first)]
        entries = [entry for entry in entries if for_sink(entry[1], self.sink.name) and entry[0] not in self.dead]
        refused = [entry for entry in entries if entry[1].subject in self.sink.too_large]
        now = self.sink.topics.clock.now()
        if refused:
            self.dead |= {seq for seq, _ in refused}
            letters = [
                DeadEvent(
                    id=e.id,
                    sink=self.sink.name,
                    shard=self.shard,
                    seq=seq,
                    reason="too_large",
                    error="",
                    event=e,
                    at=now,
                )
                for seq, e in refused
            ]
            return Sent(self.progress.position if self.progress else Position(), letters)
        self._commit(end(segments[-1]))
        for _, e in entries:
            self.sink.topics.events.append(
                Published(e.id, e.seen, e.type, e.source, e.subject, e.time, e.key, e.body, now)
            )
        await self.sink.fuse.step()
        return Sent(end(segments[-1]), [])

    async def note(self, position: Position, *, moved: str | None = None) -> None:
        await self.sink.fuse.step()
        self._commit(position, moved)
        await self.sink.fuse.step()

    def _commit(self, position: Position, moved: str | None = None) -> None:
        topics = self.sink.topics
        if topics.epochs[self.sender] != self.epoch:
            raise Fenced("another sender has taken over")
        if self.sink.keeps_progress:
            self.progress = topics.progress[self.key] = Progress(position, topics.clock.now(), moved)
            if moved is not None:
                topics.progress[moved] = Progress(position, topics.clock.now())

    async def close(self) -> None:
        pass


def wake_next(clock: FakeClock) -> None:
    """Moves the clock to the next sleeper; unlike the clock's own `advance` it does not wait for the rest."""
    due, _, event = heapq.heappop(clock._sleepers)
    clock.wall += max(0.0, due - clock.time)
    clock.time = max(due, clock.time)
    event.set()


class Lease:
    """By which a shard is worked on that somebody else may have by now."""

    def __init__(self, store: MemoryStore, number: int) -> None:
        self._store = store
        self._number = number
        self.lasts = True
        self.given = True
        """Whether the store gives it again; who has lost it may learn that only there."""
        self.asked = 0

    def ours(self) -> bool:
        return self.lasts

    async def take(self) -> Held:
        self.asked += 1
        if not (self.lasts and self.given):
            raise Lost(f"shard {self._number} is another replica's now")
        return await self._store.hold(self._number)
