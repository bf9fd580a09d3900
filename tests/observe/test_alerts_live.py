"""The shipped rules in a real Prometheus, all durations divided by one number: the real daemon is brought into trouble and out of it.

What goes wrong in different places does so at the same time, each with a daemon and a Prometheus of its own: most of it is waiting.
"""

import asyncio
import math
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from anyio import to_thread
from cli_command import run
from config_parts import HOOK_KEY, webhook
from e2e_daemon import RUNGS, Daemon, daemon, simulation, source, world
from e2e_replicas import replicas
from postgres_server import Server
from prometheus_programs import RULES, missing, shortened
from prometheus_server import Prometheus, prometheus
from tcp_proxy import proxy
from webhook_receiver import Got, receiver, says

from poller.simulate.broker import free_port
from poller.simulate.run import Simulation, Simulators, simulators
from poller.simulate.world import World

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.postgres,
    pytest.mark.prometheus,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

FACTOR = 300
LONG = 1800
"""Where what has to be waited for is half a day."""
EVERY = "500ms"


class Moods:
    """What the receiver of webhooks answers at present."""

    def __init__(self) -> None:
        self.status = 204

    async def __call__(self, got: Got, writer: asyncio.StreamWriter) -> bool | None:
        return await says(self.status)(got, writer)


