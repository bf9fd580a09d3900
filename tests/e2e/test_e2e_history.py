"""Stores that were replaced, emptied or rolled back, transactions that strangers leave open, and long outages."""

import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import e2e_hurried
import pytest
from aiokafka import AIOKafkaProducer
from anyio import to_thread
from e2e_daemon import STEP, Daemon, Trial, daemon, kafka_sink, simulation, world
from e2e_lives import copy_store, put_store

from poller.simulate.broker import Broker
from poller.simulate.run import simulators
from poller.simulate.world import WorldOptions

pytestmark = [pytest.mark.anyio, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(1200)]


@asynccontextmanager
async def trial_of(folder: Path, bootstrap: str, prefix: str, options: WorldOptions) -> AsyncIterator[Trial]:
    """A daemon that has published something."""
    async with simulators(simulation(world=options)) as sims:
        with daemon(folder, sims, {"kafka": kafka_sink(bootstrap, prefix)}) as running:
            trial = Trial(running, bootstrap, prefix)
            running.start()
            await trial.until_published(200)
            await trial.advance(60)
            yield trial


def last_seq(store: Path) -> tuple[int, int]:
    """The last number of the log, and up to where the sink has it."""
    connection = sqlite3.connect(store, timeout=10)
    try:
        (last,) = connection.execute("SELECT max(last) FROM segment").fetchone()
        (position,) = connection.execute("SELECT seq FROM position").fetchone()
        return int(last), int(position)
    finally:
        connection.close()


async def undelivered(running: Daemon, trial: Trial) -> None:
    """With Kafka away: waits until the store holds events that nobody has."""
    trial.sims.world.clock.move(2 * STEP)

    def waiting() -> bool:
        last, position = last_seq(running.store)
        return last >= position + 5

    await running.until(waiting, 30, "events that are not delivered")


async def test_store_replaced_by_a_copy_with_undelivered_events_and_then_by_an_older_one(
    prefix: str, tmp_path: Path
) -> None:
    own = Broker(tmp_path / "kafka")
    await to_thread.run_sync(own.start)
    try:
        async with trial_of(tmp_path, own.bootstrap, prefix, world(slack=60, change_delay=(65, 80))) as trial:
            running = trial.daemon
            older, copy = tmp_path / "older.db", tmp_path / "copy.db"
            copy_store(running.store, older)
            await trial.advance(20)
            await to_thread.run_sync(own.kill)
            await undelivered(running, trial)
            copy_store(running.store, copy)
            last, position = last_seq(copy)
            assert last > position, "the copy has to hold events that were not delivered"
            await to_thread.run_sync(own.start)
            await trial.advance(20, 90)
            running.kill()

            # The copy comes back while Kafka is away: a first new commit, and no transaction.
            await to_thread.run_sync(own.kill)
            put_store(copy, running.store)
            running.start()
            trial.sims.world.clock.move(STEP)
            await running.until(lambda: last_seq(running.store)[0] > last, 40, "a commit on the copy")
            running.kill()
            await to_thread.run_sync(own.start)

            put_store(older, running.store)
            running.start()
            await running.until_said("the store is healed")
            await trial.advance(30, 90)
            assert await running.stop() == 0

            # And the copy once more, after all that.
            put_store(copy, running.store)
            running.start()
            await running.until_said("the store is healed", times=2)
            await trial.advance(20, 90)
            assert await running.stop() == 0
    finally:
        await to_thread.run_sync(own.kill)


async def test_emptied_store_reads_back_what_was_published(broker: Broker, prefix: str, tmp_path: Path) -> None:
    async with trial_of(tmp_path, broker.bootstrap, prefix, world(slack=100, change_delay=(105, 130))) as trial:
        running = trial.daemon
        running.kill()
        put_store(None, running.store)
        trial.sims.world.clock.move(STEP)
        running.start([sys.executable, e2e_hurried.__file__])  # else a minute is waited for another installation
        await running.until_said("the store is healed", 120)
        await trial.advance(40, 90)
        assert await running.stop() == 0


async def test_foreign_transaction_on_our_progress_partition_while_killed_and_restarted(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    async with trial_of(tmp_path, broker.bootstrap, prefix, world(slack=60, change_delay=(65, 80))) as trial:
        running = trial.daemon
        foreign = AIOKafkaProducer(
            bootstrap_servers=broker.bootstrap, transactional_id=f"{prefix}-foreign", transaction_timeout_ms=600_000
        )
        await foreign.start()
        try:
            await foreign.begin_transaction()
            await (await foreign.send(f"{prefix}.progress", b"open", key=b"foreign", partition=0))
            # Its progress goes on behind the open transaction, where readers of committed records do not see it.
            position = last_seq(running.store)[1]
            trial.sims.world.clock.move(STEP)
            await running.until(lambda: last_seq(running.store)[1] > position, 30, "a delivery behind the transaction")
            running.kill()
            trial.sims.world.clock.move(STEP)
            running.start()
            # Whatever is seen meanwhile: nothing may come twice.
            await running.until(lambda: "an open transaction hides" in running.tail(), 40, "the sentence about it")
            assert not (await trial.verdict(due=0)).twice
            await foreign.abort_transaction()
        finally:
            await foreign.stop()
        await trial.advance(30, 90)
        assert await running.stop() == 0


async def test_outage_of_a_vendor_longer_than_the_ladder_reaches(broker: Broker, prefix: str, tmp_path: Path) -> None:
    """60 seconds are the ladder's reach; 5 minutes pass."""
    options = world(slack=400, change_delay=(450, 500), late_max=20)
    async with trial_of(tmp_path, broker.bootstrap, prefix, options) as trial:
        running = trial.daemon
        for site, down in zip(trial.sims.sites.values(), ("refuse", "503", "hang"), strict=True):
            site.down = down  # type: ignore[assignment]
        await running.until(lambda: len(running.said("failing")) >= 3, 40, "the outage is noticed")
        trial.sims.world.clock.move(300)
        for site in trial.sims.sites.values():
            site.down = ""
        await trial.advance(20, 120)
        assert await running.stop() == 0
