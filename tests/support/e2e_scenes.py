"""What is done to lives of a daemon that end at step boundaries, so that every boundary is surely met in one of them."""

import signal
import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing

from aiokafka import AIOKafkaProducer
from e2e_daemon import Trial
from e2e_lives import Lives, copy_store, put_store
from e2e_work import CALLS, Search, Work, delivered

SEND = "poller.deliver.Delivery._send: lane.send before"
DELIVERED = "poller.deliver.Delivery._send: self._store.delivered before"
SETTLE = "poller.settle.Settler.settle: self._stored before"
CONFIRM = "poller.settle.Settler._lane: self._confirm #2 before"
NOTE = "poller.sinks.kafka.lane.KafkaLane.note: self._transaction before"

FIRST = ("poller.settle.Settler.settle: lane.note before", "poller.settle.Settler.settle: lane.note after")
"""Met where a sink has no progress: at the very first start, which no later scene can have again."""


class Scene:
    """Before a life begins, while it lasts, and when it is over. This one: new calls are found and delivered."""

    hold: str | None = None
    """Where one task of the life waits until it is released."""

    def __init__(self, trial: Trial, lives: Lives, work: Work) -> None:
        self.trial = trial
        self.lives = lives
        self.daemon = trial.daemon
        self.work = work
        self.old_store = self.daemon.folder / "old.db"
        """A copy; calls of every vendor were published since."""

    async def before(self) -> None:
        """No daemon runs."""

    async def during(self) -> None:
        """The life has just begun. Returns when everything that this is about has happened, or the life is over."""
        for _ in range(2):
            await self.deliver()

    async def more(self) -> None:
        """The same life goes on."""
        await self.deliver()

    async def after(self) -> None:
        """The daemon was killed."""

    async def deliver(self) -> None:
        """New calls, until they are delivered."""
        await self.delivered(self.place())

    def place(self, vendors: Collection[str] = tuple(CALLS)) -> Search:
        """New calls."""
        return Search(self.daemon.store, self.work.place(vendors))

    async def delivered(self, calls: Search) -> None:
        """Waits until they are."""

        def there() -> bool:
            seq = calls.seq()
            return seq is not None and delivered(self.daemon.store) >= seq

        if await self.found(calls):
            await self.lives.until(there, "what was placed is delivered")

    async def found(self, calls: Search) -> bool:
        """Waits until they are in the log."""
        return await self.lives.until(lambda: calls.seq() is not None, "what was placed is found")

    async def held(self) -> bool:
        """Waits until the life is held."""
        hold = self.hold
        assert hold is not None
        return await self.lives.until(lambda: self.lives.times(hold), f"it comes to {hold}")

    def vendors(self, down: str) -> None:
        """All of them are so."""
        for site in self.trial.sims.sites.values():
            site.down = down  # type: ignore[assignment]

    def overwrite(self) -> None:
        """Another writer is at the store."""
        with closing(sqlite3.connect(self.daemon.store, timeout=10)) as connection, connection:
            connection.execute("UPDATE shard SET epoch = epoch + 1")

    async def fence(self, prefix: str = "") -> None:
        """Another producer takes the transactional id over."""
        prefix = prefix or self.prefix
        producer = AIOKafkaProducer(
            bootstrap_servers=self.trial.bootstrap,
            transactional_id=f"{prefix}.kafka.0",
            transaction_timeout_ms=10_000,
        )
        await producer.start()
        await producer.stop()

    @property
    def prefix(self) -> str:
        """Of the transactional id, in the configuration."""
        return str(self.daemon.settings["sinks"]["kafka"]["transactional_id_prefix"])

    def rename(self, prefix: str = "") -> None:
        """The transactional id is changed in the configuration, if not told otherwise to one that was never used."""
        self.daemon.settings["sinks"]["kafka"]["transactional_id_prefix"] = prefix or f"{self.prefix}_"
        self.daemon.write()


class Stopped(Scene):
    """SIGTERM while something waits to be delivered."""

    hold = SEND

    async def during(self) -> None:
        self.place()
        if await self.held():
            await self.lives.send_signal(signal.SIGTERM)
            if await self.lives.until_said('"draining"'):
                self.lives.release()
            await self.lives.until(lambda: False, "it stops")


class Fenced(Scene):
    """Another producer takes the transactional id over, between two transactions."""

    async def during(self) -> None:
        await self.deliver()
        if self.lives.lasts:
            await self.fence()
            await self.deliver()

    more = during


class Overwritten(Scene):
    """Another writer was at the store; the way in notices it, since the way out has nothing to write."""

    async def during(self) -> None:
        await self.deliver()
        if self.lives.lasts:
            self.overwrite()
            await self.deliver()

    more = during


class OverwrittenSending(Scene):
    """Another writer was at the store; the way out notices it, since it has the lock when that happens."""

    hold = DELIVERED

    async def during(self) -> None:
        self.place()
        if await self.held():
            self.overwrite()
            self.lives.release()
            await self.deliver()


