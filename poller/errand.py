"""What one process asks of another that works on a shard: it lies in the store until it is done, or taken back."""

from collections.abc import Collection
from typing import Protocol, runtime_checkable

from msgspec import Struct

from poller.model import Held, PageCommit


class Errand(Struct, frozen=True):
    """`id`: a UUID, drawn by who asks."""

    id: str
    shard: int
    asked: bytes


@runtime_checkable
class Errands(Protocol):
    """What a store offers whose shards are worked on by several processes. Raises StoreFault.

    An errand is answered in the transaction that does it, and only while nobody has taken it back: so who asked knows whether
    it was done, and what was given up is done by nobody.
    """

    async def ask(self, errand: Errand, seconds: float) -> None:
        """It stands for so long. Asking twice asks once."""
        ...

    async def errands(self, shards: Collection[int]) -> list[Errand]:
        """Those of these shards that stand and have no answer, a part of them where they are many."""
        ...

    async def commit_errand(self, held: Held, page: PageCommit, errand: str, answer: bytes) -> Held | None:
        """As `commit_page`, with the answer; None where it does not stand any more: then nothing was written."""
        ...

    async def answer(self, errand: str, answer: bytes) -> None:
        """Of what is refused, or was done by commits of its own; nothing where it does not stand any more."""
        ...

    async def answer_to(self, errand: str) -> bytes | None:
        """None: there is none yet."""
        ...

    async def withdraw(self, errand: str) -> bytes | None:
        """Takes it back; the answer where it was done before."""
        ...
