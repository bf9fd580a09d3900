"""A store file with calls to be sent again."""

from pathlib import Path

from delivery_events import call_event

from poller import segment
from poller.model import PageCommit, Position
from poller.stores.sqlite import Config, open_store

NOW = 1_750_000_000.0
"""2025-06-15T15:06:40Z."""
CALLS = 30


async def fill(path: Path, *sinks: str) -> None:
    """Calls c0 to c29, one for each minute from NOW on, every third of them a changed one; the sinks stand at the beginning."""
    store = await open_store(Config(path=path))
    held = await store.hold(0)
    for number in range(CALLS):
        at = NOW + 60 * number
        event = call_event(f"c{number}", held.last.seq + 1, new=number % 3 > 0, at=at)
        packed = segment.pack([event], held.last, at)
        assert event.seen is not None
        held = await store.commit_page(held, PageCommit(segment=packed, seen=[(event.seen, packed.last)]))
    for sink in sinks:
        await store.delivered(held, sink, Position())
    await store.close()
