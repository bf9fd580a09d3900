"""How the sinks stand, and switching webhooks off and on: in a running daemon, and on a store that was opened because none runs."""

from collections import Counter

from poller.app_parts import App
from poller.errors import PollerError, Unknown
from poller.health import Condition
from poller.kinds import kind_of
from poller.one_by_one import gate
from poller.one_by_one.delivery import EachDelivery
from poller.operations import SinkStatus, Switched, WebhookStatus
from poller.room import Waits, waiting

BY_HAND = "disabled by hand"


# --- looking ---------------------------------------------------------------------------------------------------------


async def sinks(app: App, *, running: bool) -> list[SinkStatus]:
    """Configured ones and those that the store remembers."""
    dead = await _dead(app)
    known = {sink for sink, _ in await app.store.positions()}
    earlier = {options.renamed_from for options in app.settings.sinks.values()} - set(app.sinks)
    found = []
    for name in sorted(known | set(app.sinks)):
        if name in earlier and not dead[name]:
            continue  # another sink goes on with all of it
        options = app.settings.sinks.get(name)
        wait = Waits() if name in earlier else await _wait(app, name)
        each = _delivery(app, name)
        condition = await _condition(app, each, running=running) if each else None
        errors = (one.error for one in app.deliveries if one.sink.name == name)
        found.append(
            SinkStatus(
                sink=name,
                kind=kind_of(options) if options else None,
                configured=options is not None,
                pending=wait.events,
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
    _check_known(app, running=running)
    names = [sink for sink in app.sinks if _delivery(app, sink) and name in {None, sink}]
    return [await _webhook_status(app, sink, running=running) for sink in sorted(names)]


async def _webhook_status(app: App, name: str, *, running: bool) -> WebhookStatus:
    delivery = _webhook(app, name)
    it = await _condition(app, delivery, running=running)
    wait = await _wait(app, name)
    heard_at, heard = delivery.gate.heard or (None, await _last_error(app, name, wait))
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
        next_retry=wait.next[0] if wait.next else None,
        oldest_pending=wait.oldest,
        dead_letters=(await _dead(app))[name],
    )


async def _dead(app: App) -> Counter[str]:
    """How many dead letters there are, by sink."""
    found = Counter[str]()
    for total in await app.store.letter_totals():
        found[total.sink] += total.letters
    return found


def _next_try(it: Condition, wait: Waits, now: float) -> float | None:
    if it.state == "disabled" or not wait.events:
        return None
    retry = wait.next[0] if wait.next else None
    due = now if wait.log else retry
    if it.state == "down":
        due = it.probe_at if retry is None else min(it.probe_at, retry)
    return None if due is None else max(due, it.until)


async def _condition(app: App, delivery: EachDelivery, *, running: bool) -> Condition:
    """The daemon's own once it has begun; else as the store has it."""
    return delivery.health if running and delivery.begun else await gate.condition_of(app.store, delivery.sink.name)


async def _wait(app: App, name: str) -> Waits:
    return await waiting(app.store, range(app.store.shards), name)


async def _last_error(app: App, name: str, wait: Waits) -> str | None:
    """What was said of the retry that is due next."""
    if wait.next is None:
        return None
    _, shard, seq = wait.next
    return next((retry.error or None for retry in await app.store.retries(name, shard, [seq])), None)


# --- switching -------------------------------------------------------------------------------------------------------


async def switch(app: App, name: str, why: str | None, *, running: bool) -> Switched:
    """Enables a webhook, or disables it by hand for the reason `why`. Raises Unknown, PollerError, StoreFault."""
    delivery = _webhook(app, name)
    _check_known(app, running=running)
    if running and (delivery.begun or not any(shard.ours for shard in app.shards)):
        # What another replica was told a moment ago comes before; and where nobody works on a shard, nobody has read it yet.
        await delivery.gate.load()
    if running and not delivery.begun:
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


def _check_known(app: App, *, running: bool) -> None:
    """Raises PollerError where nothing is known of any webhook."""
    if not running and kind_of(app.settings.store) == "memory":
        raise PollerError(
            "no daemon runs, and the store is of kind memory: without one it knows nothing of how webhooks stand. Start poller run, "
            "or use another kind of store"
        )


def _webhook(app: App, name: str) -> EachDelivery:
    if name not in app.sinks:
        there = [sink for sink in app.sinks if _delivery(app, sink)]
        raise Unknown(f"there is no webhook {name} in the configuration; there are: {', '.join(there) or 'none'}")
    found = _delivery(app, name)
    if found is None:
        raise PollerError(
            f"sink {name} is no webhook, it is of kind {kind_of(app.settings.sinks[name])}: only webhooks have a state"
        )
    return found


def _delivery(app: App, name: str) -> EachDelivery | None:
    return next((one for one in app.deliveries if isinstance(one, EachDelivery) and one.sink.name == name), None)
