"""A route: from one shard to one sink. What its delivery, its settling, its healing and its backlog work with."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeAlias, TypeVar

from msgspec import Struct
from structlog.typing import FilteringBoundLogger

from poller.clock import Clock
from poller.each import EachSink
from poller.log import get_logger
from poller.metrics import Metrics
from poller.model import CheckpointKey
from poller.options import SinkOptions
from poller.protocols import Sink
from poller.shard import Shard


class Rewound(Struct, frozen=True):
    """Where a store that was emptied begins again: epoch seconds of own time, and the checkpoints that say so."""

    begin: float
    checkpoints: Mapping[CheckpointKey, bytes]


Rewind = Callable[[float], Rewound]
"""From when the progress record was written to the earlier of each `start` and that time minus the top rung's `back`."""


AnySink: TypeAlias = Sink | EachSink
_Kind_co = TypeVar("_Kind_co", bound=AnySink, covariant=True)


class Route(Struct, Generic[_Kind_co], frozen=True):
    """One shard's way to one sink."""

    shard: Shard
    sink: _Kind_co
    options: SinkOptions
    clock: Clock
    rnd: random.Random
    metrics: Metrics
    others: Sequence[str] = ()
    """The names of the other sinks of the store."""
    rewind: Rewind | None = None
    told: Sequence[str] = ()
    """Those of the others that ask for whole hours."""
    unsettled: Sequence[str] = ()
    """Those of the other sinks that keep no progress, and so never compare what they have with the log."""

    @property
    def log(self) -> FilteringBoundLogger:
        """Lines that say which sink and shard they are about."""
        return get_logger().bind(sink=self.sink.name, shard=self.shard.number)
