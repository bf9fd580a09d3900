"""What this process believes about one shard, and the lock under which it reads and writes it."""

from collections.abc import Callable
from typing import Protocol

import anyio

from poller.clock import SystemClock
from poller.errors import Lost, Outdated, PollerError, StoreFault
from poller.log import SharedOutage, get_logger
from poller.model import Held, PageCommit, Position
from poller.protocols import Store


class Owner(Protocol):
    """By what right this process works on the shard."""

    def ours(self) -> bool:
        """Whether anything may be done for it now. By the clock: no task has to have noticed anything."""
        ...

    async def take(self) -> Held:
        """What the store has for the shard, for whom it is by now. Raises Lost, StoreFault."""
        ...


class Holder:
    """Of a store that nobody else writes."""

    def __init__(self, store: Store, number: int) -> None:
        self._store = store
        self._number = number

    def ours(self) -> bool:
        """Always."""
        return True

    async def take(self) -> Held:
        """As the store has it."""
        return await self._store.hold(self._number)


class Nobody:
    """Of a shard that this process does not work on."""

    def __init__(self, number: int) -> None:
        self._number = number

    def ours(self) -> bool:
        """Never."""
        return False

    async def take(self) -> Held:
        """Raises Lost."""
        raise Lost(f"shard {self._number} is not worked on here: `poller status` shows which replica does, ask there")


class Shard:
    """One shard of the store. Look-up and commit happen under `lock`, so two polls never both call one id new."""

    def __init__(
        self, store: Store, number: int, outage: SharedOutage | None = None, owner: Owner | None = None
    ) -> None:
        """`outage`: the store's, where several shards share it. `owner`: None where nobody else can be one."""
        self.store = store
        self._outage = outage or SharedOutage(get_logger().bind(store=store.kind), SystemClock())
        self._owner = owner or Holder(store, number)
        self.number = number
        self.lock = anyio.Lock()
        self.held = Held(number, 0, Position())
        self.generation = 0
        """Counts how often the belief was read anew, or what hangs on it became void: nothing of an earlier one is written."""
        self.changed = anyio.Event()
        self.paused: set[str] = set()
        self._resumed = anyio.Event()
        self._left = False
        self._set_back = -1

    async def believe(self) -> None:
        """Reads anew what the store has (at the start, and after Outdated). Call it under `lock`. Raises Lost, StoreFault."""
        self.held = await self._owner.take()
        self.generation += 1
        self.tell()

    def void(self) -> None:
        """What was read of the store before is void, although the belief is not. Call it under `lock`."""
        self.generation += 1

    async def believe_anew(self, doubted: int, count: Callable[[], object]) -> None:
        """After Outdated: unless somebody has done so since the generation that is doubted. Raises Lost, StoreFault.

        Where the store was not as it had been left, that is counted. A commit of which nobody heard is no such thing.
        """
        async with self.lock:
            if self.generation != doubted:
                return
            before = self.held
            await self.believe()
        left, found = before.last, self.held.last
        elsewhere = self.held.epoch != before.epoch + 1  # to believe takes one
        if doubted > 0 and (elsewhere or found.seq < left.seq or (found.seq == left.seq and found != left)):
            self.set_back(doubted, count)

    def set_back(self, doubted: int, count: Callable[[], object]) -> None:
        """The store was not as it had been left in that generation: counted once, whoever notices it, and however many do."""
        if self._set_back < doubted:
            self._set_back = doubted
            count()

    def was_set_back(self, since: int) -> bool:
        """Whether the store was found not to be as it had been left in that generation (-1: by this process, ever), or a later one."""
        return self._set_back >= max(since, 0)

    @property
    def ours(self) -> bool:
        """Whether anything may be done for it now."""
        return self._owner.ours()

    def check(self) -> None:
        """Before anything that others see: raises Lost where the shard may be somebody else's by now."""
        if not self.ours:
            raise Lost(
                f"shard {self.number} is not worked on here, or may not be any more: `poller status` shows which replica does"
            )

    def store_failed(self, who: str, error: PollerError) -> bool:
        """Whether the store is at fault, which is then said here: one line, however many of its users meet it."""
        if isinstance(error, StoreFault) and not self._left:
            self._outage.failed(f"{who} {self.number}", error)
        return isinstance(error, StoreFault)

    def store_works(self, who: str) -> None:
        """It has done what `who` wanted."""
        self._outage.ended(f"{who} {self.number}")

    async def look_again(self, who: str, count: Callable[[], object]) -> None:
        """Where the store failed `who`, whom something else holds up by now: by a write that changes nothing. Raises Lost, StoreFault."""
        if not self._outage.met_by(f"{who} {self.number}"):
            return
        generation = self.generation
        try:
            async with self.lock:
                self.held = await self.store.commit_page(self.held, PageCommit())
        except Outdated:
            await self.believe_anew(generation, count)
        self.store_works(who)

    def given_up(self) -> None:
        """Nothing is done for it here any more: an outage of the store ends without those who worked on it."""
        self._left = True
        self._outage.leave(str(self.number))

    def tell(self) -> None:
        """Wakes whoever waits for new events."""
        self.changed.set()
        self.changed = anyio.Event()

    def pause(self, reason: str) -> None:
        """Stops new polls of this shard until `resume` with the same reason."""
        self.paused.add(reason)

    def resume(self, reason: str) -> None:
        """Takes one reason to pause away."""
        self.paused.discard(reason)
        if not self.paused:
            self._resumed.set()
            self._resumed = anyio.Event()

    async def until_polling(self) -> None:
        """Waits while there is a reason to pause. The caller's scope is what bounds it: a pause has no deadline of its own."""
        while self.paused:
            await self._resumed.wait()
