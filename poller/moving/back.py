"""An export is taken back: daemons may open the store again, unless its file was imported."""

from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import cast

from poller.config import Settings
from poller.errors import StoreRefused
from poller.kinds import kind_of, load_sink_kind, load_store_kind
from poller.log import set_up
from poller.marks import EXPORTED, Mark, mark, marked
from poller.moving.frames import half_of
from poller.protocols import Sink, Store
from poller.redact import Redactor, secrets_of


async def take_back(settings: Settings) -> Path:
    """Where the file is that must not be imported any more. Raises StoreRefused, StoreFault, SinkRefused, SinkFault."""
    set_up(form="console", level="warning", redact=Redactor(*secrets_of(settings)))
    kind = load_store_kind(kind_of(settings.store))
    await (await kind.open_read(settings.store)).close()  # where there is no store, none is made
    async with AsyncExitStack() as stack:
        store = await kind.open_store(settings.store)
        stack.push_async_callback(store.close)
        found = await marked(store, EXPORTED)
        if found is None:
            raise StoreRefused("this store was not exported, or that was taken back already: daemons may open it")
        for name in found.identities:
            sink = _sink(settings, name, found)
            stack.push_async_callback(sink.close)
            await refuse_imported(store, sink, found)
        await mark(store, EXPORTED, None)
    with suppress(OSError):
        half_of(found.place).unlink(missing_ok=True)
    return found.place


def _sink(settings: Settings, name: str, found: Mark) -> Sink:
    options = settings.sinks.get(name)
    sink = options and load_sink_kind(kind_of(options)).build(name, options, shards=1)
    if not sink or not hasattr(sink, "peek"):
        raise StoreRefused(
            f"whether {found.file} was imported shows in the progress of the sink {name}, which is not configured: configure "
            "it as it was"
        )
    return cast(Sink, sink)


async def refuse_imported(store: Store, sink: Sink, found: Mark) -> None:
    """Every import begins with a progress of its own. Raises StoreRefused, SinkRefused, SinkFault."""
    progress = await sink.peek(0, found.identities[sink.name])
    position = await store.position(sink.name, 0)
    if progress is not None and (progress.moved is not None or progress.position != position):
        raise StoreRefused(
            f"the file {found.file} of this store's export was imported, or that has begun: the sink {sink.name} shows it. Go on with "
            "the store that it was imported into"
        )
