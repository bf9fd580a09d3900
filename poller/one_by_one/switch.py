"""Whether a sink is switched off: one fact in the store, by a person or because the sink wants no more calls.

Every replica that shares the store follows it within a second. What a replica measures of a sink is its own.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import msgspec
from msgspec import Struct

from poller.errors import PollerError
from poller.health import Condition, disabled, enabled
from poller.leasing import SWITCHED
from poller.log import SharedOutage
from poller.protocols import Store

_ALL = 60
"""Of so many looks one reads every switch, told or not: whoever switched may have ended before it told."""
_WHO = "looking at switches"


class Switch(Struct, frozen=True, omit_defaults=True):
    """`number` grows with each change. `since`: epoch seconds."""

    number: int = 0
    off: bool = False
    since: float = 0.0
    why: str = ""

    def applied(self, condition: Condition) -> Condition:
        """How a sink stands once somebody has switched it."""
        return disabled(condition, self.why, self.since) if self.off else enabled(condition, self.since)

    def found_with(self, condition: Condition) -> Condition:
        """How a sink stands of which the store has both."""
        return condition if self.off == (condition.state == "disabled") else self.applied(condition)


def switch_name(sink: str) -> str:
    """Where the store keeps it."""
    return f"sink.{sink}.switch"


async def read(store: Store, sink: str) -> Switch | None:
    """None: it was never switched, or that cannot be read. Raises StoreFault."""
    try:
        text = await store.get_meta(switch_name(sink))
        return None if text is None else msgspec.json.decode(text, type=Switch)
    except ValueError:
        return None


async def write(store: Store, sink: str, switch: Switch) -> None:
    """And tells the others. Raises StoreFault."""
    await store.put_meta(switch_name(sink), msgspec.json.encode(switch).decode())
    await store.put_meta(SWITCHED, secrets.token_hex(8))


async def flip(store: Store, sink: str, condition: Condition, since: float) -> Switch:
    """Makes what a sink's condition says the fact for all. Raises StoreFault."""
    before = await read(store, sink) or Switch()
    off = condition.state == "disabled"
    switch = Switch(before.number + 1, off, since, condition.why if off else "")
    await write(store, sink, switch)
    return switch


class Follower(Protocol):
    """The gate of one sink."""

    async def follow(self) -> None:
        """Does what somebody has switched since the last look. Raises StoreFault."""
        ...


async def keep_following(
    followers: Callable[[], Iterable[Follower]], outage: SharedOutage, look: Callable[[], Awaitable[str | None]]
) -> None:
    """Until it is cancelled. `look`: waits for the next look at the store, about a second, and returns the value of SWITCHED."""
    told: str | None = None
    looks = 0
    while True:
        found = await look()
        try:
            if found != told or looks % _ALL == 0:
                for one in followers():
                    await one.follow()
            told, looks = found, looks + 1
            outage.ended(_WHO)
        except PollerError as error:  # a right that was revoked while it runs may be given again
            outage.failed(_WHO, error)
