"""How the conformance suite builds a webhook, makes its receiver fail, and reads what that got."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Self

from webhook_case import settings
from webhook_receiver import Got, answer, receiver

from poller.options import SinkOptions
from poller.sinks.webhook import Config, build

needs = "prefix"


class Harness:
    """A receiver that says 500 while it is to fail."""

    def __init__(self, _: str, prefix: str, **options: Any) -> None:
        self.path, self.options = f"/{prefix}", options
        self.failing, self.met = False, False
        self.taken: list[bytes] = []
        self.stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        peer = await self.stack.enter_async_context(receiver(self._answer))
        soon = {"start_from": "earliest", "schedule": ["100ms"] * 100, "probe": "1s", "timeout": "60s"}
        self.config = settings(peer.url(self.path), **soon, **self.options)
        self.sink = build("subject", self.config, shards=1)
        self.stack.push_async_callback(self.sink.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    async def fail(self) -> None:
        self.failing = True

    async def mend(self) -> None:
        self.failing = False

    def failed(self, _: Any) -> bool:
        return self.met

    async def bodies(self) -> list[bytes]:
        return self.taken

    async def _answer(self, got: Got, writer: asyncio.StreamWriter) -> None:
        if self.failing:
            self.met = True
        else:
            self.taken.append(got.body)
        writer.write(answer(500 if self.failing else 204))


def with_secrets(given: Any) -> SinkOptions:
    """Settings with every secret that the kind has."""
    whole = {"kind": "webhook", "url": f"https://crm.example/{given}?x={given}", "secrets": [given]}
    return Config.model_validate(whole, context={"literals": True})
