"""One shard's life in this process: what it leaves behind where it never opened, and how fast it is handed over."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest
import structlog
from delivery_model import Lease
from fake_clock import FakeClock
from polling_app import app_of
from structlog.testing import capture_logs

from poller.app import _say_stopped, opened
from poller.config import Settings, load
from poller.errors import StoreFault, StoreRefused
from poller.leases.replica import Owned, Replica
from poller.log import SharedOutage
from poller.marks import IMPORTING, Mark, mark
from poller.metrics import Metrics
from poller.model import Held, Position
from poller.one_by_one.delivery import EachDelivery
from poller.shard import Nobody, Shard
from poller.shift import Shifts
from poller.stores.memory import Config, MemoryStore

pytestmark = pytest.mark.anyio


class Share(Lease):
    """Of this process, until it ends."""

    def __init__(self, store: MemoryStore, number: int) -> None:
        super().__init__(store, number)
        self.number = number
        self.ending = anyio.Event()
        self.away = False

    async def take(self) -> Held:
        if self.away:
            raise StoreFault("the database does not answer")
        return await super().take()


class Rig:
    """An app without sources over a store in memory. `shifts.work` is what a replica calls."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore()
        settings = Settings(store=Config(), sinks={})
        shards = [Shard(self.store, 0, owner=Nobody(0))]
        self.app = app_of(settings, self.store, self.clock, Metrics(), random.Random(1), shards)
        self.app.outage = SharedOutage(structlog.get_logger().bind(store="memory"), self.clock)
        self.shifts = Shifts(self.app, anyio.Event(), once=False, alone=False)
        self.share = Share(self.store, 0)

    async def work(self) -> None:
        await self.shifts.work(cast("Owned", self.share))


async def test_a_shard_that_is_given_up_before_it_was_open_keeps_no_outage_open() -> None:
    rig = Rig()
    rig.share.away = True
    with anyio.fail_after(60), capture_logs() as said:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.work)
            await rig.clock.advance(3)
            rig.app.outage.failed("renewing leases", StoreFault("the database does not answer"))
            rig.share.ending.set()
        rig.app.outage.ended("renewing leases")
    assert [line["event"] for line in said] == ["failing", "works again"]


async def test_a_shard_of_a_store_whose_import_was_killed_is_not_worked_on() -> None:
    """The process was there before the import began, and gets the shard once the leases of that one have ended."""
    rig = Rig()
    await mark(rig.store, IMPORTING, Mark("abc", "calls.state", 5.0))
    with anyio.fail_after(60), pytest.raises(ExceptionGroup) as caught:
        await rig.work()
    assert caught.group_contains(StoreRefused, match="is not finished", depth=None)
    assert rig.shifts.worked == set()


async def test_a_store_that_is_away_at_the_end_is_no_crash() -> None:
    class Away(MemoryStore):
        async def position(self, sink: str, shard: int) -> Position | None:
            raise StoreFault(f"the database does not answer about {sink} {shard}")

    rig = Rig()
    rig.app.store, rig.app.sinks = Away(), {"crm": cast("Any", None)}
    with capture_logs() as said:
        await _say_stopped(rig.app, {0})
    assert [(line["event"], line["pending"], line["error"]) for line in said] == [
        ("stopped", None, "the database does not answer about crm 0")
    ]


CONFIG = """
store: {kind: memory}
sinks: {}
sources:
  pbx: {kind: thulium, base_url: "http://127.0.0.1:9/api", username: u, password: {env: KEY}, endpoints: {connections: {}}}
"""


async def test_what_a_shard_that_is_given_up_showed_is_for_others_to_show(tmp_path: Path) -> None:
    (tmp_path / "poller.yaml").write_text(CONFIG, encoding="utf-8")
    async with opened(load(tmp_path / "poller.yaml", {"KEY": "hunter2"})) as app:
        figures = [app.metrics.clock_skew["pbx"]]
        figures += [gauge["pbx", "thulium.connections"] for gauge in (app.metrics.overdue_rungs, app.metrics.open_gaps)]
        for one in figures:
            one.set(120)
        assert b"".join(app.metrics.write()).count(b" 120") == len(figures)
    shown = b"".join(app.metrics.write())
    for name in (b"clock_skew_seconds", b"overdue_rungs", b"open_gaps"):
        assert b"\npoller_" + name + b"{" not in shown


class Slow(EachDelivery):
    """Of a sink that is closed when all of them are being closed."""

    def __init__(self, others: list["Slow"]) -> None:
        self._others = others
        self._parts = {}
        self.added = anyio.Event()
        self.closing = anyio.Event()
        others.append(self)

    async def add(self, shard: Shard) -> None:
        assert shard.number == 0
        self.added.set()

    async def caught_up(self, patience: float = 0.0) -> None:
        assert patience == 0.0

    async def drop(self, number: int, *, lost: bool) -> None:
        assert (number, lost) == (0, False)
        self.closing.set()
        for other in self._others:
            await other.closing.wait()

    @property
    def pending(self) -> int:
        return 0


async def test_a_shard_is_closed_for_all_sinks_at_once() -> None:
    """One after the other, whoever is to go on with it would wait for each."""
    rig, sinks = Rig(), list[Slow]()
    rig.app.deliveries = [Slow(sinks), Slow(sinks), Slow(sinks)]
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.work)
            for sink in sinks:
                await sink.added.wait()
            rig.share.ending.set()
    assert all(sink.closing.is_set() for sink in sinks)
    assert not rig.app.shards[0].ours


async def test_once_does_not_wait_for_a_shard_that_was_lost_to_another() -> None:
    rig = Rig()
    rig.shifts = Shifts(rig.app, anyio.Event(), once=True, alone=False)
    owned: dict[int, object] = {0: rig.share, 1: object()}
    looked = anyio.Event()
    looked.set()
    replica = cast("Replica", SimpleNamespace(looked=looked, owned=owned))
    rested = anyio.Event()

    async def rest() -> None:
        await rig.shifts.all_rest(replica)
        rested.set()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rest)
            tasks.start_soon(rig.work)
            await rig.clock.advance(3)
            assert not rested.is_set()
            del owned[1]
            await rig.clock.advance(3)
            assert rested.is_set()
            rig.share.ending.set()
