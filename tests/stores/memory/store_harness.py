"""How the conformance suite opens, copies and empties the store in memory."""

from pathlib import Path

from poller.stores.memory import Config, MemoryStore


class Harness:
    def __init__(self, _folder: Path) -> None:
        self.store: MemoryStore | None = None
        self.copies: dict[str, MemoryStore] = {}

    async def open(self) -> MemoryStore:
        self.store = self.store or MemoryStore(Config())
        return self.store

    async def reopen(self) -> MemoryStore:
        return await self.open()

    async def close(self) -> None:
        assert self.store is not None
        await self.store.close()

    def copy(self, name: str) -> None:
        assert self.store is not None
        self.copies[name] = self.store.copy()

    def restore(self, name: str) -> None:
        assert self.store is not None
        self.store.restore(self.copies[name])

    def empty(self) -> None:
        assert self.store is not None
        self.store.restore(MemoryStore(Config()))

    def remove(self) -> None:
        """Nothing is left behind."""
