"""The keys of a webhook."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from poller.addresses import Allow, read_allow, url_refusal
from poller.metrics import EVENT_TYPES
from poller.model import Direction, Disposition
from poller.options import Between, Duration, Name, Secret, SinkOptions, Size, Tls
from poller.rules import Fault, known
from poller.signing import SigningKey, hmac_text, read_signing_key
from poller.sinks.webhook.hook_url import HookUrl

Format = Literal["cloudevents", "cloudevents-binary", "standard"]
SCHEDULE = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds: the schedule that Standard Webhooks gives as its example, about three days in all."""


def _signing(secret: Secret) -> Secret:
    if not secret.known:
        return Secret(hmac_text(hashlib.sha256(secret.reveal().encode()).digest()), secret.origin, known=False)
    read_signing_key(secret.reveal())  # says what is wrong without the key
    return secret


def _type(text: str) -> str:
    prefix = text.removesuffix("*")
    if text in EVENT_TYPES or (text.endswith(".*") and any(kind.startswith(prefix) for kind in EVENT_TYPES)):
        return text
    raise ValueError(f"{text!r} is no event type: there are {', '.join(EVENT_TYPES)}, and all of a kind by `.*`")


def _opens(entry: str) -> str:
    read_allow([entry])
    return entry


# --- rules between keys, and between the items of one ------------------------------------------------------------------


def _each_key_once(secrets: Sequence[Secret | None]) -> Iterator[Fault]:
    first: dict[str, int] = {}
    for number, secret in enumerate(secrets):
        if secret is None:
            continue
        earlier = first.setdefault(secret.reveal().strip().rstrip("="), number)
        if earlier != number:
            sentence = f"{earlier + 1} and {number + 1} are the same key: every signature would be there twice"
            yield ("secrets", number), sentence


def _climbs(schedule: Sequence[float | None]) -> Iterator[Fault]:
    waits = [wait for wait in schedule if wait is not None]
    if waits != sorted(waits):
        yield ("schedule",), "no wait may be shorter than the one before it"


def _encrypted(url: HookUrl, allow_http: bool) -> Iterator[Fault]:
    if url.scheme == "http" and not allow_http:
        yield ("url",), "is http, so everybody on the way reads along: write https, or set allow_http: true"


def _reachable(url: HookUrl, allow: Sequence[str | None]) -> Iterator[Fault]:
    """What is refused where an entry of `allow` is not well may be what that entry is to open."""
    entries = [entry for entry in allow if entry is not None]
    refused = url_refusal(url.reveal(), read_allow(entries))
    if refused is not None and (len(entries) == len(allow) or refused.reason in {"metadata", "url"}):
        yield ("url",), refused.message


def _of_use(url: HookUrl, tls: Tls) -> Iterator[Fault]:
    if url.scheme == "http" and known(tls).get("ca_file") is not None:
        yield ("tls", "ca_file"), "is of no use with http: write https in url, or remove it"


class Config(SinkOptions):
    """A webhook: signed HTTP calls to one URL, each event on its own, at least once under the same id."""

    rules = (_each_key_once, _climbs, _encrypted, _reachable, _of_use)

    kind: Literal["webhook"]
    url: HookUrl = Field(
        description="Where events are posted to. May hold a token, so path and query are never shown; "
        "`{env: NAME}` and `{file: PATH}` work too."
    )
    secrets: tuple[Annotated[Secret, AfterValidator(_signing)], ...] = Field(
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
        None,
        min_length=1,
        description="Only these event types; `telephony.call.*` is both of calls. All unless given, but for whole hours: they "
        "come where `windows` is true, or one of `telephony.window.*` stands here.",
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
    concurrency: Annotated[int, Between(1, 64)] = Field(4, description="Calls at a time.")
    max_per_second: Annotated[float, Between(0.001, 10_000)] | None = Field(
        None, description="Calls per second at most."
    )
    in_flight: Annotated[Size, Between("1KiB", "1GiB")] = Field(
        8 << 20, description="Bytes of events under way at most, unless one alone is larger."
    )
    timeout: Annotated[Duration, Between("10ms", "5m")] = Field(
        15.0, description="Longest time of one call, connecting included."
    )
    schedule: tuple[Annotated[Duration, Between("100ms", "30d")], ...] = Field(
        SCHEDULE,
        min_length=1,
        max_length=100,
        description="Waits between the tries of an event. After the last one it is a dead letter.",
    )
    jitter: Annotated[float, Between(0, 0.5)] = Field(
        0.2, description="The part of each wait by which it may be shorter or longer, by chance."
    )
    longest_retry_after: Annotated[Duration, Between("1s", "30d")] = Field(
        86_400.0, description="A receiver's Retry-After is waited in full, but never longer than this."
    )
    probe: Annotated[Duration, Between("100ms", "1d")] = Field(
        300.0, description="Longest wait between two tries at a webhook that is down, and up to a fifth more by chance."
    )
    allow: tuple[Annotated[str, AfterValidator(_opens)], ...] = Field(
        (),
        max_length=1000,
        description="Networks (`10.1.0.0/16`), addresses and host names that may be reached although they are not public. "
        "Metadata addresses never are.",
    )
    allow_http: bool = Field(False, description="Whether `http://` will do: everybody on the way reads along.")
    tls: Tls = Tls()
    vendor: Literal["include", "omit"] = Field(
        "omit", description="Whether events carry the vendor's raw record and prices."
    )
    max_pending: Annotated[Size, Between("1KiB", "65536GiB")] | None = Field(
        1 << 30, description="Largest backlog; beyond it the oldest events become dead letters. Polling never waits."
    )

    @property
    def asks_windows(self) -> bool:
        """By either key. `telephony.*` was all of calls and recordings before there were others, and stays so."""
        return self.windows or any(kind.startswith("telephony.window.") for kind in self.events or ())

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
