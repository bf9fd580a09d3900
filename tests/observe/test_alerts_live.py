"""The shipped rules in a real Prometheus, all durations divided by one number: the real daemon is brought into trouble and out of it."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_command import run
from e2e_daemon import RUNGS, Daemon, daemon, simulation, source, world
from postgres_server import free_port
from prometheus_programs import RULES, missing, shortened
from prometheus_server import Prometheus, prometheus
from webhook_case import HMAC
from webhook_receiver import Got, receiver, says

from poller.simulate.run import Simulators, simulators

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.prometheus,
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

FACTOR = 300
ELSEWHERE = {"PollerOpenGap", "PollerShardWithoutOwner"}
"""A second that stays unreadable, and replicas with a database: only their unit tests so far."""


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
        """Away; with another clock; with records that cannot be understood."""
        await self.server.calm("PollerSourceBehind", "PollerClockSkew", "PollerRecordsSetAside")
        self.sims.sites["fonouc"].down = "503"
        self.sims.sites["mor"].date_skew = -120
        for site in self.sims.sites.values():
            site.faults.rate("bad_record", 0.3)
        await self.fired("PollerSourceBehind", "PollerClockSkew", "PollerRecordsSetAside", "PollerLadderTooShort")
        self.sims.sites["fonouc"].down = ""
        self.sims.sites["mor"].date_skew = 0
        for site in self.sims.sites.values():
            site.faults.calm()
        await self.server.until_cleared("PollerSourceBehind", "PollerClockSkew", "PollerRecordsSetAside")

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
        done = run(self.running.folder, "webhook", "enable", "crm", **self.running.environment)
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

    async def ladder(self) -> None:
        """A longer one: what came close to the reach does so no more, which is seen much later."""
        for each in self.running.settings["sources"].values():
            for endpoint in each["endpoints"].values():
                endpoint["ladder"][-1]["back"] = f"{RUNGS[-1][0] * 10}s"
        await self.restart()


def hook(url: str) -> dict[str, object]:
    return {
        "kind": "webhook", "url": url, "secrets": [{"env": "KEY"}], "allow": ["127.0.0.1"], "allow_http": True,
        "start_from": "earliest", "max_dead_letters": "2KiB",
    }  # fmt: skip


async def test_every_alert_fires_and_clears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", HMAC)
    text, port, moods = RULES.read_text(encoding="utf-8"), free_port(), Moods()
    config = simulation(world=world(exact_share=0.2, calls_per_minute=90), speed=1.0)
    async with simulators(config) as sims, receiver(moods) as crm:
        sources = {vendor: source(sims, vendor) for vendor in sims.config.vendors}
        (tmp_path / "password").write_text(sims.config.thulium.password, encoding="utf-8")
        sources["thulium"]["password"] = {"file": str(tmp_path / "password")}
        with daemon(tmp_path, sims, {"crm": hook(crm.url())}, sources=sources) as running:
            running.settings["server"] = {"listen": f"127.0.0.1:{port}"}
            running.write()
            running.start()
            await running.until_said("running")
            short = shortened(text, FACTOR)
            async with prometheus(tmp_path / "prometheus", free_port(), port, every="500ms", rules=short) as server:
                trouble = Trouble(running, sims, moods, server, tmp_path)
                await trouble.phone_systems()
                await trouble.ladder()
                await trouble.receiver()
                await trouble.credential()
                await trouble.store()
                await server.until_cleared(*trouble.seen)
            assert await running.stop() == 0
    assert trouble.seen == alerts(text) - ELSEWHERE


def alerts(text: str) -> set[str]:
    """Those of the shipped file."""
    groups = yaml.safe_load(text)["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
