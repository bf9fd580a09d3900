"""A rolling upgrade: the program from before the newest migration runs beside this one, on one database and one broker."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from anyio import to_thread
from e2e_daemon import SLOW, Daemon, Trial, kafka_sink, simulation
from e2e_replicas import LEASE, MARKS, Replicas, replicas
from postgres_server import Server

from poller.simulate.broker import Broker
from poller.simulate.run import simulators
from poller.stores.postgres import migrations

pytestmark = MARKS

KEPT = Path(__file__).parents[1] / "data" / "before"
_KNOWS = "from poller.stores.postgres import migrations; print(migrations.NEWEST, migrations.__file__)"


@pytest.fixture
async def before(tmp_path: Path) -> Path:
    """The folder of the package as it was."""
    (wheel,) = KEPT.glob("*.whl")
    folder = tmp_path / "before"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder)
    said = await to_thread.run_sync(
        lambda: subprocess.run(
            [sys.executable, "-c", _KNOWS], env={"PYTHONPATH": str(folder)}, cwd=tmp_path, capture_output=True, text=True,
            timeout=60 * SLOW, check=True,
        )
    )  # fmt: skip
    newest, where = said.stdout.split()
    assert where.startswith(str(folder))
    assert int(newest) == migrations.NEWEST - 1, f"{KEPT / 'README.md'} says how the wheel is made anew"
    return folder


def schema(them: Replicas) -> int:
    """The version of the database's."""
    ((newest,),) = them.sql("SELECT max(number) FROM poller.migration")
    return int(newest)


async def upgrade(one: Daemon) -> None:
    assert await one.stop() == 0
    one.program = None
    one.start()


async def test_replicas_are_upgraded_one_after_the_other_under_load(
    broker: Broker, prefix: str, tmp_path: Path, postgres_server: Server, before: Path
) -> None:
    name, sinks = prefix.replace("-", "_"), {"kafka": kafka_sink(broker.bootstrap, prefix)}
    async with simulators(simulation()) as sims:
        with replicas(tmp_path, sims, sinks, postgres_server, name, template="template0") as them:
            a, b, c = them.each
            trial = Trial(a, broker.bootstrap, prefix)
            a.program = b.program = before
            a.start()
            await a.until_said("listening")
            b.start()
            await them.until_shared(a, b)
            await trial.advance(20)
            assert schema(them) == migrations.NEWEST - 1

            c.start()  # migrates, while the others go on
            await them.until_shared(a, b, c)
            assert schema(them) == migrations.NEWEST
            await trial.advance(20)

            trial.daemon = b
            a.kill()
            await them.until_shared(b, c, seconds=LEASE + 3)
            await trial.advance(20)
            a.start()  # as its machine is back, still of before: it finds a schema that is newer than it is
            await them.until_shared(a, b, c)
            await trial.advance(20)

            for one, other in ((a, b), (b, a)):
                trial.daemon = other
                await upgrade(one)
                await them.until_shared(a, b, c)
                await trial.advance(20)
            for one in (a, b, c):
                assert await one.stop() == 0
                assert "Traceback" not in one.log.read_text(encoding="utf-8")
            assert them.owned() == {}
            assert them.polled_by_two() < LEASE
