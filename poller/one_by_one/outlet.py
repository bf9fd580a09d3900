"""A sink that takes events one by one, whatever shard they come from: what all parts of its delivery work with."""

import random

from msgspec import Struct
from structlog.typing import FilteringBoundLogger

from poller.clock import Clock
from poller.each import EachSink
from poller.log import get_logger
from poller.metrics import Metrics
from poller.one_by_one.turns import Turns
from poller.options import SinkOptions
from poller.protocols import Store
from poller.route import Route
from poller.shard import Shard


class Outlet(Struct, frozen=True):
    """`turns`: the process's, which its outlets share."""

    store: Store
    sink: EachSink
    options: SinkOptions
    clock: Clock
    rnd: random.Random
    metrics: Metrics
    turns: Turns

    @property
    def log(self) -> FilteringBoundLogger:
        """Lines that say which sink they are about."""
        return get_logger().bind(sink=self.sink.name)

    def route(self, shard: Shard) -> Route[EachSink]:
        """The way from one shard to it."""
        return Route(shard, self.sink, self.options, self.clock, self.rnd, self.metrics)
