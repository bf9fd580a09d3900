"""Kolmisoft MOR (and its kin M2): calls, local calls and recordings."""

from collections.abc import Mapping

from poller.protocols import Endpoint, Login, Media
from poller.sources.mor.config import Config
from poller.sources.mor.local_calls import LocalCalls
from poller.sources.mor.media import MorMedia
from poller.sources.mor.recordings import Recordings
from poller.sources.mor.user_calls import UserCalls

__all__ = ["Config", "build"]


class Mor:
    """One configured MOR system; see poller.protocols.Source."""

    login: Login | None = None
    """The hash signs every request."""

    def __init__(self, config: Config) -> None:
        self.media: Media | None = MorMedia(config)
        self.endpoints: Mapping[str, Endpoint] = _endpoints(config)


def _endpoints(config: Config) -> dict[str, Endpoint]:
    chosen = config.endpoints
    endpoints: dict[str, Endpoint] = {}
    if chosen.user_calls is not None:
        endpoints["user_calls"] = UserCalls(config, chosen.user_calls)
    if chosen.local_calls is not None:
        endpoints["local_calls"] = LocalCalls(config, chosen.local_calls)
    if chosen.recordings is not None:
        endpoints["recordings"] = Recordings(config, chosen.recordings)
    return endpoints


def build(name: str, config: Config) -> Mor:
    """The source that a configuration describes."""
    return Mor(config)
