"""`poller check` of webhooks: where their names lead, and whether calls may go there. None is made."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from msgspec import Struct, field

from poller.config import Settings
from poller.errors import ConfigError, PollerError
from poller.kinds import kind_of, load_sink_kind

LookUp: TypeAlias = Callable[[], Awaitable[Sequence[str]]]


class Reach(Struct, kw_only=True):
    """Where one webhook leads."""

    sink: str
    url: str
    """Scheme, host and port."""
    verdict: str = "ok"
    """`ok` or `failed`."""
    addresses: list[str] = field(default_factory=list)
    error: str | None = None


async def check(settings: Settings, names: Sequence[str]) -> list[Reach]:
    """The named sinks, or all that can be looked up. Raises ConfigError for a named one that cannot."""
    found = []
    for name in names or settings.sinks:
        options = settings.sinks[name]
        sink = load_sink_kind(kind_of(options)).build(name, options, shards=1)
        try:
            look_up: LookUp | None = getattr(sink, "reach", None)
            if look_up is not None:
                found.append(await _reach(name, getattr(sink, "place", ""), look_up))
            elif names:
                raise ConfigError(f"sink {name} is of kind {kind_of(options)}: only sources and webhooks are checked")
        finally:
            await sink.close()
    return found


async def _reach(name: str, url: str, look_up: LookUp) -> Reach:
    try:
        return Reach(sink=name, url=url, addresses=list(await look_up()))
    except PollerError as error:
        return Reach(sink=name, url=url, verdict="failed", error=str(error))
