"""FonoUC (on Kazoo): CDRs and recordings."""

from collections.abc import Mapping

from poller.protocols import Endpoint, Login, Media, Source
from poller.sources.fonouc.cdrs import Cdrs
from poller.sources.fonouc.config import Config
from poller.sources.fonouc.login import PATHS, FonoucLogin
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
        self._config = config
        self.media: Media | None = FonoucMedia(headers)

    def logins(self) -> dict[str, Login]:
        """The other places where a login may be, by the setting that says so: `poller check` tries them where ours is not found."""
        if self.login is None:
            return {}
        others = [path for path in PATHS if path != self._config.login_path]
        return {f"login_path: {path}": FonoucLogin(self._config, path) for path in others}


def build(name: str, config: Config) -> Source:
    """The source of one configured system."""
    return Fonouc(config)
