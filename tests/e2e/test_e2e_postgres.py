"""The daemon on a real database and a real broker: it is killed, its connections are ended, the database is killed and started again."""

from pathlib import Path

import anyio
import pytest
from e2e_daemon import Daemon, Trial, daemon, kafka_sink, simulation
from postgres_server import PASSWORD, Server

from poller.simulate.broker import Broker
from poller.simulate.run import simulators

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
]


async def test_a_database_that_comes_and_goes(
    broker: Broker, prefix: str, tmp_path: Path, postgres_server: Server
) -> None:
    name = prefix.replace("-", "_")
    postgres_server.clone(postgres_server.template, name)
    (tmp_path / "dsn").write_text(postgres_server.dsn(name), encoding="utf-8")
    async with simulators(simulation()) as sims:
        with daemon(tmp_path, sims, {"kafka": kafka_sink(broker.bootstrap, prefix)}) as running:
            running.settings["store"] = {"kind": "postgres", "dsn": {"file": "dsn"}, "shards": 4}
            running.write()
            trial = Trial(running, broker.bootstrap, prefix)
            running.start()
            await running.until_said("running")
            await trial.advance(30)
            running.kill()
            sims.world.clock.move(5)
            running.start()
            await running.until_said("running", times=2)
            await trial.advance(20)
            postgres_server.throw_out(name)
            await trial.advance(20)
            assert outages(running) == [], "connections that ended are made anew, and nobody need know"
            await anyio.to_thread.run_sync(postgres_server.stop)
            try:
                sims.world.clock.move(5)
                await running.until(lambda: outages(running), 30, "a word about the store")
            finally:
                await anyio.to_thread.run_sync(postgres_server.start)
            await trial.advance(40)
            assert outages(running) in [["failing", "works again"] * times for times in (1, 2)]
            assert await running.stop() == 0
            assert PASSWORD not in running.log.read_text(encoding="utf-8")
            assert "Traceback" not in running.log.read_text(encoding="utf-8")
    postgres_server.drop(name)


def outages(running: Daemon) -> list[object]:
    """What was said of the store itself."""
    return [line["event"] for line in running.lines() if line.get("store") == "postgres"]
