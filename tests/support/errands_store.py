"""A store in memory that several processes use: what they ask of each other lies in it."""

from collections.abc import Collection

from poller.errand import Errand
from poller.model import Held, PageCommit
from poller.stores.memory import Config, MemoryStore


class SharedStore(MemoryStore):
    """Asked, done and answered as in a database. What is counted and what goes wrong is up to each test."""

    def __init__(self, shards: int) -> None:
        super().__init__(Config(shards=shards))
        self.rows: dict[str, tuple[Errand, bytes | None]] = {}

    async def ask(self, errand: Errand, seconds: float) -> None:  # noqa: ARG002 the protocol's
        self.rows.setdefault(errand.id, (errand, None))

    async def errands(self, shards: Collection[int]) -> list[Errand]:
        return [errand for errand, answer in self.rows.values() if answer is None and errand.shard in shards]

    async def commit_errand(self, held: Held, page: PageCommit, errand: str, answer: bytes) -> Held | None:
        if errand not in self.rows or self.rows[errand][1] is not None:
            return None
        after = await self.commit_page(held, page)
        await self.answer(errand, answer)
        return after

    async def answer(self, errand: str, answer: bytes) -> None:
        if errand in self.rows:
            self.rows[errand] = self.rows[errand][0], answer

    async def answer_to(self, errand: str) -> bytes | None:
        return self.rows[errand][1]

    async def withdraw(self, errand: str) -> bytes | None:
        return self.rows.pop(errand)[1]
