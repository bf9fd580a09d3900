"""The composition root: opens everything on one exit stack, runs both lines of each shard, and stops them in order."""

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
from anyio.abc import TaskGroup, TaskStatus

from poller.admin import serve_admin
from poller.app_parts import App
from poller.clock import Clock, SystemClock
from poller.config import Settings
from poller.ending import SIGNALS
from poller.errands import keep_doing
from poller.errors import Lost, PollerError
from poller.hosts import Hosts
from poller.housekeeping import Housekeeping
from poller.kinds import kind_of, load_sink_kind, load_store_kind
from poller.leases.alone import Alone, leasing_of
from poller.leases.replica import Replica
from poller.leases.visit import Visit, Visitor
from poller.log import SharedOutage, get_logger, set_up
from poller.marks import refuse_marked
from poller.metrics import Metrics
from poller.one_by_one.switch import keep_following
from poller.one_by_one.turns import Turns
from poller.operate import Work
from poller.parts import one_by_one, opened_part
from poller.redact import Redactor, secrets_of
from poller.room import waiting
from poller.server import serve
from poller.shard import Nobody, Shard
from poller.shift import CLOSING, Shifts
from poller.until import cancel_when

OPENING = 10.0
"""Seconds for which the first share of the shards may take to open before commands are answered all the same."""

SLACK = 5.0
"""Seconds after the grace in which a slow machine may still close in order."""

_log = get_logger()


@asynccontextmanager
async def opened(settings: Settings, *, clock: Clock | None = None, looking: bool = False) -> AsyncIterator[App]:
    """Opens store, sinks and the shards that no replica works on. Raises StoreRefused and the like.

    `looking`: nothing will be written, so the store is neither locked, created nor migrated, no shard is taken, and a daemon
    may start beside it.
    """
    async with AsyncExitStack() as stack:
        app = await _opened(stack, settings, clock, looking=looking)
        visit = Visit(app.leasing)
        stack.push_async_callback(visit.end)
        for shard in list(app.shards):
            part = await stack.enter_async_context(
                opened_part(app, shard if looking else await _taken(app, shard, visit))
            )
            for each in app.each:
                await each.add(part.shard)
        yield app


async def _taken(app: App, shard: Shard, visit: Visit) -> Shard:
    """To believe is to write: an epoch is taken. What a replica works on stays what it is."""
    taken = Shard(app.store, shard.number, app.outage, Visitor(visit, shard.number))
    try:
        await taken.believe()
    except Lost:
        return shard
    return taken


async def _opened(stack: AsyncExitStack, settings: Settings, clock: Clock | None, *, looking: bool) -> App:
    """Store and sinks, in this order; they are closed the other way round."""
    clock = clock or SystemClock()
    kind = load_store_kind(kind_of(settings.store))
    store = await (kind.open_read if looking else kind.open_store)(settings.store)
    stack.push_async_callback(store.close)
    if not looking:
        await refuse_marked(store)
    metrics = Metrics()
    outage = SharedOutage(_log.bind(store=store.kind), clock, lambda lasts: metrics.store_away.set(float(lasts)))
    app = App(
        settings, store, clock, metrics, random.Random(),  # noqa: S311 jitter is no secret
        [Shard(store, number, outage, Nobody(number)) for number in range(store.shards)],
        outage, leasing_of(store), Hosts(clock), Turns(clock.mono),
    )  # fmt: skip
    app.metrics.shards.set(store.shards)
    app.metrics.shards_owned.set(0)
    app.metrics.store_away.set(0)
    for name, sink in settings.sinks.items():
        app.sinks[name] = load_sink_kind(kind_of(sink)).build(name, sink, shards=store.shards)
        app.metrics.declare_sink(name)
        stack.push_async_callback(app.sinks[name].close)
    app.deliveries += one_by_one(app)
    app.started_at = clock.now()
    return app


