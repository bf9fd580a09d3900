"""Replays and retries for a shard that another replica works on: asked of it through the store, and done for others here.

What is asked is bounded and small; the bytes of events never travel, since whoever does it reads the log itself.
"""

import uuid
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Literal, Protocol, TypeAlias, TypeVar

import anyio
import msgspec
from msgspec import Struct

from poller.app_parts import App
from poller.errand import Errand, Errands
from poller.errors import Lost, Outdated, PollerError, StoreFault, StoreFull
from poller.log import get_logger
from poller.model import PageCommit
from poller.operations import Mark, Replay, Retried
from poller.shard import Shard

PATIENCE = 30.0
"""Seconds in which somebody has to have done it: twice as long as it takes, by default, until a shard is taken over."""
CLOSING = 5.0
"""Seconds in which an errand is taken back."""
ASKING = 0.1
"""Seconds between two looks for an answer."""
SOON, AGAIN = 0.05, 3.0
"""Seconds between two looks for errands, for so many seconds after one was done: the next step of the same command is near."""
_WHO = "looking for errands"

_log = get_logger()


class Slice(Struct, frozen=True, tag="replay"):
    """The next slice of a replay, behind a mark."""

    asked: Replay
    mark: Mark


class Sliced(Struct, frozen=True, tag="replay"):
    """What it held, and how far it came."""

    types: dict[str, int]
    mark: Mark


class Lot(Struct, frozen=True, tag="letters"):
    """Dead letters of one shard and one sort, to be tried again."""

    what: Literal["record", "event"]
    ids: tuple[str, ...]


class LotTried(Struct, frozen=True, tag="letters"):
    """What became of each. `left`: those that there was no time for; they are among the results, too."""

    results: tuple[Retried, ...]
    left: tuple[str, ...] = ()


class Refused(Struct, frozen=True, tag="refused"):
    """A sentence that says why nothing was done."""

    error: str


Wanted: TypeAlias = Slice | Lot
Answer: TypeAlias = Sliced | LotTried
A = TypeVar("A", Sliced, LotTried)


class Withdrawn(PollerError):
    """Nobody waits for it any more: nothing was written."""


class Doing:
    """One errand while it is done."""

    def __init__(self, store: Errands, errand: Errand) -> None:
        self.id = errand.id
        self._store = store
        self._errand = errand

    async def confirm(self) -> None:
        """Before a commit that carries no answer. Raises Withdrawn, StoreFault."""
        # Errands are done in the order in which they are found, so this one is among the first.
        if self.id not in {one.id for one in await self._store.errands([self._errand.shard])}:
            raise Withdrawn("whoever asked for it has given up")

    async def commit(self, shard: Shard, page: PageCommit, answer: Answer) -> None:
        """With the answer, in one transaction. Call it under the shard's lock. Raises Withdrawn, StoreFault, Outdated."""
        held = await self._store.commit_errand(shard.held, page, self._errand.id, msgspec.json.encode(answer))
        if held is None:
            raise Withdrawn("whoever asked for it has given up")
        shard.held = held

    async def answer(self, answer: Answer | Refused) -> None:
        """Where nothing is left to be committed. Raises StoreFault."""
        await self._store.answer(self._errand.id, msgspec.json.encode(answer))


class Doer(Protocol):
    """Knows how."""

    async def do(self, wanted: Wanted, shard: Shard, doing: Doing) -> None:
        """What is asked for a shard of this process, and answers. Raises PollerError, StoreFault, Outdated."""
        ...


# --- asking ----------------------------------------------------------------------------------------------------------


