"""What this process believes about one shard, and the lock under which it reads and writes it."""

import anyio

from poller.clock import SystemClock
from poller.errors import PollerError, StoreFault
from poller.log import SharedOutage, get_logger
from poller.model import Held, Position
from poller.protocols import Store


class Shard:
    """One shard of the store. Look-up and commit happen under `lock`, so two polls never both call one id new."""

    def __init__(self, store: Store, number: int, outage: SharedOutage | None = None) -> None:
        """`outage`: the store's, where several shards share it."""
        self.store = store
        self._outage = outage or SharedOutage(get_logger().bind(store=store.kind), SystemClock())
        self.number = number
        self.lock = anyio.Lock()
        self.held = Held(number, 0, Position())
        self.generation = 0
        """Counts how often the belief was read anew: what was derived from an earlier one is void."""
        self.changed = anyio.Event()
        self.paused: set[str] = set()
        self._resumed = anyio.Event()

    async def believe(self) -> None:
        """Reads anew what the store has (at the start, and after Outdated). Call it under `lock`."""
        self.held = await self.store.hold(self.number)
        self.generation += 1
        self.tell()

    def store_failed(self, who: str, error: PollerError) -> bool:
        """Whether the store is at fault, which is then said here: one line, however many of its users meet it."""
        if isinstance(error, StoreFault):
            self._outage.failed(f"{who} {self.number}", error)
        return isinstance(error, StoreFault)

    def store_works(self, who: str) -> None:
        """It has done what `who` wanted."""
        self._outage.ended(f"{who} {self.number}")

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
