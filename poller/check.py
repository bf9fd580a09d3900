"""`poller check`: one real request per endpoint, and what an administrator wants to know about its answer. Writes to no store."""

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack

import msgspec
from msgspec import Struct, field

from poller.answer import Answer
from poller.clock import Clock, SystemClock
from poller.config import Settings
from poller.crosscheck import endpoints_of
from poller.errors import BadAnswer, ClockChange, ConfigError, Denied, NotTheApi, PollerError, Refused
from poller.hosts import Hosts
from poller.http import Vendor
from poller.kinds import kind_of, load_source_kind
from poller.metrics import Metrics
from poller.model import Ask, Page, Window
from poller.options import EndpointOptions, SourceOptions, show_duration
from poller.protocols import Endpoint, Login, Reading, Source

SKEW = 30.0
"""Seconds by which the clocks may differ without a word."""
OPTIONAL = {"revision", "partial", "late", "vendor", "connection_id", "call_id", "cdr_id", "interaction_id", "uniqueid"}
"""Fields of an event that not every vendor has."""


class Finding(Struct, kw_only=True):
    """What one request showed. Times are epoch seconds."""

    source: str
    endpoint: str
    ask: str = ""
    verdict: str = "ok"
    """`ok`, `warning` or `failed`."""
    begin: int = 0
    end: int = 0
    seconds: float = 0.0
    records: int = 0
    invalid: int = 0
    more_pages: bool = False
    newest: float | None = None
    oldest: float | None = None
    never_filled: list[str] = field(default_factory=list)
    """Fields of our events that no record of the answer could fill."""
    skew: float | None = None
    offset: int | None = None
    filter_honoured: bool | None = None
    """None where the records do not show it."""
    works_with: str | None = None
    """The setting of the endpoint that was found to work, where there are several."""
    error: str | None = None
    advice: list[str] = field(default_factory=list)

    def warn(self, sentence: str) -> None:
        """Advice that lowers the verdict."""
        self.advice.append(sentence)
        self.verdict = "warning" if self.verdict == "ok" else self.verdict


class Wire(Struct, frozen=True):
    """What the vendors of one check share."""

    clock: Clock
    metrics: Metrics
    hosts: Hosts

    def vendor(self, name: str, options: SourceOptions, login: Login | None) -> Vendor:
        """One way to a vendor."""
        return Vendor(name, options, login, clock=self.clock, metrics=self.metrics, hosts=self.hosts)


async def check(settings: Settings, names: Sequence[str], *, since: float, clock: Clock | None = None) -> list[Finding]:
    """Asks each endpoint of the named sources (all when none is named) for its last `since` seconds. Raises ConfigError for a wrong name."""
    clock = clock or SystemClock()
    if wrong := [name for name in names if name not in settings.sources]:
        raise ConfigError(f"there is no source {wrong[0]}; the configuration has {', '.join(settings.sources)}")
    found: list[Finding] = []
    async with AsyncExitStack() as stack:
        hosts, metrics = Hosts(clock), Metrics()
        for name, options in settings.sources.items():
            if names and name not in names:
                continue
            source = load_source_kind(kind_of(options)).build(name, options)
            vendor, notes = await _sign_in(stack, name, options, source, Wire(clock, metrics, hosts))
            checked = await _check_source(name, source, options, vendor, since, clock)
            for finding in checked:
                for note in notes:
                    finding.warn(note)
            found += checked
    return found


async def _sign_in(
    stack: AsyncExitStack, name: str, options: SourceOptions, source: Source, wire: Wire
) -> tuple[Vendor, list[str]]:
    """The vendor, logged in where that is possible. Where nothing answers at the configured place, others are tried."""
    first = await stack.enter_async_context(wire.vendor(name, options, source.login))
    try:
        await first.sign_in()
    except (Refused, NotTheApi, BadAnswer):
        others: Mapping[str, Login] = getattr(source, "logins", dict)()
    except PollerError:
        return first, []  # each endpoint's request will say it
    else:
        return first, []
    for setting, login in others.items():
        vendor = await stack.enter_async_context(wire.vendor(name, options, login))
        with contextlib.suppress(PollerError):
            await vendor.sign_in()
            return vendor, [f"the login is not where the configuration says: write `{setting}`"]
    return first, []


async def _check_source(
    name: str, source: Source, options: SourceOptions, vendor: Vendor, since: float, clock: Clock
) -> list[Finding]:
    found = []
    for key, endpoint_options in endpoints_of(options).items():
        endpoint = source.endpoints[key]
        variants = _variants(endpoint)
        configured = next(iter(variants))
        for ask in endpoint.asks:
            finding = Finding(source=name, endpoint=endpoint.name, ask=ask.key)
            await _probe(vendor, variants, ask, endpoint_options, finding, since, clock, configured)
            found.append(finding)
            if finding.works_with:  # the vendor logs every wrong one: what works is asked for first from now on
                variants = dict(sorted(variants.items(), key=lambda item: item[0] != finding.works_with))
    return found


