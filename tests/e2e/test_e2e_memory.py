"""Memory: idle, and while an answer of very many calls streams through."""

from pathlib import Path

import pytest
from e2e_daemon import daemon, kafka_sink, simulation, world
from e2e_memory import measure, resident

from poller.simulate.broker import Broker
from poller.simulate.run import simulators

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(1200)]

CALLS = 200_000
"""benchmarks/bench_memory.py does the same with 1,000,000."""


async def test_large_answer_streams_through_in_bounded_memory(tmp_path: Path) -> None:
    memory = await measure(tmp_path, CALLS, 180)
    print(f"{CALLS} calls in {memory.seconds:.0f} s: idle {memory.idle:.0f} MiB, at most {memory.peak:.0f} MiB")
    assert memory.idle < 80
    assert memory.peak - memory.idle < 150


@pytest.mark.kafka
async def test_idle_daemon_with_all_vendors_and_kafka_stays_small(broker: Broker, prefix: str, tmp_path: Path) -> None:
    async with simulators(simulation(world=world(calls_per_minute=0))) as sims:
        with daemon(tmp_path, sims, {"kafka": kafka_sink(broker.bootstrap, prefix)}) as running:
            running.start()
            await running.until_said("running")
            asked = sum(sum(site.requests.values()) for site in sims.sites.values())
            await running.until(
                lambda: sum(sum(site.requests.values()) for site in sims.sites.values()) > asked + 100, 30, "polling"
            )
            found = resident(running.pid)
            print(f"idle with everything: {found:.0f} MiB")
            assert found < 80
            assert await running.stop() == 0
