"""What a running program consists of; `app.py` opens it, the others look at it."""

import random
from typing import TypeAlias

from msgspec import Struct, field

from poller.clock import Clock
from poller.config import Settings
from poller.deliver import Delivery
from poller.http import Vendor
from poller.metrics import Metrics
from poller.one_by_one.delivery import EachDelivery
from poller.protocols import Source, Store
from poller.route import AnySink
from poller.shard import Shard
from poller.track import Track

AnyDelivery: TypeAlias = Delivery | EachDelivery


class App(Struct):
    """Everything that is open."""

    settings: Settings
    store: Store
    clock: Clock
    metrics: Metrics
    rnd: random.Random
    shards: list[Shard]
    sources: dict[str, Source] = field(default_factory=dict)
    vendors: dict[str, Vendor] = field(default_factory=dict)
    tracks: list[Track] = field(default_factory=list)
    sinks: dict[str, AnySink] = field(default_factory=dict)
    deliveries: list[AnyDelivery] = field(default_factory=list)
    started_at: float = 0.0
