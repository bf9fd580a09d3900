"""A store moves from SQLite to 16 shards in PostgreSQL on a real broker, with a webhook: daemon, export and import are killed on the way."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from cli_command import command
from config_parts import HOOK_KEY, webhook
from e2e_daemon import Daemon, Trial, kafka_sink, simulation
from e2e_each import Inbox
from e2e_lives import lives_of
from kafka_broker import read_all
from moving_runner import RUNNER
from postgres_server import Server
from webhook_receiver import receiver

from poller.simulate.broker import Broker
from poller.simulate.run import simulators

pytestmark = [pytest.mark.anyio, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(1800)]

SHARDS = 16
COMMIT = "poller.sinks.kafka.lane.KafkaLane._transaction: producer.commit"
"""Before: the transaction is open, and everything was sent in it. After: published, and the store does not know."""
NEVER = 0
KILLS = 5
"""Of each command, before it may come to its end."""


def poller(running: Daemon, *words: str) -> subprocess.CompletedProcess[str]:
    """A command that comes to its end."""
    return _run(running, command(*words))


def killed_at(running: Daemon, step: int, *words: str) -> bool:
    """Whether the command was killed there; else it has ended well before."""
    done = _run(running, [sys.executable, RUNNER, *words], KILL_AT=str(step))
    print(*words[:2], f"killed at {step}" if done.returncode < 0 else done.stdout + done.stderr)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode < 0


def _run(running: Daemon, words: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*words, "-c", str(running.config)], env=running.environment | more, text=True, capture_output=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


async def killed_again_and_again(running: Daemon, rnd: random.Random, most: int, *words: str) -> None:
    """At a random step of each fifth of its way, in any order; at last it comes to its end. `most`: steps that it surely has."""
    fifths = rnd.sample(range(KILLS), KILLS)
    for step in [rnd.randint(fifth * most // KILLS + 1, (fifth + 1) * most // KILLS) for fifth in fifths]:
        if not await to_thread.run_sync(partial(killed_at, running, step, *words)):
            return  # it was finished: the next one has nothing to do
    assert not await to_thread.run_sync(partial(killed_at, running, NEVER, *words))


@contextmanager
def both(folder: Path, sims: Any, sinks: Any, server: Server, name: str) -> Iterator[tuple[Daemon, Daemon]]:
    """The old installation and the new one."""
    made = []
    for kind in ("old", "new"):
        (folder / kind).mkdir()
        made.append(Daemon(folder / kind, sims, sinks))
    old, new = made
    server.clone(server.template, name)
    (new.folder / "dsn").write_text(server.dsn(name), encoding="utf-8")
    new.settings["store"] = {"kind": "postgres", "dsn": {"file": "dsn"}, "shards": SHARDS, "lease": "2s"}
    new.write()
    try:
        yield old, new
    finally:
        old.kill()
        new.kill()
        server.drop(name)


async def forgotten(old: Daemon, copy: Path) -> None:
    """Somebody starts the old daemon on a copy of its store from before the export."""
    old.settings["store"]["path"] = str(copy)
    old.write()
    old.start()
    assert await old.ended(60) == 1
    said = old.log.read_text(encoding="utf-8")
    assert f"was written for a store of {SHARDS} shards, and this one has 1" in said


def same_but_for_numbers(bodies: set[bytes]) -> bool:
    """What came again under one id is the same event; where it waited, its number is another one after the move."""
    found = {json.dumps(json.loads(body) | {"sequence": ""}, sort_keys=True) for body in bodies}
    return len(found) == 1


async def each_shard_has_begun(broker: Broker, prefix: str) -> None:
    """In its own partition of the progress topic, under its own transactional id, above every number of the old store."""
    last: dict[str, tuple[int, Any]] = {}
    begins: dict[str, Any] = {}
    for record in await read_all(broker.bootstrap, [f"{prefix}.progress"]):
        key, value = record.key.decode(), json.loads(record.value)
        last[key] = record.partition, value
        if value["shards"] == SHARDS:
            begins.setdefault(key, value["seq"])
    assert {key: place for key, (place, _) in last.items()} == {f"{prefix}.kafka.{n}": n for n in range(SHARDS)}
    assert all(value["shards"] == SHARDS for _, value in last.values())
    assert len(set(begins.values())) == 1, "all begin at one number"
    assert len({value["chain"] for _, value in last.values()}) == SHARDS, "and at places that no other log has"


@pytest.mark.parametrize("edge", [f"{COMMIT} before", f"{COMMIT} after"])
async def test_killed_in_a_transaction_and_moved(
    broker: Broker, prefix: str, tmp_path: Path, postgres_server: Server, edge: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", HOOK_KEY)
    rnd, inbox = random.Random(edge), Inbox()
    async with simulators(simulation()) as sims, receiver(inbox) as hooks:
        sinks = {
            "kafka": kafka_sink(broker.bootstrap, prefix, partitions=3),
            "crm": webhook(hooks.url(), schedule=["500ms"] * 40, probe="500ms", timeout="60s"),
        }
        with both(tmp_path, sims, sinks, postgres_server, prefix.replace("-", "_")) as (old, new):
            trial = Trial(old, broker.bootstrap, prefix)
            old.start()
            await old.until_said("running")
            await trial.advance(10)
            inbox.mode = "refuses"
            await trial.advance(10)
            await old.stop()
            sims.world.clock.move(10)
            async with lives_of(old) as lives:
                await lives.begin(edge)
                assert not await lives.until(lambda: False, "an end in a transaction")
            copy = tmp_path / "copy.db"
            with closing(sqlite3.connect(old.store)) as live, closing(sqlite3.connect(copy)) as backup:
                live.backup(backup)

            file = str(tmp_path / "calls.state")
            await killed_again_and_again(old, rnd, 220, "state", "export", file)
            refused = await to_thread.run_sync(lambda: poller(old, "run"))
            assert (refused.returncode, "was exported to" in refused.stderr) == (1, True)

            await killed_again_and_again(new, rnd, 4_000, "state", "import", file)
            refused = await to_thread.run_sync(lambda: poller(old, "state", "export", "--undo"))
            assert (refused.returncode, "was imported, or that has begun" in refused.stderr) == (1, True)
            await each_shard_has_begun(broker, prefix)
            inbox.mode = "takes"
            trial.daemon = new
            new.start()
            await new.until_said("running")
            await trial.advance(30)
            wanted = {event["id"] for event in await trial.topics.read()}
            await new.until(lambda: wanted <= set(inbox.bodies), 60, "the webhook has them all")
            told = {key: set(bodies) for key, bodies in inbox.bodies.items()}
            assert all(same_but_for_numbers(bodies) for bodies in told.values())

            # Until it has heard from Kafka that its place is taken, the copy polls and calls the webhook on its own account.
            await forgotten(old, copy)
            await trial.advance(10)
            assert not new.said("the store does not share its history with what was published")
            assert not new.said("progress is gone")
            wanted = {event["id"] for event in await trial.topics.read()}
            await new.until(lambda: wanted <= set(inbox.bodies), 60, "the webhook has them all")
            assert await new.stop() == 0
            await trial.satisfied()
            published = {event["id"] for event in await trial.topics.read()}
            assert set(told) <= published <= set(inbox.bodies)
