"""The sink: filters, one attempt, and what came of it."""

from collections.abc import Sequence

import anyio

from poller.each import Answered, Attempt, Pace
from poller.errors import Refused, Transient
from poller.model import Event
from poller.redact import Redactor, secrets_of
from poller.sinks.webhook.call import Caller
from poller.sinks.webhook.config import Config
from poller.sinks.webhook.dial import Dialler, NoLine
from poller.sinks.webhook.filters import Filter
from poller.sinks.webhook.formats import Format
from poller.sinks.webhook.verdict import CONTROL, NoReply, judge

_LOOK_UP = 10.0
"""Seconds for a name, where a person waits for it."""


class WebhookSink:
    """Calls one URL with one event at a time."""

    def __init__(self, name: str, config: Config, dialler: Dialler | None = None) -> None:
        """Raises ConfigError where the file of issuers cannot be used."""
        self.name = name
        self.place = config.url.place
        """Scheme, host and port: all of the URL that may be shown."""
        self.pace = _pace(config)
        self._own = Redactor(*secrets_of(config))
        self._redact = self._own.with_more(*config.url.parts())
        """For what the other side said, which may repeat the path; for our own sentences its words are too common."""
        self._format = Format(config, config.keys())
        self._filter = Filter(config)
        self._dialler = dialler or Dialler(config)
        self._caller = Caller(config, self._dialler)

    def __repr__(self) -> str:
        """Without keys, path and query."""
        return f"<WebhookSink {self.name} {self.place}>"

    def wants(self, event: Event) -> bool:
        """Whether the filters let the event pass."""
        return self._filter.passes(event)

    def place_of(self, event: Event) -> str:  # noqa: ARG002 all go to one place
        """Scheme, host and port."""
        return self.place

    async def attempt(self, event: Event, attempt: Attempt) -> Answered:
        """Calls once. Every failure is an answer."""
        try:
            call = self._format.call(event, attempt)
        except ValueError as error:
            return Answered(outcome="dead", reason="client_error", error=f"no call can be made of it: {error}")
        reply = await self._caller.call(call, self._redact)
        if isinstance(reply, NoReply):
            return Answered(outcome="later", reason=reply.reason, error=self._own(reply.message))
        if 200 <= reply.status < 300 and CONTROL not in reply.headers:
            return _DELIVERED
        redact = self._redact.with_more(*call.signatures)
        return judge(reply, self.place, now=attempt.at, longest=self.pace.longest_retry_after, redact=redact)

    async def reach(self) -> Sequence[str]:
        """The addresses that calls would go to; nothing is sent. Raises Refused or Transient."""
        with anyio.move_on_after(_LOOK_UP):
            try:
                return await self._dialler.addresses()
            except NoLine as error:
                raise Refused(error.reply.message) from None
        raise Transient(f"the name service does not answer within {_LOOK_UP:g} s")

    async def close(self) -> None:
        """Drops the connections that are kept."""
        await self._caller.close()


_DELIVERED = Answered(outcome="delivered")


def _pace(config: Config) -> Pace:
    return Pace(
        concurrency=config.concurrency,
        rate=config.max_per_second,
        in_flight=config.in_flight,
        schedule=config.schedule,
        jitter=config.jitter,
        ordered=config.order == "per_key",
        probe=config.probe,
        longest_retry_after=config.longest_retry_after,
    )
