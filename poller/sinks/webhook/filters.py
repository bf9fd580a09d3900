"""Pure: which events a webhook wants."""

import msgspec
from msgspec import Struct

from poller.event import WINDOW
from poller.model import Event
from poller.sinks.webhook.config import Config


class _Data(Struct):
    direction: str | None = None
    disposition: str | None = None


class _Body(Struct):
    data: _Data


_read = msgspec.json.Decoder(_Body).decode


class Filter:
    """The four filters of a webhook; an event has to pass all of them."""

    def __init__(self, config: Config) -> None:
        events = config.events or ()
        self._windows = config.asks_windows
        self._types = frozenset(events)
        self._prefixes = tuple(text.removesuffix("*") for text in events if text.endswith(".*"))
        self._sources = frozenset(config.sources or ())
        self._directions = frozenset(config.directions or ())
        self._dispositions = frozenset(config.dispositions or ())

    def passes(self, event: Event) -> bool:
        """Never raises: an event that cannot be read is not kept back."""
        if event.type == WINDOW:
            return self._windows and (not self._sources or _source(event.source) in self._sources)
        if self._types and event.type not in self._types and not event.type.startswith(self._prefixes):
            return False
        if self._sources and _source(event.source) not in self._sources:
            return False
        if (self._directions or self._dispositions) and event.type.startswith("telephony.call."):
            return self._call_passes(event.body)
        return True

    def _call_passes(self, body: bytes) -> bool:
        try:
            data = _read(body).data
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return True
        return (not self._directions or data.direction in self._directions) and (
            not self._dispositions or data.disposition in self._dispositions
        )


def _source(source: str) -> str:
    """`/poller/<id>/calls` → the id."""
    parts = source.split("/", 3)
    return parts[2] if len(parts) > 2 else ""
