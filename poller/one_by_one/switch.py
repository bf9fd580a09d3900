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
    return _switch(await store.get_meta(switch_name(sink)))


async def flip(store: Store, sink: str, condition: Condition, since: float) -> Switch:
    """Makes what a sink's condition says the fact for all. Raises StoreFault."""
    off = condition.state == "disabled"
    while True:
        text = await store.get_meta(switch_name(sink))
        before = _switch(text) or Switch()
        switch = Switch(before.number + 1, off, since, condition.why if off else "")
        if await _swap(store, sink, text, switch):
            return switch


async def remind(store: Store, sink: str, known: Switch) -> None:
    """Of a switch that a restored store has forgotten. Raises StoreFault."""
    text = await store.get_meta(switch_name(sink))
    if (_switch(text) or Switch()).number < known.number:
        await _swap(store, sink, text, known)


async def _swap(store: Store, sink: str, before: str | None, switch: Switch) -> bool:
    """False where somebody else was faster. Tells the others."""
    done = await store.swap_meta(switch_name(sink), before, msgspec.json.encode(switch).decode())
    if done:
        await store.put_meta(SWITCHED, secrets.token_hex(8))
    return done


def _switch(text: str | None) -> Switch | None:
    try:
        return None if text is None else msgspec.json.decode(text, type=Switch)
    except ValueError:
        return None


class Follower(Protocol):
    """The delivery to one sink."""

    async def follow(self, *, measured: bool) -> None:
        """Does what somebody has switched since the last look. `measured`: compares what others measure, too. Raises StoreFault."""
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
                    await one.follow(measured=looks % _ALL == 0)
            told, looks = found, looks + 1
            outage.ended(_WHO)
        except PollerError as error:  # a right that was revoked while it runs may be given again
            outage.failed(_WHO, error)
