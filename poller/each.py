"""What a sink offers that takes events one by one, each tried until it is taken: a webhook."""

from typing import Literal, Protocol

from msgspec import Struct

from poller.model import Event


class Pace(Struct, frozen=True, kw_only=True):
    """How a sink wants its events one by one. Times in seconds."""

    concurrency: int
    """Attempts at a time."""
    rate: float | None
    """Attempts per second at most."""
    in_flight: int
    """Bytes of events that are under way at most, unless a single one is larger."""
    schedule: tuple[float, ...]
    """Waits before the second, third, … attempt of an event. After the last one it is a dead letter."""
    jitter: float
    """The part of each wait by which it may be shorter or longer."""
    ordered: bool
    """Whether an event waits until the earlier ones of its key are delivered or dead."""
    probe: float
    """Longest wait between two attempts at an endpoint that is down."""
    longest_retry_after: float
    """More than this is not waited, whatever the other side asks for."""


class Attempt(Struct, frozen=True, kw_only=True):
    """Which attempt it is. `number`: 1 for the first. `at`, `first`: when this one and the first one begin, epoch seconds."""

    number: int
    at: float
    first: float


class Answered(Struct, frozen=True, kw_only=True):
    """What came of one attempt."""

    outcome: Literal["delivered", "later", "dead"]
    reason: str = ""
    """Of a closed set; empty when it was delivered."""
    error: str = ""
    """What happened and what the other side said: its status and its first bytes, without secrets."""
    retry_after: float | None = None
    """Seconds that the other side asked us to wait."""
    slow_down: bool = False
    """The endpoint as a whole is asked too much (429, 502, 504), not just this event."""
    at_large: bool = False
    """Rather the endpoint is wrong than the event (401, 403, 404): while it is down, it is asked ever more rarely."""
    disable: bool = False
    """The endpoint wants no more calls (410, or the header that says so). `error` says why."""


class EachSink(Protocol):
    """Where events go one by one, each tried until it is taken: a webhook."""

    name: str
    pace: Pace

    def wants(self, event: Event) -> bool:
        """Whether the sink's filters let the event pass. Cheap; never raises."""
        ...

    async def attempt(self, event: Event, attempt: Attempt) -> Answered:
        """Tries once, within the sink's own timeout. Every failure is an answer; raises only when it is cancelled."""
        ...

    async def close(self) -> None:
        """Bounded; never raises."""
        ...
