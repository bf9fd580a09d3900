"""The composition root: opens everything on one exit stack, runs both lines in one task group, and stops them in order."""

import math
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import anyio
from anyio.abc import TaskGroup, TaskStatus

from poller import schedule
from poller.admin import serve_admin
from poller.app_parts import AnyDelivery, App
from poller.clock import Clock, SystemClock
from poller.config import Settings
from poller.crosscheck import endpoints_of, source_id
from poller.deliver import Delivery
from poller.ending import SIGNALS
from poller.errors import BadAnswer, PollerError
from poller.hosts import Hosts
from poller.housekeeping import Housekeeping
from poller.http import Vendor
from poller.identity import shard_of
from poller.keep import Keeper
from poller.kinds import kind_of, load_sink_kind, load_source_kind, load_store_kind
from poller.log import SharedOutage, get_logger, set_up
from poller.metrics import Metrics
from poller.one_by_one.delivery import EachDelivery
from poller.one_by_one.outlet import Outlet
from poller.one_by_one.turns import Turns
from poller.operate import Work
from poller.options import EndpointOptions, SourceOptions
from poller.protocols import Sink, Source
from poller.redact import Redactor, secrets_of
from poller.room import waiting
from poller.route import AnySink, Rewound, Route
from poller.server import serve
from poller.shard import Shard
from poller.track import Setup, Track

ONCE_TRIES = 3
"""`run --once`: how often a failed poll is tried again."""
ONCE_SHORTER = 40
"""And how often while the windows still become shorter."""
DRAIN_PATIENCE = 60.0
"""`run --once`: seconds without a delivery after which what is left is left."""
CLOSING = 5.0
"""Seconds of the grace that are kept for closing."""
SLACK = 5.0
"""Seconds after the grace in which a slow machine may still close in order."""

_log = get_logger()


