"""The store cannot be used: said once however many of its users meet it, and tried again ever more rarely."""

from poller.backoff import delay
from poller.each import EachSink
from poller.errors import PollerError, bare
from poller.log import Outage
from poller.route import Route

_FIRST, _LIMIT = 0.5, 30.0


class Trouble:
    """Of one part of a delivery one by one."""

    def __init__(self, route: Route[EachSink], what: str) -> None:
        self.error: PollerError | None = None
        self._outage = Outage(route.log, route.clock)
        self._shard = route.shard
        self._clock = route.clock
        self._rnd = route.rnd
        self._who = f"delivery to {route.sink.name}, {what}"
        self._until = 0.0

    def failed(self, error: PollerError) -> None:
        """It is tried again when `left` is over."""
        self.error = bare(error)
        self._outage.failed(error, quietly=self._shard.store_failed(self._who, error))
        self._until = self._clock.mono() + delay(self._outage.attempts, first=_FIRST, limit=_LIMIT, rnd=self._rnd)

    @property
    def left(self) -> float:
        """Seconds until it is to be tried again."""
        return max(0.0, self._until - self._clock.mono())

    async def wait(self, error: PollerError) -> None:
        """It failed, and there is nothing else to do."""
        self.failed(error)
        await self._clock.sleep(self.left)

    def over(self) -> None:
        """It worked."""
        if self.error is not None:
            self.error = None
            self._outage.ended()
            self._shard.store_works(self._who)