class OverwrittenSettling(Scene):
    """Another writer was at the store while the sink is settled, and nobody polls."""

    hold = CONFIRM

    async def before(self) -> None:
        self.vendors("503")

    async def during(self) -> None:
        if await self.held():
            self.overwrite()
            self.lives.release()
            if await self.lives.until(lambda: self.lives.times(self.hold) > 1, "it settles again"):
                self.vendors("")
                await self.deliver()

    async def after(self) -> None:
        self.vendors("")


class Behind(Scene):
    """The life before was killed between a transaction and its position."""

    async def before(self) -> None:
        await self.lives.begin(DELIVERED)
        await self.deliver()
        await self.lives.end()
        assert self.lives.at_edge, self.daemon.tail()


class FilterIgnored(Scene):
    """The vendors answer with everything that they have."""

    async def during(self) -> None:
        await self.deliver()
        fired = self.trial.fired()["filter_ignored"]
        for site in self.trial.sims.sites.values():
            site.faults.force("filter_ignored", 4)
        self.place()
        if await self.lives.until(
            lambda: self.trial.fired()["filter_ignored"] >= fired + 8, "vendors ignore the filter"
        ):
            await self.after()
            await self.deliver()

    more = during

    async def after(self) -> None:
        for site in self.trial.sims.sites.values():
            site.faults.calm()


class RolledBack(Scene):
    """A backup was put in the store's place. One vendor is away, so what it had published cannot be found by polling; a call
    that was never published is found before the sink is settled.
    """

    hold = SETTLE

    async def before(self) -> None:
        put_store(self.old_store, self.daemon.store)
        self.trial.sims.sites["fonouc"].down = "503"

    async def during(self) -> None:
        calls = self.place(("mor",))
        if await self.held() and await self.found(calls):
            self.lives.release()
            if await self.lives.until_said("the store is healed"):
                self.vendors("")
                await self.delivered(calls)

    async def after(self) -> None:
        self.vendors("")


class Beginning(RolledBack):
    """A backup from before the first delivery."""

    async def before(self) -> None:
        self.old_store = self.daemon.folder / "beginning.db"
        await super().before()


class Emptied(Scene):
    """The store's volume was lost."""

    async def before(self) -> None:
        put_store(None, self.daemon.store)

    async def during(self) -> None:
        if await self.lives.until_said("the store is healed"):
            await self.deliver()


class Hanging(Scene):
    """A stranger's transaction is open on the progress partition."""

    async def before(self) -> None:
        topic = self.daemon.settings["sinks"]["kafka"]["progress_topic"]
        self.stranger: AIOKafkaProducer | None = AIOKafkaProducer(
            bootstrap_servers=self.trial.bootstrap, transactional_id=f"{topic}-stranger", transaction_timeout_ms=300_000
        )
        await self.stranger.start()
        await self.stranger.begin_transaction()
        await (await self.stranger.send(topic, b"open", key=b"stranger", partition=0))

    async def during(self) -> None:
        if await self.lives.until_said("an open transaction hides"):
            await self.after()
            await self.deliver()

    async def after(self) -> None:
        stranger, self.stranger = self.stranger, None
        if stranger is not None:
            await stranger.abort_transaction()
            await stranger.stop()


class Renamed(Scene):
    """The transactional id was changed in the configuration."""

    async def before(self) -> None:
        self.rename()

    async def during(self) -> None:
        await self.deliver()


class FencedNoting(Renamed):
    """And another producer takes the old one over before it is noted where the progress moves."""

    hold = NOTE

    async def before(self) -> None:
        self.old = self.prefix
        await super().before()

    async def during(self) -> None:
        if await self.held():
            await self.fence(self.old)
            self.lives.release()
            await self.deliver()


class OtherTopic(Scene):
    """The progress topic was changed in the configuration."""

    async def before(self) -> None:
        self.daemon.settings["sinks"]["kafka"]["progress_topic"] += "_"
        self.daemon.write()


class RenamedBack(Scene):
    """A backup from before a change of the transactional id, with the configuration of then."""

    async def before(self) -> None:
        old, copy = self.prefix, self.daemon.folder / "named.db"
        copy_store(self.daemon.store, copy)
        self.rename()
        await self.lives.begin()
        await self.deliver()
        assert self.lives.lasts, self.daemon.tail()
        await self.lives.end()
        put_store(copy, self.daemon.store)
        self.rename(old)


SCENES: Mapping[str, type[Scene]] = {
    "plain": Scene,
    "stopped": Stopped,
    "fenced": Fenced,
    "overwritten": Overwritten,
    "overwritten sending": OverwrittenSending,
    "overwritten settling": OverwrittenSettling,
    "behind": Behind,
    "filter ignored": FilterIgnored,
    "rolled back": RolledBack,
    "beginning": Beginning,
    "emptied": Emptied,
    "hanging": Hanging,
    "renamed": Renamed,
    "fenced noting": FencedNoting,
    "renamed back": RenamedBack,
    "other topic": OtherTopic,
}
"""A boundary is tried in the first one that meets it."""
