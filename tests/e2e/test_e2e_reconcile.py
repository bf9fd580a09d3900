"""`poller reconcile` against the simulated vendors: what was published is found again, without a daemon and beside one."""

import json
from pathlib import Path
from typing import Any

import pytest
from anyio import run_process
from cli_command import command
from e2e_daemon import Daemon, simulation, source, world

from poller.simulate.run import simulators

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(600)]

VENDORS = ("mor", "thulium", "fonouc")


async def reconcile(running: Daemon, vendor: str, *more: str) -> dict[str, Any]:
    done = await run_process(
        [*command("reconcile", vendor, "-c"), str(running.config), "--from", "50m", "--until", "10m", "--json", *more],
        env=running.environment, check=False,
    )  # fmt: skip
    figures: dict[str, Any] = json.loads(done.stdout or b"{}")
    assert done.returncode == (0 if figures.get("equal") else 1), done.stderr.decode()
    return figures


async def test_everything_is_found_again_as_it_was_published(tmp_path: Path) -> None:
    sinks = {"out": {"kind": "ndjson", "path": str(tmp_path / "out.ndjson")}}
    async with simulators(simulation(vendors=VENDORS, world=world(history=3_600, calls_per_minute=2))) as sims:
        running = Daemon(tmp_path, sims, sinks, {vendor: source(sims, vendor, start="1h") for vendor in VENDORS})
        try:
            running.start(command("run", "--once", "-c"))
            assert await running.ended(60) == 0, running.tail()
            for vendor in VENDORS:
                figures = await reconcile(running, vendor)
                assert (figures["equal"], figures["error"]) == (True, None), figures
                assert figures["records"] > 20
            running.start()
            await running.until_said("running")
            figures = await reconcile(running, "mor", "--endpoint", "user_calls")
            assert (figures["equal"], len(figures["pieces"])) == (True, 1), figures
            assert await running.stop() == 0
        finally:
            running.kill()
