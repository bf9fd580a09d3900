"""A real Prometheus scrapes the real daemon over simulated phone systems: every panel of every dashboard shows something."""

import asyncio
import itertools
import time
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from config_parts import HOOK_KEY, webhook
from e2e_daemon import daemon, simulation, source, world
from prometheus_programs import DASHBOARDS, missing, promtool
from prometheus_server import PATIENCE, Prometheus, panels, prometheus
from series_bound import bound, count
from webhook_receiver import Answer, Got, receiver, says

from poller.simulate.broker import free_port
from poller.simulate.run import Simulators, simulators

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.prometheus,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

FAULTS = {"http_500": 0.03, "html_200": 0.03, "bad_record": 0.03, "duplicate_rows": 0.05, "repeat_page": 0.1, "echo_wrong": 0.02,
          "shrinking_total": 0.2, "filter_ignored": 0.03}  # fmt: skip
"""What makes polls fail, answers suspicious and records unreadable."""
QUERIES = [pair for name in ("overview", "source", "delivery") for pair in panels(DASHBOARDS / f"{name}.json")]


def moody() -> Answer:
    """Takes most events; some fail for now, some for ever."""
    turns = itertools.cycle([says(204)] * 5 + [says(500)] + [says(204)] * 3 + [says(422)])

    async def answer(got: Got, writer: asyncio.StreamWriter) -> bool | None:
        return await next(turns)(got, writer)

    return answer


def hook(url: str) -> dict[str, object]:
    return webhook(url, concurrency=2)


def sources(sims: Simulators) -> dict[str, object]:
    return {vendor: source(sims, vendor) for vendor in sims.config.vendors}


async def until_each_shows(server: Prometheus) -> dict[str, list[float]]:
    """Every query until it has a number, above 0 where it counts something; what it had."""
    left, shown = dict.fromkeys(QUERIES), dict[str, list[float]]()
    deadline = time.monotonic() + PATIENCE
    while left:
        for title, expr in list(left):
            values = await server.values(expr)
            if values and (max(values) > 0 or not ("rate(" in expr or "increase(" in expr)):
                shown[f"{title}: {expr}"] = values
                del left[title, expr]
        assert time.monotonic() < deadline, "empty: " + "\n".join(f"{title}: {expr}" for title, expr in left)
        await anyio.sleep(1)
    return shown


async def test_every_panel_shows_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", HOOK_KEY)
    port = free_port()
    config = simulation(world=world(late_share=0.1, late_max=58, exact_share=0.1, slack=30), speed=1.0, faults=FAULTS)
    async with simulators(config) as sims, receiver(moody()) as crm, receiver(says(410)) as gone:
        sinks = {
            "file": {"kind": "ndjson", "path": str(tmp_path / "events.ndjson")},
            "crm": hook(crm.url()),
            "gone": hook(gone.url()),
        }
        with daemon(tmp_path, sims, sinks, sources=sources(sims)) as running:
            running.settings["server"] = {"listen": f"127.0.0.1:{port}"}
            running.settings["store"]["max_bytes"] = "1GiB"
            running.write()
            running.start()
            await running.until_said("running")
            async with prometheus(tmp_path / "prometheus", free_port(), port) as server:
                shown = await until_each_shows(server)
                assert len(shown) == len(set(QUERIES))
                await check_the_endpoint(port, running.settings)
            assert await running.stop() == 0


async def check_the_endpoint(port: int, settings: dict[str, Any]) -> None:
    """The names and texts of what the daemon says are as Prometheus wants them."""
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"http://127.0.0.1:{port}/metrics", timeout=60)).text
    for words in (("check", "metrics"), ("check", "metrics", "--extended")):
        code, said = promtool(*words, text=text)
        assert code == 0, said
    kinds = [(source["kind"], name) for source in settings["sources"].values() for name in source["endpoints"]]
    most = bound(
        lists=len(kinds), sources=len(settings["sources"]), kinds=len(set(kinds)) + 1, sinks=len(settings["sinks"])
    )
    print(f"series: {count(text)} of at most {most}")
    assert count(text) <= most
