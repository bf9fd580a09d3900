"""A webhook's settings and attempts for tests."""

import time
from typing import Any

from delivery_events import call_event

from poller.each import Answered, Attempt
from poller.model import Event
from poller.signing import ed25519_texts, hmac_text
from poller.sinks.webhook import Config
from poller.sinks.webhook.dial import Dialler, Resolve
from poller.sinks.webhook.sink import WebhookSink

HMAC = hmac_text(b"a secret of the tests, not real \xff\xfb\xef\xbe\xff")
PRIVATE, PUBLIC = ed25519_texts(b"seed of the tests, 29 bytes: \xff\xfb\xef")
assert {"+", "/"} <= set(HMAC) & set(PRIVATE)  # what frameworks write in other ways


def settings(url: str, *secrets: str, **options: Any) -> Config:
    """Where the tests' receivers may be reached."""
    given = {"kind": "webhook", "url": url, "secrets": list(secrets or (HMAC,)), "allow_http": True}
    return Config.model_validate({"allow": ["127.0.0.1"], **given, **options}, context={"literals": True})


def hook(url: str, *secrets: str, resolve: Resolve | None = None, network: Any = None, **options: Any) -> WebhookSink:
    """A webhook of these settings."""
    config = settings(url, *secrets, **options)
    return WebhookSink("crm", config, Dialler(config, resolve=resolve, network=network))


async def attempt(
    sink: WebhookSink, event: Event | None = None, *, number: int = 1, at: float | None = None
) -> Answered:
    """One attempt of one event."""
    now = time.time() if at is None else at
    return await sink.attempt(event or call_event("c1", 1), Attempt(number=number, at=now, first=now))
