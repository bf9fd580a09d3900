"""A replay and a retry of dead letters while two real replicas run, asked of one or beside them: each event once for each time
that somebody asks.
"""

from collections import Counter
from pathlib import Path

import anyio
from cli_command import command
from delivery_events import call_event
from e2e_daemon import SLOW, Daemon, Trial, kafka_sink, simulation
from e2e_replicas import MARKS, SHARDS, replicas
from kafka_broker import read_all
from postgres_server import Server

from poller.admin_client import connect
from poller.model import DeadEvent, Position
from poller.simulate.broker import Broker
from poller.simulate.run import simulators
from poller.stores.postgres import Config, open_store

pytestmark = MARKS


async def bury(dsn: str) -> list[str]:
    """What an earlier life set aside: a letter in each shard. The ids of its event."""
    config = Config.model_validate({"dsn": dsn, "shards": SHARDS}, context={"literals": True})
    store, ids = await open_store(config), []
    for shard in range(SHARDS):
        event = call_event(f"dead-{shard}", 1)
        letter = DeadEvent(
            id=f"kafka-{shard}", sink="kafka", shard=shard, seq=1, reason="too_large", error="10", event=event, at=1.0
        )
        await store.delivered(await store.hold(shard), "kafka", Position(), [letter])
        ids.append(event.id)
    await store.close()
    return ids


async def poller(daemon: Daemon, *words: str) -> str:
    """A command beside that daemon; what it printed."""
    with anyio.fail_after(120 * SLOW):
        done = await anyio.run_process(
            command(*words, "-c", str(daemon.config)), env=daemon.environment, cwd=daemon.folder, check=False
        )
    assert done.returncode == 0, done.stderr.decode() + daemon.tail()
    return done.stdout.decode()


async def delivered(daemon: Daemon) -> None:
    """Nothing waits in any shard, whoever works on it."""
    with anyio.fail_after(60 * SLOW):
        while True:
            async with connect(daemon.folder / "admin.sock") as there:
                assert there is not None, daemon.tail()
                if [sink.pending for sink in (await there.status()).sinks] == [0]:
                    return
            await anyio.sleep(0.2)


async def told_apart(one: Daemon, other: Daemon) -> tuple[Daemon, Daemon]:
    """Who is asked, and who works on the shard of a source that the first one does not work on: which that is depends on names."""
    async with connect(one.folder / "admin.sock") as there:
        assert there is not None, one.tail()
        shards = (await there.status()).shards
    return (one, other) if any(shard.sources and not shard.here for shard in shards) else (other, one)


class Read:
    """What consumers find: how often each id came first, and how often as a replay."""

    def __init__(self) -> None:
        self.first = Counter[str]()
        self.again = Counter[str]()

    @classmethod
    async def everything(cls, broker: Broker, prefix: str) -> "Read":
        found = cls()
        for record in await read_all(broker.bootstrap, [f"{prefix}.calls", f"{prefix}.recordings"]):
            headers = dict(record.headers)
            (found.again if "poller-replay" in headers else found.first)[headers["ce_id"].decode()] += 1
        return found


async def test_a_replay_and_a_retry_reach_the_shards_of_the_other_replica(
    broker: Broker, prefix: str, tmp_path: Path, postgres_server: Server
) -> None:
    name = prefix.replace("-", "_")
    sinks = {"kafka": kafka_sink(broker.bootstrap, prefix)}
    async with simulators(simulation()) as sims:
        with replicas(tmp_path, sims, sinks, postgres_server, name) as them:
            dead = await bury(postgres_server.dsn(name))
            for one in them.each[:2]:
                one.start()
                await one.until_said("listening")
            await them.until_shared(*them.each[:2])
            a, b = await told_apart(*them.each[:2])
            trial = Trial(a, broker.bootstrap, prefix)
            await trial.advance(20)
            await delivered(a)
            before = await Read.everything(broker, prefix)

            await poller(a, "replay", "--sink", "kafka", "--since", "1d")
            await delivered(a)
            found = await Read.everything(broker, prefix)
            once(found, before, times=1)
            assert not set(dead) & found.first.keys()

            await poller(them.each[2], "dead-letters", "retry", "--sink", "kafka")  # where no daemon runs
            await delivered(a)
            found = await Read.everything(broker, prefix)
            assert [found.first[one] for one in dead] == [1] * SHARDS
            assert "kafka-" not in await poller(a, "dead-letters", "list")

            b.kill()  # its shards are nobody's for a while: whoever takes them does what is asked meanwhile
            await poller(a, "replay", "--sink", "kafka", "--since", "1d")
            await delivered(a)
            once(await Read.everything(broker, prefix), before, times=2)
            assert await a.stop() == 0
            assert "Traceback" not in a.log.read_text(encoding="utf-8") + b.log.read_text(encoding="utf-8")
            assert them.sql("SELECT count(*) FROM poller.errand") == [(0,)], "none is left lying"


def once(found: Read, before: Read, *, times: int) -> None:
    """For each replay."""
    assert before.first
    assert {found.again[one] for one in before.first} == {times}
    assert max(found.again.values()) == times
    assert set(found.first.values()) == {1}
    assert not found.again.keys() - found.first.keys()
