"""Replicas share the work: killed, stopped, cut off, and replaced one after the other, on a real database and a real broker."""

import os
import signal
from functools import partial
from pathlib import Path

import anyio
from e2e_daemon import Trial, kafka_sink, simulation
from e2e_replicas import LEASE, MARKS, in_turns, outages, replicas
from postgres_server import Server
from tcp_proxy import Proxy, proxy

from poller.simulate.broker import Broker
from poller.simulate.run import simulators

pytestmark = MARKS


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
                os.kill(one.pid, signal.SIGTERM)
                print("handed over after", await them.until_shared(*others, seconds=2), "s")
                assert await one.ended(15) == 0
                trial.daemon = others[0]
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


async def test_a_replica_that_is_cut_off_and_a_database_that_is_killed(
    broker: Broker, prefix: str, tmp_path: Path, postgres_server: Server
) -> None:
    sinks = {"kafka": kafka_sink(broker.bootstrap, prefix)}
    async with simulators(simulation()) as sims, proxy(postgres_server.port) as between:
        name = prefix.replace("-", "_")
        with replicas(tmp_path, sims, sinks, postgres_server, name, {"r2": between.port}) as them:
            a, b, c = them.each
            trial = Trial(a, broker.bootstrap, prefix)
            for one in (a, b, c):
                one.start()
            await them.until_shared(a, b, c)
            await trial.advance(20)

            between.frozen = True  # nothing comes through, and nobody is told
            await them.until_shared(a, b, seconds=LEASE + 3)
            await trial.advance(20)
            between.cut()
            between.frozen = False
            await them.until_shared(a, b, c)
            assert c.said("shards are dropped"), "it let go by itself"
            await trial.advance(20)

            await anyio.to_thread.run_sync(postgres_server.stop)
            try:
                sims.world.clock.move(5)
                for one in (a, b, c):
                    await one.until(partial(outages, one), 30, "a word about the store")
            finally:
                await anyio.to_thread.run_sync(postgres_server.start)
            await them.until_shared(a, b, c)
            await trial.advance(30)
            for one, others in ((a, (b, c)), (b, (c,)), (c, ())):  # so that each source changes hands
                assert await one.stop() == 0
                if others:
                    await them.until_shared(*others)
                    trial.daemon = others[0]
                    await trial.advance(10)
                assert "Traceback" not in one.log.read_text(encoding="utf-8")
            assert them.owned() == {}
            print("polled by two for", them.polled_by_two(), "s")
            assert them.polled_by_two() < LEASE


async def test_a_replica_that_cannot_reach_the_broker(
    broker: Broker, doors: list[Proxy], prefix: str, tmp_path: Path, postgres_server: Server
) -> None:
    """It goes on polling, and keeps what it finds: for itself, or for whoever has its shards next."""
    sinks = {"kafka": kafka_sink(broker.bootstrap, prefix)}
    async with simulators(simulation()) as sims:
        with replicas(tmp_path, sims, sinks, postgres_server, prefix.replace("-", "_")) as them:
            them.publish_through(doors)
            trial = Trial(them.each[0], broker.bootstrap, prefix)
            for one in them.each:
                one.start()
            await them.until_shared(*them.each)
            await trial.advance(10)
            apart = them.polling()[0]
            door, others = doors[them.each.index(apart)], [one for one in them.each if one is not apart]

            await them.cut_off_for_a_lease(apart, door)
            assert not apart.said("shards are dropped"), "what it has to do with the database is well"
            await them.until_shared(*them.each)
            door.release()
            await trial.advance(10)

            await them.cut_off_for_a_lease(apart, door)
            os.kill(apart.pid, signal.SIGTERM)
            trial.daemon = others[0]
            await them.until_shared(*others)
            assert await apart.ended(15) == 0
            await trial.advance(10)  # they publish what it had kept
            door.release()  # and what it had begun to publish comes late
            apart.start()
            await them.until_shared(*them.each)
            await trial.advance(10)
            for one in them.each:
                assert await one.stop() == 0
                assert "Traceback" not in one.log.read_text(encoding="utf-8")
            print("polled by two for", them.polled_by_two(), "s")
            assert them.polled_by_two() < LEASE


def test_what_two_at_once_look_like_in_the_log_of_a_vendor() -> None:
    def log(hosts: str) -> list[dict[str, object]]:
        return [{"host": host, "real_time": float(second)} for second, host in enumerate(hosts)]

    assert in_turns(log("aaaabbbbbbaaaa")) == 0.0
    assert in_turns(log("aaaababababbbb")) == 6.0