class Trouble:
    """A daemon, what it depends on, and the Prometheus that watches it."""

    def __init__(self, running: Daemon, sims: Simulators, moods: Moods, server: Prometheus, folder: Path) -> None:
        self.running = running
        self.sims = sims
        self.moods = moods
        self.server = server
        self.password = folder / "password"
        self.seen: set[str] = set()

    async def fired(self, *names: str) -> None:
        """They fire."""
        await self.server.until_fired(*names)
        self.seen |= set(names)

    async def restart(self, **settings: Any) -> None:
        """With other keys of the store or of the webhook `crm`."""
        assert await self.running.stop() == 0
        self.running.settings["store"] |= {"max_bytes": "1GiB", "min_free": "64MiB", **settings.get("store", {})}
        self.running.settings["sinks"]["crm"] |= settings.get("crm", {})
        self.running.write()
        await self.start()

    async def start(self) -> None:
        """It has its store when this returns."""
        before = len(self.running.said("running"))
        self.running.start()
        await self.running.until_said("running", times=before + 1)

    async def phone_systems(self) -> None:
        """Away; with another clock; with a row that breaks every answer it is in; with records that cannot be understood."""
        names = ("PollerSourceBehind", "PollerClockSkew", "PollerOpenGap", "PollerRecordsSetAside")
        await self.server.calm(*names)
        self.sims.sites["thulium"].down = "503"
        self.sims.sites["mor"].date_skew = -120
        self.sims.sites["mor"].faults.rate("bad_record", 0.3)
        with broken_second(self.sims.world, "fonouc.cdrs"):
            await self.fired(*names)
        self.sims.sites["thulium"].down = ""
        self.sims.sites["mor"].date_skew = 0
        self.sims.sites["mor"].faults.calm()
        await self.server.until_cleared(*names)

    async def ladder(self) -> None:
        """Rows come close to the reach; a longer one, and they do so no more, which is seen much later."""
        await self.fired("PollerLadderTooShort")
        for each in self.running.settings["sources"].values():
            for endpoint in each["endpoints"].values():
                endpoint["ladder"][-1]["back"] = f"{RUNGS[-1][0] * 10}s"
        await self.restart()
        await self.server.until_cleared("PollerLadderTooShort")

    async def receiver(self) -> None:
        """Fails for now, refuses for ever, wants no more calls."""
        await self.server.calm(
            "PollerEventsWait", "PollerEventsSetAside", "PollerDeadLettersDeleted", "PollerSinkDisabled"
        )
        self.moods.status = 500
        await self.fired("PollerEventsWait")
        self.moods.status = 204
        await self.server.until_cleared("PollerEventsWait")
        self.moods.status = 422
        await self.fired("PollerEventsSetAside", "PollerDeadLettersDeleted")
        self.moods.status = 410
        await self.fired("PollerSinkDisabled")
        await self.server.until_cleared("PollerEventsWait", "PollerEventsSetAside", "PollerDeadLettersDeleted")
        self.moods.status = 204
        enable = partial(run, self.running.folder, "webhook", "enable", "crm", **self.running.environment)
        done = await to_thread.run_sync(enable)  # the other scenes go on
        assert done.returncode == 0, done.stdout + done.stderr
        await self.server.until_cleared("PollerSinkDisabled", "PollerEventsWait")

    async def credential(self) -> None:
        """Somebody changed the password; the daemon is away meanwhile."""
        await self.server.calm("PollerDown", "PollerAbsent", "PollerCredentialRefused")
        right = self.password.read_text(encoding="utf-8")
        assert await self.running.stop() == 0
        await self.fired("PollerDown", "PollerAbsent")
        self.password.write_text("wrong", encoding="utf-8")
        await self.start()
        await self.fired("PollerCredentialRefused")
        await self.server.until_cleared("PollerDown", "PollerAbsent")
        self.password.write_text(right, encoding="utf-8")
        await self.restart()
        await self.server.until_cleared("PollerCredentialRefused")

    async def store(self) -> None:
        """Full; on a full disk; locked and touched by somebody else."""
        await self.server.calm(
            "PollerPaused", "PollerStoreNearLimit", "PollerDiskLow", "PollerStoreAway", "PollerStoreRolledBack"
        )
        await self.restart(store={"max_bytes": "64KiB"})
        await self.fired("PollerPaused", "PollerStoreNearLimit")
        await self.restart(store={"min_free": "1000000GiB"})
        await self.fired("PollerDiskLow")
        await self.restart()
        await self.server.until_cleared("PollerPaused", "PollerStoreNearLimit", "PollerDiskLow")
        with closing(sqlite3.connect(self.running.store, timeout=60, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            await self.fired("PollerStoreAway")
            connection.execute("ROLLBACK")
        await self.server.until_cleared("PollerStoreAway")
        with closing(sqlite3.connect(self.running.store, timeout=60)) as connection, connection:
            connection.execute("UPDATE shard SET epoch = epoch + 1")
        await self.fired("PollerStoreRolledBack")
        await self.server.until_cleared("PollerStoreRolledBack")


def hook(url: str) -> dict[str, object]:
    return webhook(url, max_dead_letters="2KiB", schedule=["2s"] * 100)


def simulated(*vendors: str) -> Simulation:
    return simulation(vendors=vendors, world=world(exact_share=0.2, calls_per_minute=90), speed=1.0)


def new(folder: Path) -> Path:
    folder.mkdir()
    return folder


@contextmanager
def broken_second(world: World, endpoint: str) -> Iterator[None]:
    """All rows of one second of a moment ago: each answer that one of them is in is no JSON."""
    second = next(row for row, _ in world.between(endpoint, world.now() - 15, world.now())).own_time
    spoilt = [state.fields for row, _ in world.between(endpoint, second, second) for state in row.states]
    for fields in spoilt:
        fields["spoilt"] = math.nan
    try:
        yield
    finally:
        for fields in spoilt:
            del fields["spoilt"]


@asynccontextmanager
async def trouble(folder: Path, *vendors: str, factor: int = FACTOR) -> AsyncIterator[Trouble]:
    """All that belongs together, running."""
    port, moods, rules = free_port(), Moods(), shortened(RULES.read_text(encoding="utf-8"), factor)
    async with simulators(simulated(*vendors)) as sims, receiver(moods) as crm:
        sources = {vendor: source(sims, vendor) for vendor in vendors}
        if "thulium" in sources:
            (folder / "password").write_text(sims.config.thulium.password, encoding="utf-8")
            sources["thulium"]["password"] = {"file": str(folder / "password")}
        with daemon(folder, sims, {"crm": hook(crm.url())}, sources=sources) as running:
            running.settings["server"] = {"listen": f"127.0.0.1:{port}"}
            running.write()
            running.start()
            await running.until_said("running")
            async with prometheus(folder / "prometheus", free_port(), port, every=EVERY, rules=rules) as server:
                yield Trouble(running, sims, moods, server, folder)
            assert await running.stop() == 0


Scene = Callable[[Trouble], Awaitable[None]]


async def play(seen: set[str], folder: Path, scene: Scene, *vendors: str, factor: int = FACTOR) -> None:
    """Tells which alerts have fired and cleared."""
    began = time.monotonic()
    async with trouble(folder, *vendors, factor=factor) as it:
        await scene(it)
        await it.server.until_cleared(*it.seen)
        seen |= it.seen
    print(folder.name, "took", round(time.monotonic() - began), "s")


async def shards(seen: set[str], folder: Path, postgres: Server) -> None:
    """Of two replicas one dies while the other cannot reach the database."""
    name, ports = "PollerShardWithoutOwner", [free_port(), free_port()]
    rules = shortened(RULES.read_text(encoding="utf-8"), FACTOR)
    async with (
        simulators(simulation(vendors=("thulium",))) as sims,
        receiver(says(204)) as crm,
        proxy(postgres.port) as door,
    ):
        with replicas(folder, sims, {"crm": hook(crm.url())}, postgres, "alerts", {"r0": door.port}) as them:
            left, dead, _ = them.each
            for one, port in zip((left, dead), ports, strict=True):
                one.settings["server"] = {"listen": f"127.0.0.1:{port}"}
                one.write()
                one.start()
            await them.until_shared(left, dead)
            async with prometheus(folder / "prometheus", free_port(), *ports, every=EVERY, rules=rules) as server:
                await server.until_scraped(2)
                await server.calm(name)
                door.frozen = True
                dead.kill()
                await server.until_fired(name)
                door.cut()
                door.frozen = False
                await them.until_shared(left)
                await server.until_cleared(name)
            assert await left.stop() == 0
    seen.add(name)


async def test_every_alert_fires_and_clears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_server: Server
) -> None:
    monkeypatch.setenv("KEY", HOOK_KEY)
    seen: set[str] = set()
    async with anyio.create_task_group() as scenes:
        scenes.start_soon(play, seen, new(tmp_path / "phones"), Trouble.phone_systems, "mor", "thulium", "fonouc")
        scenes.start_soon(partial(play, seen, new(tmp_path / "ladder"), Trouble.ladder, "thulium", factor=LONG))
        scenes.start_soon(play, seen, new(tmp_path / "receiver"), Trouble.receiver, "thulium")
        scenes.start_soon(play, seen, new(tmp_path / "credential"), Trouble.credential, "thulium")
        scenes.start_soon(play, seen, new(tmp_path / "store"), Trouble.store, "thulium")
        scenes.start_soon(shards, seen, new(tmp_path / "shards"), postgres_server)
    assert seen == alerts(RULES.read_text(encoding="utf-8"))


def alerts(text: str) -> set[str]:
    """Those of the shipped file."""
    groups = yaml.safe_load(text)["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