# --- the daemon ------------------------------------------------------------------------------------------------------


async def run(
    settings: Settings, *, once: bool = False, clock: Clock | None = None, bound: Callable[[float], None] | None = None
) -> int:
    """The daemon until a signal, or one pass of everything. Returns the exit code; raises PollerError where it cannot start.

    `bound` is told at the first signal after how many seconds everything has to be over.
    """
    set_up(form=settings.log.format, level=settings.log.level, redact=Redactor(*secrets_of(settings)))
    stopping, everything = anyio.Event(), anyio.CancelScope()
    code = 1  # what remains when a second signal ends everything at once

    def stop() -> None:
        if bound is not None:
            bound(max(settings.shutdown_grace, CLOSING) + SLACK)
        stopping.set()

    async with _signalled(stop, everything), AsyncExitStack() as stack:
        app = await _opened(stack, settings, clock, looking=False)
        with everything:
            code = await _running(app, stopping, once=once)
    return code


async def _running(app: App, stopping: anyio.Event, *, once: bool) -> int:
    async with anyio.create_task_group() as outer:
        port = await outer.start(_serve, app, name="server")
        code = await _both_lines(app, stopping, outer, port, once=once)
        outer.cancel_scope.cancel()
    return code


async def _both_lines(app: App, stopping: anyio.Event, outer: TaskGroup, port: int, *, once: bool) -> int:
    """Works on this process's share of the shards until a signal, or until each is read and delivered once."""
    replica = Replica(app.leasing, app.store.shards, clock=app.clock, outage=app.outage)
    shifts = Shifts(app, stopping, once=once, alone=isinstance(app.leasing, Alone))
    async with anyio.create_task_group() as tasks:
        for each in app.each:
            await outer.start(each.run, name=f"deliver {each.sink.name}")
        tasks.start_soon(replica.run, shifts.work, name="replica")
        async with anyio.create_task_group() as until:
            until.start_soon(cancel_when, stopping, until.cancel_scope, name="stop")
            with anyio.move_on_after(OPENING):
                await shifts.all_open(replica)
            work = Work(app, running=True)
            await _serve_admin(app, work, outer)
            housekeeping = Housekeeping(app)
            outer.start_soon(housekeeping.run, name="housekeeping")
            outer.start_soon(housekeeping.close_connections, name="connections")
            if not isinstance(app.leasing, Alone):
                outer.start_soon(_follow_switches, app, replica, name="switches")
                outer.start_soon(keep_doing, app, work, replica.news.asked, name="errands")
            _log.info("listening", metrics_port=port, admin_socket=str(app.settings.admin.socket))
            await (shifts.all_rest(replica) if once else stopping.wait())
            until.cancel_scope.cancel()
        _log.info("draining", grace_seconds=app.settings.shutdown_grace)
        replica.leave()
    await _say_stopped(app, shifts.worked)
    return 1 if once and (shifts.left or not shifts.drained) else 0


async def _serve_admin(app: App, work: Work, outer: TaskGroup) -> None:
    """The socket of the command line, and the status page where one is configured."""
    admin = app.settings.admin
    await outer.start(serve_admin, work, admin.socket, name="admin")
    if admin.listen is not None and admin.token is not None:
        from poller.page import serve_page  # noqa: PLC0415 most daemons show none, and its templates take memory

        port = await outer.start(serve_page, work, admin.listen, admin.token.reveal(), app.clock, name="page")
        _log.info("status page", port=port)


async def _follow_switches(app: App, replica: Replica) -> None:
    await keep_following(lambda: app.each, app.outage, replica.news.switched)


async def _say_stopped(app: App, worked: set[int]) -> None:
    """With what is left, as the store has it: a sink that could not be reached has a position too."""
    try:
        waits = [await waiting(app.store, sorted(worked), name) for name in app.sinks]
    except PollerError as error:
        _log.warning("stopped", pending=None, error=str(error))
    else:
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
