"""Replicas share the work: killed, stopped, and replaced one after the other, on a real database and a real broker."""

import os
import signal
from pathlib import Path

import pytest
from e2e_daemon import SLOW, Trial, kafka_sink, simulation
from e2e_replicas import LEASE, in_turns, replicas
from postgres_server import Server

from poller.simulate.broker import Broker
from poller.simulate.run import simulators

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
]


async def test_replicas_that_come_go_die_and_sleep(
    broker: Broker, prefix: str, tmp_path: Path, postgres_server: Server
) -> None:
    sinks = {"kafka": kafka_sink(broker.bootstrap, prefix)}
    async with simulators(simulation()) as sims:
        with replicas(tmp_path, sims, sinks, postgres_server, prefix.replace("-", "_")) as them:
            a, b, c = them.each
            trial = Trial(a, broker.bootstrap, prefix)
            a.start()
            await them.until_shared(a)
            b.start()
            await them.until_shared(a, b)
            await trial.advance(20)
            c.start()
            await them.until_shared(a, b, c)
            await trial.advance(20)

            b.kill()
            assert await them.until_shared(a, c, seconds=LEASE + 3) > LEASE / 3, "nobody had its shards for a while"
            await trial.advance(20)
            b.start()
            await them.until_shared(a, b, c)

            os.kill(c.pid, signal.SIGSTOP)
            await them.until_shared(a, b, seconds=LEASE + 3)
            await trial.advance(20)
            os.kill(c.pid, signal.SIGCONT)
            await c.until_said("shards are dropped")
            await them.until_shared(a, b, c)
            await trial.advance(20)

            for one in (a, b, c):
                others = [other for other in (a, b, c) if other is not one]
                assert await one.stop() == 0
                assert await them.until_shared(*others, seconds=2) < 2 * SLOW
                await trial.advance(10)
                one.start()
                await them.until_shared(a, b, c)
            await trial.advance(20)
            for one in (a, b, c):
                assert await one.stop() == 0
                assert "Traceback" not in one.log.read_text(encoding="utf-8")
            assert them.owned() == {}, "what is released is free at once"
            print("polled by two for", them.polled_by_two(), "s")
            assert them.polled_by_two() < LEASE


def test_what_two_at_once_look_like_in_the_log_of_a_vendor() -> None:
    def log(hosts: str) -> list[dict[str, object]]:
        return [{"host": host, "real_time": float(second)} for second, host in enumerate(hosts)]

    assert in_turns(log("aaaabbbbbbaaaa")) == 0.0
    assert in_turns(log("aaaababababbbb")) == 6.0
