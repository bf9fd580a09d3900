"""The keys of a webhook."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from poller.addresses import Allow, read_allow, url_refusal
from poller.metrics import EVENT_TYPES
from poller.model import Direction, Disposition
from poller.options import Name, PositiveDuration, Secret, SinkOptions, Size, Tls
from poller.signing import SigningKey, read_signing_key
from poller.sinks.webhook.hook_url import HookUrl

Format = Literal["cloudevents", "cloudevents-binary", "standard"]
SCHEDULE = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds: the schedule that Standard Webhooks gives as its example, about three days in all."""


def _signing(secret: Secret) -> Secret:
    read_signing_key(secret.reveal())  # says what is wrong without the key
    return secret


def _once(secrets: tuple[Secret, ...]) -> tuple[Secret, ...]:
    first: dict[str, int] = {}
    for number, secret in enumerate(secrets):
        known = first.setdefault(secret.reveal().strip().rstrip("="), number)
        if known != number:
            raise ValueError(f"{known + 1} and {number + 1} are the same key: every signature would be there twice")
    return secrets


def _type(text: str) -> str:
    prefix = text.removesuffix("*")
    if text in EVENT_TYPES or (text.endswith(".*") and any(kind.startswith(prefix) for kind in EVENT_TYPES)):
        return text
    raise ValueError(f"{text!r} is no event type: there are {', '.join(EVENT_TYPES)}, and all of a kind by `.*`")


def _climbs(schedule: tuple[float, ...]) -> tuple[float, ...]:
    if list(schedule) != sorted(schedule):
        raise ValueError("no wait may be shorter than the one before it")
    return schedule


def _allow(entries: tuple[str, ...]) -> tuple[str, ...]:
    read_allow(entries)
    return entries


class Config(SinkOptions):
    """A webhook: signed HTTP calls to one URL, each event on its own, at least once under the same id."""

    kind: Literal["webhook"]
    url: HookUrl = Field(
        description="Where events are posted to. May hold a token, so path and query are never shown; "
        "`{env: NAME}` and `{file: PATH}` work too."
    )
    secrets: Annotated[tuple[Annotated[Secret, AfterValidator(_signing)], ...], AfterValidator(_once)] = Field(
        min_length=1,
        max_length=10,
        description="Keys to sign with (`whsec_…`, `whsk_…`; `poller webhook keygen` makes them). Every call carries one "
        "signature for each; two during a rotation.",
    )
    format: Format = Field(
        "cloudevents",
        description="`cloudevents`: the whole event as JSON. `cloudevents-binary`: its `data`, attributes as headers (which are "
        "not signed). `standard`: `{type, timestamp, data}`.",
    )
    events: tuple[Annotated[str, AfterValidator(_type)], ...] | None = Field(
        None, min_length=1, description="Only these event types; `telephony.call.*` is both of calls. All unless given."
    )
    sources: tuple[Name, ...] | None = Field(
        None, min_length=1, description="Only events of sources with these ids. All unless given."
    )
    directions: tuple[Direction, ...] | None = Field(
        None,
        min_length=1,
        description="Only calls in these directions; recordings have none and pass. All unless given.",
    )
    dispositions: tuple[Disposition, ...] | None = Field(
        None, min_length=1, description="Only calls that ended so; recordings pass. All unless given."
    )
    order: Literal["none", "per_key"] = Field(
        "none",
        description="`per_key`: an event waits until the earlier ones of its call are delivered or dead; other calls go on.",
    )
    concurrency: int = Field(4, ge=1, le=64, description="Calls at a time.")
    max_per_second: float | None = Field(None, gt=0, allow_inf_nan=False, description="Calls per second at most.")
    in_flight: Size = Field(8 << 20, ge=1, description="Bytes of events under way at most, unless one alone is larger.")
    timeout: PositiveDuration = Field(15.0, le=300, description="Longest time of one call, connecting included.")
    schedule: Annotated[tuple[PositiveDuration, ...], AfterValidator(_climbs)] = Field(
        SCHEDULE,
        min_length=1,
        description="Waits between the tries of an event. After the last one it is a dead letter.",
    )
    jitter: float = Field(
        0.2, ge=0, le=0.5, description="The part of each wait by which it may be shorter or longer, by chance."
    )
    longest_retry_after: PositiveDuration = Field(
        86_400.0, description="A receiver's Retry-After is waited in full, but never longer than this."
    )
    probe: PositiveDuration = Field(300.0, description="Longest wait between two tries at a webhook that is down.")
    allow: Annotated[tuple[str, ...], AfterValidator(_allow)] = Field(
        (),
        description="Networks (`10.1.0.0/16`), addresses and host names that may be reached although they are not public. "
        "Metadata addresses never are.",
    )
    allow_http: bool = Field(False, description="Whether `http://` will do: everybody on the way reads along.")
    tls: Tls = Tls()
    vendor: Literal["include", "omit"] = Field("omit", description="Whether events carry the vendor's raw record.")
    max_pending: Size | None = Field(
        1 << 30, description="Largest backlog; beyond it the oldest events become dead letters. Polling never waits."
    )

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.url.scheme == "http" and not self.allow_http:
            raise ValueError("url: is http, so everybody on the way reads along: write https, or set allow_http: true")
        refused = url_refusal(self.url.reveal(), self.allowed())
        if refused is not None:
            raise ValueError(f"url: {refused.message}")
        return self

    def allowed(self) -> Allow:
        """What `allow` opens."""
        return read_allow(self.allow)

    def doubts(self) -> list[str]:
        """What is allowed and yet hardly ever meant."""
        found = []
        if self.url.scheme == "http":
            found.append("url: is http: everybody on the way reads along")
        elif not self.tls.verify:
            found.append("tls.verify: is false: anybody may pose as this receiver")
        if any(network.prefixlen == 0 for network in self.allowed().networks):
            found.append("allow: opens every network but metadata addresses: name those that are meant")
        return found

    def keys(self) -> Sequence[SigningKey]:
        """The signing keys. Never show them."""
        return [read_signing_key(secret.reveal()) for secret in self.secrets]
