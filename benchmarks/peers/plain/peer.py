"""The plain loop as one of those that are compared."""

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import place as places
import topic
import used

FOLDER = Path(__file__).parent


class Plain:
    """httpx, json and confluent-kafka."""

    name = "plain loop"
    into_kafka = True
    terms = (
        "loop.py: httpx, json, confluent-kafka; ten fields of each call, idempotent producer, zstd, linger 20 ms, a flush a page; "
        "no dedupe, no memory of where it was; into Kafka"
    )

    def __init__(self) -> None:
        self._python = places.python(FOLDER)

    def run(self, place: places.Place, until: Callable[[], bool] | None = None) -> used.Used:
        """The whole window, from its beginning."""
        asked = [place.url, str(place.begin), str(place.end), place.bootstrap, place.topic]
        return used.run([str(self._python), str(FOLDER / "loop.py"), *asked], until=until, by=signal.SIGKILL)

    def published(self, place: places.Place) -> Counter[str]:
        """As read_committed readers see it."""
        return topic.found(place.bootstrap, place.topic, places.key)
