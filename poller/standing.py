"""How the sinks stand, and switching webhooks off and on: in a running daemon, and on a store that was opened because none runs."""

from collections import Counter

from msgspec import Struct

from poller.app_parts import App
from poller.errors import PollerError, Unknown
from poller.health import Condition
from poller.kinds import kind_of
from poller.one_by_one import gate
from poller.one_by_one.delivery import EachDelivery
from poller.operations import SinkStatus, Switched, WebhookStatus

BY_HAND = "disabled by hand"


class _Wait(Struct):
    """What waits for one sink, over all shards."""

    log: int = 0
    """Of the log, what is kept to be tried again not included."""
    kept: int = 0
    oldest: float | None = None
    next_retry: float | None = None
    next_error: str | None = None


# --- looking ---------------------------------------------------------------------------------------------------------


async def sinks(app: App, *, running: bool) -> list[SinkStatus]:
    """Configured ones and those that the store remembers."""
    dead = await _dead(app)
    known = {sink for sink, _ in await app.store.positions()}
    found = []
    for name in sorted(known | set(app.sinks)):
        options = app.settings.sinks.get(name)
        wait = await _wait(app, name)
        each = _deliveries(app, name)
        condition = await _condition(app, each[0], running=running) if each else None
        errors = (one.error for one in app.deliveries if one.sink.name == name)
        found.append(
            SinkStatus(
                sink=name,
                kind=kind_of(options) if options else None,
                configured=options is not None,
                pending=wait.log + wait.kept,
                retrying=wait.kept,
                oldest_pending=wait.oldest,
                dead_letters=dead[name],
                error=next((str(error) for error in errors if error is not None), None),
                state=condition.state if condition else None,
                since=condition.since or None if condition else None,
            )
        )
    return found


async def webhooks(app: App, name: str | None, *, running: bool) -> list[WebhookStatus]:
    """All that are configured, or one. Raises Unknown, and PollerError for a sink that is none."""
    if name is not None:
        _webhook(app, name)
    names = [sink for sink in app.sinks if _deliveries(app, sink) and name in {None, sink}]
    return [await _webhook_status(app, sink, running=running) for sink in sorted(names)]


async def _webhook_status(app: App, name: str, *, running: bool) -> WebhookStatus:
    delivery = _deliveries(app, name)[0]
    it = await _condition(app, delivery, running=running)
    wait = await _wait(app, name)
    heard_at, heard = delivery.gate.heard or (None, wait.next_error)
    return WebhookStatus(
        sink=name,
        url=getattr(delivery.sink, "place", ""),
        state=it.state,
        since=it.since or None,
        why=it.why or None,
        next_try=_next_try(it, wait, app.clock.now()),
        heard_at=heard_at,
        heard=heard,
        failures=delivery.gate.failures if running else None,
        waiting=wait.log,
        retrying=wait.kept,
        next_retry=wait.next_retry,
        oldest_pending=wait.oldest,
        dead_letters=(await _dead(app))[name],
    )


async def _dead(app: App) -> Counter[str]:
    """How many dead letters there are, by sink."""
    found = Counter[str]()
    for total in await app.store.letter_totals():
        found[total.sink] += total.letters
    return found


def _next_try(it: Condition, wait: _Wait, now: float) -> float | None:
    if it.state == "disabled" or not wait.log + wait.kept:
        return None
    due = now if wait.log else wait.next_retry
    if it.state == "down":
        due = it.probe_at if wait.next_retry is None else min(it.probe_at, wait.next_retry)
    return None if due is None else max(due, it.until)


async def _condition(app: App, delivery: EachDelivery, *, running: bool) -> Condition:
    """The daemon's own once it has begun; else as the store has it."""
    began = running and delivery.position is not None
    return delivery.health if began else await gate.condition_of(app.store, delivery.sink.name)


async def _wait(app: App, name: str) -> _Wait:
    wait, store = _Wait(), app.store
    positions, kept = await store.positions(), await store.retrying()
    for shard in app.shards:
        position = positions.get((name, shard.number))
        if position is None:
            continue
        behind = await store.backlog(shard.number, position.seq, name)
        oldest = behind.oldest
        if kept.get((name, shard.number)):
            first = await _add_kept(app, wait, name, shard.number)
            oldest = (await store.backlog(shard.number, min(first - 1, position.seq), name)).oldest
        # What is kept may lie behind the position; it is among `done` then.
        wait.log += max(0, behind.events - len(await store.done(name, shard.number)))
        wait.oldest = _least(wait.oldest, oldest)
    return wait


async def _add_kept(app: App, wait: _Wait, name: str, shard: int) -> int:
    """Returns the lowest number."""
    places = await app.store.places(name, shard)
    wait.kept += len(places)
    first = min((place for place in places if place.due is not None), key=lambda place: place.due or 0, default=None)
    if first is not None and (wait.next_retry is None or (first.due or 0) < wait.next_retry):
        wait.next_retry = first.due
        for retry in await app.store.retries(name, shard, [first.seq]):
            wait.next_error = retry.error or None
    return min((place.seq for place in places), default=1 << 62)


def _least(one: float | None, other: float | None) -> float | None:
    return min((at for at in (one, other) if at is not None), default=None)


# --- switching -------------------------------------------------------------------------------------------------------


async def switch(app: App, name: str, why: str | None, *, running: bool) -> Switched:
    """Enables a webhook, or disables it by hand for the reason `why`. Raises Unknown, PollerError, StoreFault."""
    delivery = _webhook(app, name)
    if running and delivery.position is None:
        raise PollerError(
            f"the daemon has not read yet how {name} stands: ask again in a moment; its log says what holds it up"
        )
    before = await _condition(app, delivery, running=running)
    said = None if why is None else ": ".join(filter(None, (BY_HAND, why.strip())))
    if not running:
        after = await gate.switch(app.store, name, why=said, now=app.clock.now())
    else:
        after = await (delivery.enable() if said is None else delivery.disable(said))
    return Switched(sink=name, before=before.state, state=after.state, since=after.since or None, why=after.why)


def _webhook(app: App, name: str) -> EachDelivery:
    if name not in app.sinks:
        there = [sink for sink in app.sinks if _deliveries(app, sink)]
        raise Unknown(f"there is no webhook {name} in the configuration; there are: {', '.join(there) or 'none'}")
    found = _deliveries(app, name)
    if not found:
        raise PollerError(
            f"sink {name} is no webhook, it is of kind {kind_of(app.settings.sinks[name])}: only webhooks have a state"
        )
    return found[0]


def _deliveries(app: App, name: str) -> list[EachDelivery]:
    return [one for one in app.deliveries if isinstance(one, EachDelivery) and one.sink.name == name]
