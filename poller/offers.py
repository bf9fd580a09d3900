"""What some sinks offer beside what all of them must."""

from typing import Protocol, runtime_checkable

from poller.model import Event


@runtime_checkable
class Widening(Protocol):
    """What a sink offers whose room for progress is made for a number of shards."""

    async def widen(self) -> None:
        """Makes room for more of them. Raises SinkFault or SinkRefused."""
        ...


@runtime_checkable
class Placing(Protocol):
    """What a sink offers that can say where an event goes."""

    def place_of(self, event: Event) -> str:
        """For people: topic and partition, an address, a file. Without secrets; never raises."""
        ...