async def ask(app: App, shard: int, wanted: Wanted, kind: type[A]) -> A:
    """What the replica did that works on the shard.

    Raises PollerError where it refuses, or where nobody has done it in time: then nothing of it was done or will be, but what
    has commits of its own: of that a part may be done. Raises
    Lost where the store has no errands, StoreFault where it is away: then it may have been done.
    """
    store = app.store
    if not isinstance(store, Errands):
        app.shards[shard].check()
        raise Lost(f"shard {shard} is not worked on here")
    errand = Errand(str(uuid.uuid4()), shard, msgspec.json.encode(wanted))
    answer: bytes | None = None
    try:
        await store.ask(errand, PATIENCE)
        answer = await _answer(app, store, errand.id)
    finally:
        with anyio.CancelScope(shield=True):
            try:
                answer = await _withdrawn(store, errand.id) or answer
            except PollerError:
                if answer is None:  # one that came counts: else what is done would be asked for again
                    raise
    if answer is None:
        raise PollerError(
            f"no replica has done it for shard {shard} within {PATIENCE:.0f} s, and none will: `poller status` shows who works "
            "on it; ask again when somebody does"
        )
    return _read(answer, shard, kind)


async def _answer(app: App, store: Errands, errand: str) -> bytes | None:
    """None: in vain. A store that is away for a moment keeps what was asked."""
    end = app.clock.mono() + PATIENCE
    while app.clock.mono() < end:
        try:
            if (answer := await store.answer_to(errand)) is not None:
                return answer
        except StoreFault:
            pass  # where it stays away, taking the errand back says so
        await app.clock.sleep(ASKING)
    return None


async def _withdrawn(store: Errands, errand: str) -> bytes | None:
    try:
        with anyio.fail_after(CLOSING):
            return await store.withdraw(errand)
    except TimeoutError:
        raise StoreFault(
            f"the store has not answered within {CLOSING:.0f} s: whether it was done is not known"
        ) from None


def _read(answer: bytes, shard: int, kind: type[A]) -> A:
    try:
        found = msgspec.json.decode(answer, type=kind | Refused)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PollerError(f"the replica that works on shard {shard} is of another version: {error}") from None
    if isinstance(found, Refused):
        raise PollerError(f"the replica that works on shard {shard} says: {found.error}")
    return found


# --- doing -----------------------------------------------------------------------------------------------------------


async def keep_doing(app: App, doer: Doer, look: Callable[[], Awaitable[Collection[int]]]) -> None:
    """What others ask for this process's shards, until it is cancelled.

    `look`: waits for the next look at the store, about a second, and returns the shards of which something is asked.
    """
    store, busy_until = app.store, -AGAIN
    if not isinstance(store, Errands):
        return
    while True:
        wanted: Collection[int] = range(len(app.shards))
        if app.clock.mono() < busy_until:
            await app.clock.sleep(SOON)
        else:
            wanted = await look()
        try:
            mine = [number for number in wanted if app.shards[number].ours]
            for errand in await store.errands(mine) if mine else ():
                await _do(app, store, errand, doer)
                busy_until = app.clock.mono() + AGAIN
            app.outage.ended(_WHO)
        except PollerError as error:
            app.outage.failed(_WHO, error)


async def _do(app: App, store: Errands, errand: Errand, doer: Doer) -> None:
    """Where the store fails, or the shard is not as believed, it stays as it is: for the next look, or the next owner."""
    shard, doing = app.shards[errand.shard], Doing(store, errand)
    generation = shard.generation
    try:
        wanted: Wanted = msgspec.json.decode(errand.asked, type=Wanted)
        shard.check()
        await doer.do(wanted, shard, doing)
    except (Lost, Withdrawn):
        return
    except Outdated:
        with suppress(Lost):  # whoever notices that ends the shard; the store is well
            await shard.believe_anew(generation, app.metrics.store_rollbacks.inc)
    except StoreFull as error:
        await doing.answer(Refused(str(error)))
    except StoreFault:
        raise
    except PollerError as error:
        await doing.answer(Refused(str(error)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        await doing.answer(Refused(f"what was asked is of another version: {error}"))
    except Exception as defect:  # noqa: BLE001 one errand must not end the lines; it is said with its traceback
        _log.exception("defect", shard=errand.shard)
        await doing.answer(Refused(f"a defect of this program: {type(defect).__name__}"))
