"""What a store says of itself while it moves: it was exported, or an import into it is not finished."""

from collections.abc import Collection
from pathlib import Path

import msgspec
from msgspec import Struct

from poller.errors import StoreRefused
from poller.event import instant
from poller.protocols import Store

EXPORTED, IMPORTING, IMPORTED = "state.exported", "state.importing", "state.imported"
"""Where the store keeps the marks."""


class Mark(Struct, frozen=True):
    """Which export, the file that is meant, and when it was made, in epoch seconds."""

    id: str
    file: str
    at: float
    identities: dict[str, str] = {}
    """Of an exported store: what the progress of each sink hangs on that keeps any."""

    @property
    def place(self) -> Path:
        """The file."""
        return Path(self.file)


async def marked(store: Store, name: str) -> Mark | None:
    """Raises StoreFault."""
    text = await store.get_meta(name)
    return None if text is None else msgspec.json.decode(text, type=Mark)


async def mark(store: Store, name: str, value: Mark | None) -> None:
    """None takes it away. Raises StoreFault."""
    await store.put_meta(name, None if value is None else msgspec.json.encode(value).decode())


async def refuse_marked(store: Store, names: Collection[str] = (EXPORTED, IMPORTING)) -> None:
    """Raises StoreRefused where nobody may work on the store."""
    if EXPORTED in names and (found := await marked(store, EXPORTED)) is not None:
        raise StoreRefused(
            f"this store was exported to {found.file} at {instant(found.at)}: go on with the store that the file was imported "
            "into. Only where it never was, `poller state export --undo` lets this one be used again"
        )
    if IMPORTING in names and (found := await marked(store, IMPORTING)) is not None:
        raise StoreRefused(
            f"the import of {found.file} into this store is not finished: run `poller state import` with that file again"
        )
