"""The phone systems' zones (Europe/Vilnius, Europe/Warsaw) change their clocks while a daemon reads: an hour comes twice, or never."""

import json
import math
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from chaos_clock import WrongClock
from e2e_daemon import ALL, SLOW, Daemon, counts, daemon, simulation, source, world

from poller.simulate.judge import Verdict, judge
from poller.simulate.run import simulators

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(600)]

BEFORE, STEP, STEPS = 40 * 60, 20 * 60, 6
"""Seconds before the change at which it begins; how far time goes at once, and how often."""


@pytest.mark.parametrize(
    "change", [datetime(2026, 10, 25, 1, tzinfo=UTC), datetime(2027, 3, 28, 1, tzinfo=UTC)], ids=["back", "ahead"]
)
async def test_calls_of_the_doubled_and_of_the_missing_hour_come_once(change: datetime, tmp_path: Path) -> None:
    at = change.timestamp() - BEFORE
    quiet = world(calls_per_minute=2, slack=2, exact_share=0)
    async with simulators(simulation(world=quiet, at=at)) as sims:
        sink = {"kind": "ndjson", "path": str(tmp_path / "events"), "start_from": "earliest"}
        sources = {vendor: source(sims, vendor, start="2h") for vendor in sims.config.vendors}
        sources["mor"]["timezone"] = "Europe/Vilnius"  # else some rows of the doubled hour are left to the longer rungs
        with daemon(tmp_path, sims, {"file": sink}, sources=sources) as running:
            clock = WrongClock(tmp_path / "clock")
            clock.jump(at - time.time())
            running.start(clock.command())
            longest = 0.0
            for _ in range(STEPS):
                longest = max(longest, await until_whole(running))
                clock.jump(STEP)
                sims.world.clock.move(STEP)
            longest = max(longest, await until_whole(running))
            verdict = compare(running)
            hours = [change.timestamp() - 3600, change.timestamp() + 3600]
            inside = [thing for thing in sims.things() if hours[0] <= thing["own_time"] < hours[1]]
            assert len(inside) > 300
            assert await running.stop() == 0
    print(f"{len(inside)} things in the hours around the change; {counts(verdict)}; all there after {longest:.1f} s")


async def until_whole(running: Daemon) -> float:
    """Waits until nothing is missing; after how many seconds."""
    began = looked = time.monotonic()
    while not (verdict := compare(running)).ok:
        wrong = verdict.twice or verdict.updates_repeated or verdict.unknown
        assert not wrong, verdict
        assert looked - began < 40 * SLOW, f"{verdict}\n{running.tail()}"
        await anyio.sleep(0.2 + 4 * (time.monotonic() - looked))  # the phone systems answer from this loop too
        looked = time.monotonic()
    return time.monotonic() - began


def compare(running: Daemon) -> Verdict:
    """The truth and the file now. Of a call that went through several states in one step, the last one."""
    sims = running.sims
    return judge(sims.things(), events(running), endpoints=ALL, due=sims.world.now(), least_visible=math.inf)


def events(running: Daemon) -> list[dict[str, Any]]:
    """Whole lines."""
    path = running.folder / "events"
    said = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in said[: said.rfind("\n") + 1].splitlines()]
