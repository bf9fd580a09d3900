"""The daemon tells whole hours: once over several lives, to the sinks that ask, beside every event that it counts."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cli_command import command
from e2e_daemon import Daemon, simulation, source, world

from poller.simulate.run import simulators

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(600)]

ONCE = command("run", "--once", "-c")
VENDORS = ("mor", "fonouc")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def test_each_hour_is_told_once_with_the_number_of_its_events(tmp_path: Path) -> None:
    told, plain = tmp_path / "told.ndjson", tmp_path / "plain.ndjson"
    sinks = {
        "told": {"kind": "ndjson", "path": str(told), "windows": True},
        "plain": {"kind": "ndjson", "path": str(plain)},
    }
    async with simulators(simulation(vendors=VENDORS, world=world(history=4 * 3_600, calls_per_minute=1))) as sims:
        sources = {vendor: source(sims, vendor, start="4h") for vendor in VENDORS}
        running = Daemon(tmp_path, sims, sinks, sources)
        try:
            for _ in range(2):
                running.start(ONCE)
                assert await running.ended(60) == 0, running.tail()
        finally:
            running.kill()
        lists = {one["endpoint"] for one in sims.things()}
    hours = [event for event in read(told) if event["type"] == "telephony.window.complete"]
    events = [event for event in read(told) if event["type"] != "telephony.window.complete"]
    assert {event["data"]["endpoint"] for event in hours} == lists
    assert all(count >= 3 for count in Counter(event["data"]["endpoint"] for event in hours).values())
    assert len({event["id"] for event in hours}) == len(hours)
    assert [event["id"] for event in read(plain)] == [event["id"] for event in events]
    calls = Counter(event["time"][:13] for event in events if event["source"] == "/poller/mor/calls")
    mine = [event["data"] for event in hours if event["data"]["endpoint"] in {"mor.user_calls", "mor.local_calls"}]
    counted = Counter[str]()
    for data in mine:
        counted[data["from"][:13]] += data["counts"]["new"] + data["counts"]["updated"]
    assert counted
    assert counted == {hour: calls[hour] for hour in counted}
