"""What one process asks of the one that works on a shard, as rows of a table.

The shard's row is locked before the errand's, and who takes an errand back locks nothing else: they wait for each other in one
direction only.
"""

from collections.abc import Collection

from poller.errand import Errand
from poller.stores.postgres.database import Database, Statement
from poller.stores.postgres.values import array


async def ask(database: Database, errand: Errand, seconds: float) -> None:
    """Asking twice asks once."""
    await database.rows("ask_errand", id=errand.id, shard=errand.shard, asked=errand.asked, seconds=seconds)


async def asked(database: Database, shards: Collection[int]) -> list[Errand]:
    """Those that nobody has answered and somebody waits for."""
    return [Errand(*row) for row in await database.rows("errands", shards=array(shards))]


async def answer(database: Database, errand: str, said: bytes) -> None:
    """Of what needs no commit of its own."""
    await database.rows("answer_errand", id=errand, answer=said)


async def answer_to(database: Database, errand: str) -> bytes | None:
    """None: there is none yet."""
    rows = await database.rows("errand_answer", id=errand)
    return rows[0][0] if rows else None


async def withdraw(database: Database, errand: str) -> bytes | None:
    """Waits for the commit that answers it just now."""
    rows = await database.rows("withdraw_errand", id=errand)
    return rows[0][0] if rows else None


def stands(errand: str) -> Statement:
    """Whether somebody waits for it still."""
    return "errand_stands", {"id": errand}


def answered(errand: str, said: bytes) -> Statement:
    """In the commit that does it."""
    return "answer_errand", {"id": errand, "answer": said}
