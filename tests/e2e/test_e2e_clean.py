"""The daemon against the three vendors and a real broker: everything there, everything once."""

from pathlib import Path

import pytest
from e2e_daemon import ALL, Trial, daemon, kafka_sink, simulation

from poller.simulate.broker import Broker
from poller.simulate.run import simulators

pytestmark = [pytest.mark.anyio, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(1200)]


async def test_clean_run_publishes_every_thing_and_every_state_once(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    async with simulators(simulation()) as sims:
        with daemon(tmp_path, sims, {"kafka": kafka_sink(broker.bootstrap, prefix)}) as running:
            trial = Trial(running, broker.bootstrap, prefix)
            running.start()
            await running.until_said("running")
            verdict = await trial.advance(120)
            assert {thing["endpoint"] for thing in sims.things()} == ALL
            assert verdict.updates_expected > 100, "a world without changes proves nothing about updates"
            assert await running.stop() == 0
