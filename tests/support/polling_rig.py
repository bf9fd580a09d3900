"""Everything that a poll needs, real but for the vendor and the clock."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from fake_clock import FakeClock
from http_peer import peer
from polling_vendor import Listed, Phones, Record

from poller import segment
from poller.checkpoint import Checkpoint, complete_until, load
from poller.hours import Book
from poller.http import Vendor
from poller.keep import Keeper
from poller.metrics import RECORD_RESULTS, Metrics
from poller.model import Ask, CheckpointKey, Event, PageCommit
from poller.options import EndpointOptions, SourceOptions
from poller.poll import poll
from poller.protocols import Store
from poller.shard import Shard
from poller.stores.memory import MemoryStore
from poller.track import Setup, Track

ONE_RUNG = [{"back": "50m"}]
"""Shorter than an hour with what polls add, so that a pass is one slice."""
NAME, ID = "phones-1", "phones-main"


@dataclass
class Rig:
    """One source on one store."""

    phones: Phones
    clock: FakeClock
    store: Store
    shard: Shard
    metrics: Metrics
    setup: Setup
    endpoints: dict[str, Listed] = field(default_factory=dict)

    def track(
        self, endpoint: Listed | None = None, *, ask: Ask | None = None, mentions: bool = True, book: Book | None = None,
        **keys: Any,
    ) -> Track:  # fmt: skip
        """A track of its own, as a restart would make it. `keys`: the endpoint's configuration."""
        endpoint = endpoint or Listed()
        self.metrics.declare(NAME, endpoint.name)
        options = EndpointOptions.model_validate({"ladder": ONE_RUNG, "start": "1h", "timeout": "30s"} | keys)
        keeper = Keeper(
            ID,
            endpoint,
            options,
            self.shard,
            metrics=self.metrics,
            clock=self.clock,
            mentions=mentions,
            name=NAME,
            book=book,
        )
        return Track(self.setup, endpoint, options, ask or endpoint.asks[0], keeper)

    async def restart(self) -> None:
        """What a new process believes."""
        self.shard = Shard(self.store, 0)
        await self.shard.believe()
        self.setup.shard, self.setup.skew = self.shard, None

    async def log(self) -> list[Event]:
        """All entries of the log."""
        found = await self.store.segments_after(0, 0, 1 << 40)
        return [event for one in found for event in segment.unpack(one)]

    async def events(self) -> list[Record]:
        """All events, decoded."""
        return [msgspec.json.decode(event.body) for event in await self.log()]

    async def told(self) -> list[tuple[str, str, int]]:
        """(what, of which thing, revision) of all events."""
        found = await self.events()
        return [(one["type"].removeprefix("telephony."), one["subject"], one["data"]["revision"]) for one in found]

    async def checkpoint(self, track: Track) -> Checkpoint:
        """As the store has it."""
        return load((await self.store.checkpoints())[track.key], track.ladder)

    async def damage(self, key: CheckpointKey) -> None:
        """What the store has under this key is no checkpoint (any more)."""
        self.shard.held = await self.store.commit_page(self.shard.held, PageCommit(checkpoints={key: b'{"start":"5'}))

    async def complete(self, track: Track) -> int | None:
        """What the store claims to be complete."""
        return complete_until(await self.checkpoint(track))

    def counted(self, track: Track) -> dict[str, float]:
        """The records of an endpoint by what became of them, those that are none left out."""
        found = {name: self.metrics.records[NAME, track.endpoint.name, name].value for name in RECORD_RESULTS}
        return {name: count for name, count in found.items() if count}

    def suspicions(self, track: Track, reason: str) -> float:
        """How often something was suspicious."""
        return self.metrics.suspicions[NAME, track.endpoint.name, reason].value or 0


@asynccontextmanager
async def polling(store: Store | None = None, clock: FakeClock | None = None, **phones: Any) -> AsyncIterator[Rig]:
    """A rig; `phones` are the vendor's fields."""
    clock = clock or FakeClock()
    store = store or MemoryStore()
    metrics, vendor_side = Metrics(), Phones(clock, **phones)
    shard = Shard(store, 0)
    await shard.believe()
    async with peer(vendor_side.respond) as server:
        options = SourceOptions(base_url=f"{server.url}/api")
        async with Vendor(NAME, options, None, clock=clock, metrics=metrics) as vendor:
            setup = Setup(NAME, ID, vendor, shard, clock, metrics, random.Random(1), 30 * 86_400)
            yield Rig(vendor_side, clock, store, shard, metrics, setup)


async def poll_on(track: Track, polls: int = 1, every: float = 60.0) -> None:
    """Polls one after the other, each to its end; time passes after each."""
    for _ in range(polls):
        await poll(track, None)
        later(track.setup.clock, every)


def later(clock: Any, seconds: float) -> None:
    """Time passes; nobody sleeps."""
    clock.wall += seconds
    clock.time += seconds