async def _probe(
    vendor: Vendor,
    variants: Mapping[str, Endpoint],
    ask: Ask,
    options: EndpointOptions,
    finding: Finding,
    since: float,
    clock: Clock,
    configured: str,
) -> None:
    """The endpoint in its first variant, then in the others where the vendor refuses it."""
    for setting, variant in variants.items():
        try:
            await _ask(vendor, variant, ask, options, finding, since, clock)
        except (Denied, Refused) as error:
            finding.verdict, finding.error = "failed", finding.error or str(error)
            continue
        except PollerError as error:
            finding.verdict, finding.error = "failed", str(error)
            finding.advice.append(_advice(error))
            return
        if len(variants) > 1:
            finding.works_with = setting
        finding.error, finding.verdict = None, "ok" if finding.verdict == "failed" else finding.verdict
        if setting != configured:
            finding.warn(f"refused as configured, works with `{setting}`: write that into the configuration")
        return
    finding.advice.append(
        "the vendor refuses the credential or the request in every variant: check the secret, the user's rights and `version`"
        if len(variants) > 1
        else "the vendor refuses it: check base_url, the credential, the user's rights and the vendor's API settings"
    )


def _variants(endpoint: Endpoint) -> dict[str, Endpoint]:
    """An endpoint that the vendor's documents describe in several ways offers them itself, the configured one first."""
    offered: Mapping[str, Endpoint] | None = getattr(endpoint, "variants", dict)()
    return dict(offered) if offered else {"": endpoint}


async def _ask(
    vendor: Vendor, endpoint: Endpoint, ask: Ask, options: EndpointOptions, finding: Finding, since: float, clock: Clock
) -> None:
    window = _window(endpoint, options, since, clock)
    finding.begin, finding.end = window.begin, window.end
    began = time.monotonic()
    reading = endpoint.reading(ask, window, None)
    try:
        async with vendor.fetch(
            endpoint.request(ask, window, None),
            timeout=options.timeout,
            max_body=options.max_body,
            endpoint=endpoint.name,
        ) as answer:
            records, page = await _read(reading, answer)
        finding.skew = answer.skew
    finally:
        finding.seconds, finding.offset = time.monotonic() - began, reading.offset
    _describe(endpoint, window, records, page, finding)


def _window(endpoint: Endpoint, options: EndpointOptions, since: float, clock: Clock) -> Window:
    limits = endpoint.limits
    end = int(clock.now() - options.settle)
    end -= end % limits.resolution
    span = max(limits.min_span_unknown_zone, min(int(since), limits.max_span))
    begin = end - span
    return Window(begin - begin % limits.resolution, end)


async def _read(reading: Reading, answer: Answer) -> tuple[list[bytes], Page]:
    records: list[bytes] = []
    async for data in answer.chunks():
        records += reading.feed(data)
    page = reading.close()
    return records + page.records, page


def _describe(endpoint: Endpoint, window: Window, records: list[bytes], page: Page, finding: Finding) -> None:
    finding.records, finding.more_pages = len(records), page.next is not None or page.cut
    filled: set[str] = set()
    names: list[str] = []
    own: list[float] = []
    times: list[float] = []
    for record in records:
        try:
            keys, normal = endpoint.keys(record, finding.offset), endpoint.normalise(record, finding.offset)
        except Exception as error:  # noqa: BLE001 whatever one record does, the report goes on
            finding.invalid += 1
            said = str(error) if isinstance(error, PollerError) else f"a defect of this program: {error!r}"
            finding.advice = [f"a record cannot be understood: {said}"]
            continue
        data = _fields(normal.data)
        names = list(data)
        filled |= {name for name, value in data.items() if value not in (None, "", [], "unknown")}
        own += [keys.own] if keys.own is not None else []
        times += [normal.time.timestamp()] if normal.time is not None else []
    finding.never_filled = [name for name in names if name not in filled | OPTIONAL]
    shown = own or times
    finding.newest, finding.oldest = max(shown, default=None), min(shown, default=None)
    if own and endpoint.limits.shows_own_time:
        finding.filter_honoured = _honoured(endpoint, window, own)
    _judge(finding, page.suspicions)


def _fields(data: Struct) -> dict[str, object]:
    """An event's data by field; a party counts by its number."""
    found = msgspec.structs.asdict(data)
    return {name.rstrip("_"): getattr(value, "number", value) for name, value in found.items()}


def _honoured(endpoint: Endpoint, window: Window, own: Iterable[float]) -> bool:
    limits = endpoint.limits
    room = limits.resolution + (3_600 if limits.zone or limits.learns_offset else 0)
    return all(window.begin - room <= at <= window.end + room for at in own)


def _judge(finding: Finding, suspicions: Sequence[str]) -> None:
    if finding.invalid:
        finding.verdict = "warning"
    if not finding.records:
        finding.warn("no records in this period: ask for a longer one with --since to see some")
    if finding.filter_honoured is False:
        finding.warn("records outside the period came back: the vendor filters by another time, or not at all")
    if finding.skew is not None and abs(finding.skew) > SKEW:
        finding.warn(
            f"the vendor's clock differs from ours by {show_duration(round(finding.skew))}: passes follow the vendor's"
        )
    for suspicion in suspicions:
        finding.warn(f"the answer is suspicious: {suspicion}")


def _advice(error: PollerError) -> str:
    if isinstance(error, ClockChange):
        return "the period spans a clock change of the vendor: ask for a shorter one with --since"
    if isinstance(error, BadAnswer):
        return "the answer cannot be read: a shorter period (--since) or a longer timeout may help; base_url may point elsewhere"
    return "nothing was read; the sentence says what failed"
