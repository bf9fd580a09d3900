"""Opens what belongs to one shard: its sources' tracks, and its way to each sink."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

from poller.app_parts import App, Part
from poller.crosscheck import endpoints_of, source_id
from poller.deliver import Delivery
from poller.hours import Book
from poller.http import IDLE, Vendor
from poller.identity import shard_of
from poller.keep import Keeper
from poller.kinds import kind_of, load_source_kind
from poller.log import get_logger
from poller.one_by_one.delivery import EachDelivery
from poller.one_by_one.outlet import Outlet
from poller.options import EndpointOptions, SourceOptions
from poller.protocols import Sink, Source
from poller.route import Rewound, Route
from poller.shard import Shard
from poller.track import Setup, Track

_log = get_logger()


@asynccontextmanager
async def opened_part(app: App, shard: Shard) -> AsyncIterator[Part]:
    """What belongs to the shard is among the app's while this is open. Raises StoreFault."""
    part = Part(shard)
    async with AsyncExitStack() as stack:
        for name, options in sources_of(app, shard.number):
            await _open_source(app, stack, part, name, options)
        part.lanes = [_with_lane(app, part, cast(Sink, sink)) for sink in app.sinks.values() if hasattr(sink, "lane")]
        app.add(part)
        try:
            yield part
        finally:
            app.remove(part)
            _forget_claims(app, part)


def sources_of(app: App, shard: int) -> Iterator[tuple[str, SourceOptions]]:
    """The configured sources of a shard, by name."""
    for name, options in app.settings.sources.items():
        if shard_of(source_id(name, options), app.store.shards) == shard:
            yield name, options


async def _open_source(app: App, stack: AsyncExitStack, part: Part, name: str, options: SourceOptions) -> None:
    source = load_source_kind(kind_of(options)).build(name, options)
    endpoints = endpoints_of(options)
    vendor = Vendor(
        name, options, source.login, clock=app.clock, metrics=app.metrics, hosts=app.hosts,
        seldom=min(each.interval for each in endpoints.values()) > IDLE,
    )  # fmt: skip
    setup = Setup(
        name=name,
        id=source_id(name, options),
        vendor=await stack.enter_async_context(vendor),
        shard=part.shard,
        clock=app.clock,
        metrics=app.metrics,
        rnd=app.rnd,
        seen_ttl=int(app.settings.seen_ttl),
        told=told_sinks(app),
    )
    if not options.tls.verify:
        _log.warning(
            "certificates are not checked", source=name, detail="tls.verify is false: anybody may pose as this system"
        )
    dead = await app.store.dead_record_ids(setup.id)
    for key, endpoint_options in endpoints.items():
        app.metrics.declare(name, source.endpoints[key].name)
        part.tracks += _tracks(setup, source, key, endpoint_options, mentions=options.recordings_from_calls, dead=dead)


def _tracks(
    setup: Setup, source: Source, key: str, options: EndpointOptions, *, mentions: bool, dead: set[str]
) -> list[Track]:
    endpoint = source.endpoints[key]
    book = Book(setup.id, endpoint, setup.told) if setup.told else None
    tracks = []
    for ask in endpoint.asks:
        keeper = Keeper(
            setup.id, endpoint, options, setup.shard,
            metrics=setup.metrics, clock=setup.clock, mentions=mentions, name=setup.name,
            book=book,
        )  # fmt: skip
        keeper.knows_dead(dead)
        tracks.append(Track(setup, endpoint, options, ask, keeper))
    return tracks


def _with_lane(app: App, part: Part, sink: Sink) -> Delivery:
    others = [name for name in app.sinks if name != sink.name]

    def rewind(published_at: float) -> Rewound:
        found = {track.key: track.rewound(published_at) for track in part.tracks}
        begin = min((begin for begin, _ in found.values()), default=published_at)
        return Rewound(begin, {key: data for key, (_, data) in found.items()})

    options = app.settings.sinks[sink.name]
    unsettled = [name for name in others if not getattr(app.sinks[name], "keeps_progress", False)]
    told = [name for name in told_sinks(app) if name != sink.name]
    return Delivery(Route(part.shard, sink, options, app.clock, app.rnd, app.metrics, others, rewind, told, unsettled))


def told_sinks(app: App) -> tuple[str, ...]:
    """The sinks that ask for whole hours."""
    return tuple(name for name in app.sinks if app.settings.sinks[name].asks_windows)


def one_by_one(app: App) -> list[EachDelivery]:
    """For each sink that takes events one by one, whatever shards there will be."""
    return [
        EachDelivery(Outlet(app.store, sink, app.settings.sinks[name], app.clock, app.rnd, app.metrics, app.turns))
        for name, sink in app.sinks.items()
        if not hasattr(sink, "lane")
    ]


def _forget_claims(app: App, part: Part) -> None:
    """What others claim from now on is theirs to show."""
    for name, endpoint in {(track.setup.name, track.endpoint.name) for track in part.tracks}:
        app.metrics.forget(name, endpoint)
    for name in {track.setup.name for track in part.tracks}:
        app.metrics.forget(name, "login")
        app.metrics.clock_skew.forget(name)
    for lane in part.lanes:
        app.metrics.forget_pending(lane.sink.name, part.shard.number)
