"""This program as one of those that are compared."""

import signal
from collections import Counter
from collections.abc import Callable

import place as places
import topic
import used
from daemon import call, command, configuration, environment


class Poller:
    """`run --once` with SQLite."""

    name = "poller"
    into_kafka = True
    terms = (
        "run --once, SQLite with synchronous=FULL, one transaction a batch, zstd; dedupes by id; the call normalised and the raw record "
        "in each event; into Kafka, exactly once"
    )

    def run(self, place: places.Place, until: Callable[[], bool] | None = None) -> used.Used:
        """A pass over what the feed has."""
        config = configuration(place.folder, place.port, place.bootstrap, place.begin)
        return used.run(command(config), environment(), until=until, by=signal.SIGKILL)

    def published(self, place: places.Place) -> Counter[str]:
        """As read_committed readers see it."""
        return topic.found(place.bootstrap, place.topic, call)