@asynccontextmanager
async def opened(
    settings: Settings, *, clock: Clock | None = None, rnd: random.Random | None = None, looking: bool = False
) -> AsyncIterator[App]:
    """Opens store, sinks and sources in this order and closes them the other way round. Raises StoreRefused and the like.

    `looking`: nothing will be written, so the store is neither locked, created nor migrated, and a daemon may start beside it.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        kind = load_store_kind(kind_of(settings.store))
        store = await (kind.open_read if looking else kind.open_store)(settings.store)
        stack.push_async_callback(store.close)
        outage = SharedOutage(_log.bind(store=store.kind), clock)
        shards = [Shard(store, number, outage) for number in range(store.shards)]
        for shard in () if looking else shards:  # to believe is to write: an epoch is taken
            await shard.believe()
        app = App(settings, store, clock, Metrics(), rnd or random.Random(), shards)  # noqa: S311 jitter is no secret
        app.metrics.shards.set(store.shards)
        for name, sink in settings.sinks.items():
            app.sinks[name] = load_sink_kind(kind_of(sink)).build(name, sink, shards=store.shards)
            app.metrics.declare_sink(name)
            stack.push_async_callback(app.sinks[name].close)
        hosts = Hosts(clock)
        for name, source in settings.sources.items():
            await _open_source(app, stack, hosts, name, source)
        app.started_at = clock.now()
        turns = Turns(clock.mono)
        for opened_sink in app.sinks.values():
            app.deliveries += _deliveries(app, opened_sink, turns)
        yield app


async def _open_source(app: App, stack: AsyncExitStack, hosts: Hosts, name: str, options: SourceOptions) -> None:
    source = app.sources[name] = load_source_kind(kind_of(options)).build(name, options)
    vendor = Vendor(name, options, source.login, clock=app.clock, metrics=app.metrics, hosts=hosts)
    app.vendors[name] = await stack.enter_async_context(vendor)
    identifier = source_id(name, options)
    setup = Setup(
        name=name,
        id=identifier,
        vendor=vendor,
        shard=app.shards[shard_of(identifier, app.store.shards)],
        clock=app.clock,
        metrics=app.metrics,
        rnd=app.rnd,
        seen_ttl=int(app.settings.seen_ttl),
    )
    if not options.tls.verify:
        _log.warning(
            "certificates are not checked", source=name, detail="tls.verify is false: anybody may pose as this system"
        )
    dead = await app.store.dead_record_ids(identifier)
    for key, endpoint_options in endpoints_of(options).items():
        app.metrics.declare(name, source.endpoints[key].name)
        app.tracks += _tracks(setup, source, key, endpoint_options, mentions=options.recordings_from_calls, dead=dead)


def _tracks(
    setup: Setup, source: Source, key: str, options: EndpointOptions, *, mentions: bool, dead: set[str]
) -> list[Track]:
    endpoint = source.endpoints[key]
    tracks = []
    for ask in endpoint.asks:
        keeper = Keeper(
            setup.id, endpoint, options, setup.shard,
            metrics=setup.metrics, clock=setup.clock, mentions=mentions, name=setup.name,
        )  # fmt: skip
        keeper.knows_dead(dead)
        tracks.append(Track(setup, endpoint, options, ask, keeper))
    return tracks


def _deliveries(app: App, sink: AnySink, turns: Turns) -> Sequence[AnyDelivery]:
    """The ways out by what the sink offers: a lane for each shard that takes whole segments, or attempts, for all shards together."""
    options = app.settings.sinks[sink.name]
    if hasattr(sink, "lane"):
        return [_with_lane(app, shard, cast(Sink, sink)) for shard in app.shards]
    outlet = Outlet(app.store, sink, options, app.clock, app.rnd, app.metrics, turns)
    return [EachDelivery(outlet, app.shards)]


def _with_lane(app: App, shard: Shard, sink: Sink) -> Delivery:
    others = [name for name in app.sinks if name != sink.name]

    def rewind(published_at: float) -> Rewound:
        found = {track.key: track.rewound(published_at) for track in app.tracks if track.setup.shard is shard}
        begin = min((begin for begin, _ in found.values()), default=published_at)
        return Rewound(begin, {key: data for key, (_, data) in found.items()})

    options = app.settings.sinks[sink.name]
    return Delivery(Route(shard, sink, options, app.clock, app.rnd, app.metrics, others, rewind))


# --- the daemon ------------------------------------------------------------------------------------------------------


async def run(
    settings: Settings, *, once: bool = False, clock: Clock | None = None, bound: Callable[[float], None] | None = None
) -> int:
    """The daemon until a signal, or one pass of everything. Returns the exit code; raises PollerError where it cannot start.

    `bound` is told at the first signal after how many seconds everything has to be over.
    """
    set_up(form=settings.log.format, level=settings.log.level, redact=Redactor(*secrets_of(settings)))
    stopping, everything, code = (
        anyio.Event(),
        anyio.CancelScope(),
        1,
    )  # what remains when a second signal ends it at once

    def stop() -> None:
        if bound is not None:
            bound(max(settings.shutdown_grace, CLOSING) + SLACK)
        stopping.set()

    async with _signalled(stop, everything), opened(settings, clock=clock) as app:
        with everything:
            code = await _running(app, stopping, once=once)
    return code


async def _running(app: App, stopping: anyio.Event, *, once: bool) -> int:
    settings = app.settings
    async with anyio.create_task_group() as outer:
        port = await outer.start(_serve, app, name="server")
        await outer.start(serve_admin, Work(app, running=True), settings.admin.socket, name="admin")
        outer.start_soon(Housekeeping(app).run, name="housekeeping")
        _log.info("listening", metrics_port=port, admin_socket=str(settings.admin.socket))
        code = await _both_lines(app, stopping, once=once)
        outer.cancel_scope.cancel()
    return code


async def _both_lines(app: App, stopping: anyio.Event, *, once: bool) -> int:
    """Starts the way out, then the way in; stops the way in first, then drains the way out within the grace."""
    left: list[Track] = []
    async with anyio.create_task_group() as out:
        for delivery in app.deliveries:
            await out.start(delivery.run, name=f"deliver {delivery.sink.name}")
        async with anyio.create_task_group() as polls:
            if once:
                polls.start_soon(_cancel_when, stopping, polls.cancel_scope, name="stop")
                left = await _once(app)
                _say_left(left)
            else:
                _start_polls(app, polls)
                await stopping.wait()
            polls.cancel_scope.cancel()
        _log.info("draining", grace_seconds=app.settings.shutdown_grace)
        drained = await _drain(app, patient=once and not stopping.is_set())
        out.cancel_scope.cancel()
    await _say_stopped(app)
    return 1 if once and (left or not drained) else 0


def _start_polls(app: App, polls: TaskGroup) -> None:
    for track in app.tracks:
        name = f"poll {track.setup.name} {track.endpoint.name} {track.ask.key}"
        polls.start_soon(schedule.keep_polling, track, name=name)
    _log.info("running", sources=list(app.sources), tracks=len(app.tracks), sinks=list(app.sinks))


async def _cancel_when(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _say_stopped(app: App) -> None:
    """With what is left, as the store has it: a sink that could not be reached has a position too."""
    numbers = [shard.number for shard in app.shards]
    waits = [await waiting(app.store, numbers, name) for name in app.sinks]
    _log.info("stopped", pending=sum(one.events for one in waits))


async def _serve(app: App, *, task_status: TaskStatus[int]) -> None:
    """Health and metrics; ready as soon as it answers, since the configuration and the store come first."""

    def ready() -> Mapping[str, bool]:
        return {"configuration": True, "store": True}

    await serve(app.settings.server.listen, app.metrics, ready, clock=app.clock, task_status=task_status)


@asynccontextmanager
async def _signalled(stop: Callable[[], None], everything: anyio.CancelScope) -> AsyncIterator[None]:
    """The first SIGTERM or SIGINT stops in order, the second at once; what is being closed is closed."""

    async def watch(*, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(*SIGNALS) as signals:
            task_status.started()
            _log.info("stopping", signal=(await anext(signals)).name)
            stop()
            async for number in signals:
                _log.warning("stopping at once", signal=number.name)
                everything.cancel()

    async with anyio.create_task_group() as tasks:
        await tasks.start(watch, name="signals")
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()


async def _drain(app: App, *, patient: bool) -> bool:
    """Waits until every sink has everything: as long as deliveries go on in `patient` mode, else within the grace."""
    grace = max(1.0, app.settings.shutdown_grace - CLOSING)
    with anyio.move_on_after(math.inf if patient else grace):
        for delivery in app.deliveries:
            await _caught_up(delivery, DRAIN_PATIENCE if patient else 0.0)
    return all(delivery.pending == 0 for delivery in app.deliveries)


async def _caught_up(delivery: AnyDelivery, patience: float) -> None:
    """Returns when the sink has everything that can be had soon, or when it has taken nothing for DRAIN_PATIENCE."""
    while True:
        before = _progress(delivery)
        with anyio.move_on_after(DRAIN_PATIENCE):
            await delivery.caught_up(patience)
            return
        if _progress(delivery) == before:
            return


def _progress(delivery: AnyDelivery) -> object:
    """Not the same once something was delivered."""
    return delivery.positions if isinstance(delivery, EachDelivery) else delivery.position, delivery.pending


# --- once ------------------------------------------------------------------------------------------------------------


async def _once(app: App) -> list[Track]:
    """One pass of every rung of every endpoint; those that could not be finished."""
    failed: list[Track] = []

    async def one(track: Track) -> None:
        if await _to_the_end(track) is not None:
            failed.append(track)

    async with anyio.create_task_group() as passes:
        for track in app.tracks:
            passes.start_soon(one, track)
    return failed


def _say_left(tracks: list[Track]) -> None:
    for track in tracks:
        reason = track.last_error.reason if track.last_error else None
        _log.error(
            "not read to the end",
            source=track.setup.name,
            endpoint=track.endpoint.name,
            ask=track.ask.key,
            reason=reason,
        )


async def _to_the_end(track: Track) -> PollerError | None:
    shorter, tries = 0, 0
    while True:
        error = await schedule.poll_once(track, until=None, force=True)
        if error is None:
            return None
        shorter, tries = (shorter + 1, tries) if isinstance(error, BadAnswer) else (shorter, tries + 1)
        if shorter > ONCE_SHORTER or tries > ONCE_TRIES:
            return error
        await track.setup.clock.sleep(min(schedule.wait_after(track, error), 5.0))
