"""FonoUC (on Kazoo): CDRs and recordings."""

from collections.abc import Mapping

from poller.protocols import Endpoint, Login, Media, Source
from poller.sources.fonouc.cdrs import Cdrs
from poller.sources.fonouc.config import Config
from poller.sources.fonouc.login import FonoucLogin
from poller.sources.fonouc.media import FonoucMedia
from poller.sources.fonouc.recordings import Recordings

__all__ = ["Config", "Fonouc", "build"]


class Fonouc:
    """One FonoUC system."""

    def __init__(self, config: Config) -> None:
        headers: tuple[tuple[str, str], ...] = (("X-Account-ID", config.account_id),)
        if config.api_key is not None:
            headers += (("X-API-Key", config.api_key.reveal()),)
        asked = (*headers, ("Accept", "application/json"))
        endpoints: dict[str, Endpoint] = {}
        if config.endpoints.cdrs is not None:
            endpoints["cdrs"] = Cdrs(config.endpoints.cdrs, asked)
        if config.endpoints.recordings is not None:
            endpoints["recordings"] = Recordings(config.endpoints.recordings, asked, config.base_url)
        self.endpoints: Mapping[str, Endpoint] = endpoints
        self.login: Login | None = None if config.api_key is not None else FonoucLogin(config)
        self.media: Media | None = FonoucMedia(headers)


def build(name: str, config: Config) -> Source:
    """The source of one configured system."""
    return Fonouc(config)
