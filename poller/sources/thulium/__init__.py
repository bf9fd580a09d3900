"""Thulium (a Polish cloud contact centre): connections and recordings."""

from collections.abc import Mapping

from poller.protocols import Endpoint, Login, Media, Source
from poller.sources.thulium.config import Config
from poller.sources.thulium.connections import Connections
from poller.sources.thulium.media import ThuliumMedia
from poller.sources.thulium.recordings import Recordings

__all__ = ["Config", "Thulium", "build"]


class Thulium:
    """One Thulium system."""

    login: Login | None = None

    def __init__(self, config: Config) -> None:
        basic = (config.username, config.password.reveal())
        endpoints: dict[str, Endpoint] = {}
        if (connections := config.endpoints.connections) is not None:
            endpoints["connections"] = Connections(connections, basic, config.timezone)
        if (recordings := config.endpoints.recordings) is not None:
            endpoints["recordings"] = Recordings(recordings, basic, config.timezone, config.base_url)
        self.endpoints: Mapping[str, Endpoint] = endpoints
        self.media: Media | None = ThuliumMedia(basic)


def build(name: str, config: Config) -> Source:
    """The source of one configured system."""
    return Thulium(config)
