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

    async def wait(self, error: PollerError) -> None:
        """It failed."""
        self.error = bare(error)
        self._outage.failed(error, quietly=self._shard.store_failed(self._who, error))
        await self._clock.sleep(delay(self._outage.attempts, first=_FIRST, limit=_LIMIT, rnd=self._rnd))

    def over(self) -> None:
        """It worked."""
        if self.error is not None:
            self.error = None
            self._outage.ended()
            self._shard.store_works(self._who)
