"""How one event stands with each sink, as the store has it and as the deliveries of this process remember it."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from poller.app_parts import App
from poller.deliver import Delivery
from poller.journeys import Stop
from poller.kept import Retry
from poller.kinds import kind_of
from poller.model import DeadEvent, Event
from poller.offers import Placing
from poller.outgoing import dead_id, for_sink
from poller.recent import Note


class Numbers(Struct, frozen=True):
    """Where an event stands in the log, and the ids that it may have."""

    shard: int
    seq: int
    ids: Sequence[str]


async def of_event(app: App, it: Numbers, event: Event | None, *, running: bool) -> list[Stop]:
    """With every sink that it is meant for, configured or only remembered. `event`: None where it is not kept any more."""
    remembered = {sink for sink, shard in await app.store.positions() if shard == it.shard}
    earlier = {options.renamed_from for options in app.settings.sinks.values()} - set(app.sinks)
    return [
        await _with(app, it, event, sink, running=running)
        for sink in sorted((remembered | set(app.sinks)) - earlier)
        if event is None or for_sink(event, sink)
    ]


async def _with(app: App, it: Numbers, event: Event | None, sink: str, *, running: bool) -> Stop:
    options = app.settings.sinks.get(sink)
    there: object = app.sinks.get(sink)
    stop = Stop(
        sink=sink,
        kind=kind_of(options) if options is not None else None,
        standing="not known",
        where=there.place_of(event) if isinstance(there, Placing) and event is not None else "",
        notes=_notes(app, sink, it) if running else [],
    )
    letter = await _letter(app, sink, it)
    if letter is not None:
        return replace(stop, standing="dead letter", reason=letter.reason, error=letter.error, letter=letter.id)
    for kept in await app.store.retries(sink, it.shard, [it.seq]):
        return _to_be_tried(stop, kept)
    position = await app.store.position(sink, it.shard)
    if position is None:
        return stop
    if event is not None and hasattr(there, "wants") and not there.wants(event):
        return replace(stop, standing="filtered out")
    passed = it.seq <= position.seq or it.seq in await app.store.done(sink, it.shard)
    return replace(stop, standing="delivered" if passed else "waiting")


def _to_be_tried(stop: Stop, kept: Retry) -> Stop:
    return replace(
        stop, standing="to be tried again", attempts=kept.attempts, first=kept.first, next=kept.due, reason=kept.reason,
        error=kept.error or ("" if kept.due is not None else "it waits behind an earlier event of its key"),
    )  # fmt: skip


async def _letter(app: App, sink: str, it: Numbers) -> DeadEvent | None:
    found = await app.store.letters([dead_id(sink, it.shard, it.seq, one) for one in it.ids])
    return next((one for one in found if isinstance(one, DeadEvent)), None)


def _notes(app: App, sink: str, it: Numbers) -> list[Note]:
    return [
        note
        for one in app.deliveries
        if one.sink.name == sink and not (isinstance(one, Delivery) and one.shard.number != it.shard)
        for note in one.recent.of(it.shard, it.seq)
    ]
