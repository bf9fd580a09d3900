"""SIGTERM under load, restarts, and daemons that may not start."""

import socket
from pathlib import Path

import pytest
from e2e_daemon import Trial, daemon, kafka_sink, simulation, world

from poller.simulate.broker import Broker
from poller.simulate.run import simulators

pytestmark = [pytest.mark.anyio, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(1200)]


async def test_sigterm_under_load_ends_in_time_and_a_restart_goes_on(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    async with simulators(simulation(world=world(slack=40, change_delay=(45, 60)))) as sims:
        with daemon(tmp_path, sims, {"kafka": kafka_sink(broker.bootstrap, prefix)}) as running:
            trial = Trial(running, broker.bootstrap, prefix)
            running.settings["shutdown_grace"] = "100s"  # enough for all that is under way, also on a slow machine
            running.write()
            for life in range(3):
                running.start()
                await running.until_said("running", times=life + 1)
                sims.world.clock.move(5)
                await running.polls_more(2)
                assert await running.stop(20) == 0
            assert len(running.said("stopped")) == 3
            assert running.said("stopped")[-1]["pending"] == 0
            running.start()
            await running.until_said("running", times=4)
            await trial.advance(100)
            assert await running.stop() == 0


async def test_second_daemon_on_one_store_is_refused(broker: Broker, prefix: str, tmp_path: Path) -> None:
    sinks = {"kafka": kafka_sink(broker.bootstrap, prefix)}
    (tmp_path / "second").mkdir()
    async with simulators(simulation(vendors=("thulium",))) as sims:
        with daemon(tmp_path, sims, sinks) as first, daemon(tmp_path / "second", sims, sinks) as second:
            first.start()
            await first.until_said("running")
            second.settings["store"] = first.settings["store"]
            second.write()
            second.start()
            assert await second.ended(30) in {1, 2}
            assert f"in use by another poller (pid {first.pid})" in second.tail()
            assert "Traceback" not in second.tail()
            assert await first.stop() == 0


async def test_taken_port_is_said_in_one_sentence(broker: Broker, prefix: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with simulators(simulation(vendors=("thulium",))) as sims:
            with daemon(tmp_path, sims, {"kafka": kafka_sink(broker.bootstrap, prefix)}) as running:
                running.settings["server"] = {"listen": f"127.0.0.1:{port}"}
                running.write()
                running.start()
                assert await running.ended(30) == 2
                assert f"cannot listen at 127.0.0.1:{port}" in running.tail()
                assert "Traceback" not in running.tail()
