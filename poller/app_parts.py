"""What a running program consists of; `app.py` opens it, the others look at it."""

import random
from typing import TypeAlias

from msgspec import Struct, field

from poller.clock import Clock
from poller.config import Settings
from poller.deliver import Delivery
from poller.hosts import Hosts
from poller.leasing import Leasing
from poller.log import SharedOutage
from poller.metrics import Metrics
from poller.one_by_one.delivery import EachDelivery
from poller.one_by_one.notes import MOST
from poller.one_by_one.turns import Turns
from poller.protocols import Store
from poller.route import AnySink
from poller.shard import Nobody, Shard
from poller.track import Track

AnyDelivery: TypeAlias = Delivery | EachDelivery


class Part(Struct):
    """What is open of one shard while this process works on it. `lanes`: its deliveries to sinks that take whole segments."""

    shard: Shard
    tracks: list[Track] = field(default_factory=list)
    lanes: list[Delivery] = field(default_factory=list)


class App(Struct):
    """Everything that is open."""

    settings: Settings
    store: Store
    clock: Clock
    metrics: Metrics
    rnd: random.Random
    shards: list[Shard]
    """All of the store, by number; this process believes nothing about those that are not its own."""
    outage: SharedOutage
    """The store's: one line, however many meet it."""
    leasing: Leasing
    hosts: Hosts
    turns: Turns
    """What all sinks that take events one by one share."""
    tracks: list[Track] = field(default_factory=list)
    """Of its own shards."""
    deliveries: list[AnyDelivery] = field(default_factory=list)
    """The lanes of its own shards, and one for each sink that takes events one by one, whatever shards there are."""
    sinks: dict[str, AnySink] = field(default_factory=dict)
    started_at: float = 0.0

    def add(self, part: Part) -> None:
        """Its shard is worked on from now on."""
        self.shards[part.shard.number] = part.shard
        self.tracks += part.tracks
        self.deliveries += part.lanes

    def remove(self, part: Part) -> None:
        """Not any more."""
        number = part.shard.number
        part.shard.given_up()
        self.shards[number] = Shard(self.store, number, self.outage, Nobody(number))
        self.tracks = [one for one in self.tracks if one.setup.shard is not part.shard]
        self.deliveries = [one for one in self.deliveries if one not in part.lanes]

    @property
    def lanes(self) -> list[Delivery]:
        """Those of its own shards to sinks that take whole segments."""
        return [one for one in self.deliveries if isinstance(one, Delivery)]

    @property
    def each(self) -> list[EachDelivery]:
        """The deliveries to sinks that take events one by one."""
        return [one for one in self.deliveries if isinstance(one, EachDelivery)]

    def hurry(self, sink: str) -> None:
        """What the sink has taken is written at once, so that whoever waits for room sees it; unless a commit's worth waits anyway."""
        for one in self.each:
            if one.sink.name == sink and one.pending <= MOST:
                one.hurry()
