"""A store moves from SQLite to PostgreSQL on a real broker: the daemon, the export and the import are killed on the way."""

import json
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from cli_command import command
from e2e_daemon import Daemon, Trial, kafka_sink, simulation
from e2e_lives import lives_of
from postgres_server import Server

from poller.simulate.broker import Broker
from poller.simulate.run import simulators

pytestmark = [pytest.mark.anyio, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(1800)]

SHARDS = 6
COMMIT = "poller.sinks.kafka.lane.KafkaLane._transaction: producer.commit"
"""Before: the transaction is open, and everything was sent in it. After: published, and the store does not know."""


def poller(running: Daemon, *words: str, cut: float | None = None) -> subprocess.CompletedProcess[str]:
    """A command; `cut`: it is killed after so many seconds, unless it has ended."""
    process = subprocess.Popen(
        [*command(*words), "-c", str(running.config)], env=running.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        out, told = process.communicate(timeout=cut or 300)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        out, told = process.communicate()
        assert cut, told
    assert "Traceback" not in told, told
    return subprocess.CompletedProcess(words, process.returncode, out, told)


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


@pytest.mark.parametrize("edge", [f"{COMMIT} before", f"{COMMIT} after"])
async def test_killed_in_a_transaction_and_moved(
    broker: Broker, prefix: str, tmp_path: Path, postgres_server: Server, edge: str
) -> None:
    sinks = {"kafka": kafka_sink(broker.bootstrap, prefix, partitions=SHARDS)}
    async with simulators(simulation()) as sims:
        with both(tmp_path, sims, sinks, postgres_server, prefix.replace("-", "_")) as (old, new):
            trial = Trial(old, broker.bootstrap, prefix)
            old.start()
            await old.until_said("running")
            await trial.advance(20)
            await old.stop()
            sims.world.clock.move(10)
            async with lives_of(old) as lives:
                await lives.begin(edge)
                assert not await lives.until(lambda: False, "an end in a transaction")
            copy = tmp_path / "copy.db"
            with closing(sqlite3.connect(old.store)) as live, closing(sqlite3.connect(copy)) as backup:
                live.backup(backup)

            file = str(tmp_path / "calls.state")
            for cut in (0.8, 1.5, 2.5):
                await to_thread.run_sync(lambda: poller(old, "state", "export", file, cut=cut))  # noqa: B023 run at once
            done = await to_thread.run_sync(lambda: poller(old, "state", "export", file, "--json"))
            assert done.returncode == 0, done.stderr
            print("exported", json.loads(done.stdout))
            refused = await to_thread.run_sync(lambda: poller(old, "run"))
            assert (refused.returncode, "was exported to" in refused.stderr) == (1, True)

            for cut in (1.2, 2.0, 4.0):
                ended = await to_thread.run_sync(lambda: poller(new, "state", "import", file, cut=cut))  # noqa: B023 as above
                if ended.returncode == 0:
                    break
                early = await to_thread.run_sync(lambda: poller(new, "status"))
                assert "Traceback" not in early.stderr
            else:
                done = await to_thread.run_sync(lambda: poller(new, "state", "import", file))
                assert done.returncode == 0, done.stderr
            trial.daemon = new
            new.start()
            await new.until_said("running")
            await trial.advance(30)
            await forgotten(old, copy)
            await trial.advance(10)
            assert not new.said("the store does not share its history with what was published")
            assert not new.said("progress is gone")
            assert await new.stop() == 0
            await trial.satisfied()
