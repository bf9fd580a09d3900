"""Kafka away: at the start, and killed under load."""

from pathlib import Path

import pytest
from anyio import to_thread
from e2e_daemon import Trial, daemon, kafka_sink, simulation, world

from poller.simulate.broker import Broker
from poller.simulate.run import simulators

pytestmark = [pytest.mark.anyio, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(1200)]


async def test_kafka_away_at_the_start_and_killed_twice_under_load(prefix: str, tmp_path: Path) -> None:
    own = Broker(tmp_path / "kafka")
    async with simulators(simulation(world=world(slack=60, change_delay=(65, 90)))) as sims:
        with daemon(tmp_path, sims, {"kafka": kafka_sink(own.bootstrap, prefix)}) as running:
            trial = Trial(running, own.bootstrap, prefix)
            running.start()
            await running.until_said("running")
            await running.until(lambda: len(running.said("polled")) > 6, 30, "polling does not wait for Kafka")
            try:
                for round_ in range(3):
                    await to_thread.run_sync(own.start)
                    await trial.until_published(100)
                    await trial.advance(40, 90)
                    if round_ < 2:
                        sims.world.clock.move(5)  # something is under way
                        await to_thread.run_sync(own.kill)
                        sims.world.clock.move(5)
                        await running.polls_more(2)
                assert await running.stop() == 0
            finally:
                await to_thread.run_sync(own.kill)
