"""What a running program consists of, around parts that a test made itself."""

import random

from poller.app_parts import App
from poller.clock import Clock
from poller.config import Settings
from poller.hosts import Hosts
from poller.leases.alone import Alone
from poller.log import SharedOutage, get_logger
from poller.metrics import Metrics
from poller.one_by_one.turns import Turns
from poller.protocols import Store
from poller.shard import Shard


def app_of(
    settings: Settings, store: Store, clock: Clock, metrics: Metrics, rnd: random.Random, shards: list[Shard]
) -> App:
    """One process that has the store to itself."""
    outage = SharedOutage(get_logger(), clock)
    return App(settings, store, clock, metrics, rnd, shards, outage, Alone(store), Hosts(clock), Turns(clock.mono))
