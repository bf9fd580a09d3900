"""Signed HTTP calls to a URL: at least once, under the same id."""

from poller.log import get_logger
from poller.sinks.webhook.config import Config
from poller.sinks.webhook.sink import WebhookSink

__all__ = ["Config", "build"]


def build(name: str, config: Config, *, shards: int) -> WebhookSink:  # noqa: ARG001 each event is on its own
    """A sink of this name. Connects to nothing yet. Raises ConfigError where the file of issuers cannot be used."""
    if config.url.scheme == "https" and not config.tls.verify:
        get_logger().warning(
            "certificates are not checked", sink=name, detail="tls.verify is false: anybody may pose as this receiver"
        )
    return WebhookSink(name, config)
