"""A Prometheus of the tests' own: scrapes a daemon or several, in a folder of its own, on a free port, gone at the end."""

import json
import math
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import yaml
from prometheus_programs import program

PATIENCE = 600.0
"""Seconds; nothing takes more than a minute, but for a loaded machine, and for what a day's window still knows."""

ANSWERED = "4s"
"""A scrape that a loaded machine has missed makes what fires begin anew; by then it would."""


class Prometheus:
    """The running server."""

    def __init__(self, port: int, log: Path) -> None:
        self.log = log
        self._since = time.time()
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)

    async def values(self, expr: str) -> list[float]:
        """What it answers to a query now, one number for each series; not a number is left out."""
        return [
            number for number in (float(one["value"][1]) for one in await self.series(expr)) if not math.isnan(number)
        ]

    async def series(self, expr: str) -> list[dict[str, Any]]:
        """The same with labels."""
        answer = await self.client.get("/api/v1/query", params={"query": expr})
        found = answer.json()
        assert found["status"] == "success", (expr, found)
        result: list[dict[str, Any]] = found["data"]["result"]
        return result

    async def ready(self) -> bool:
        """Whether it answers."""
        try:
            return (await self.client.get("/-/ready")).status_code == 200
        except httpx.TransportError:
            return False

    async def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        alerts = (await self.client.get("/api/v1/alerts")).json()["data"]["alerts"]
        return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}

    async def until_fired(self, *names: str) -> None:
        """Waits until these have fired since the last `calm`, even if one of them did so shortly."""
        deadline = time.monotonic() + PATIENCE
        while missing := set(names) - await self.fired():
            assert time.monotonic() < deadline, f"{sorted(missing)} should fire\n{self.log.read_text()[-2000:]}"
            await anyio.sleep(0.2)

    async def fired(self) -> set[str]:
        """The names of the alerts that have fired since the last `calm`."""
        span = max(1, int((time.time() - self._since) * 1000))
        found = await self.series(f'count by (alertname) (last_over_time(ALERTS{{alertstate="firing"}}[{span}ms]))')
        return {one["metric"]["alertname"] for one in found}

    async def calm(self, *names: str) -> None:
        """Waits until none of them fires; what fires from now on counts."""
        await self.until_cleared(*names)
        self._since = time.time()

    async def until_scraped(self, targets: int) -> None:
        """Waits until so many answer."""
        deadline = time.monotonic() + PATIENCE
        while len(await self.values("up == 1")) < targets:
            assert time.monotonic() < deadline, self.log.read_text()[-2000:]
            await anyio.sleep(0.2)

    async def until_cleared(self, *names: str) -> None:
        """Waits until the daemon has answered for a while and none of them fires: one that is away makes most of them fall silent."""
        deadline, left = time.monotonic() + PATIENCE, set(names)
        while not await self.values(f"min_over_time(up[{ANSWERED}]) == 1") or (
            left := set(names) & await self.firing()
        ):
            assert time.monotonic() < deadline, f"{sorted(left)} should not fire\n{self.log.read_text()[-2000:]}"
            await anyio.sleep(0.2)


@asynccontextmanager
async def prometheus(
    folder: Path, port: int, *targets: int, every: str = "1s", rules: str = ""
) -> AsyncIterator[Prometheus]:
    """Listens at `port` and scrapes the `targets`, ports too; it is ready. Leaves no process behind."""
    with _process(folder, port, targets, every, rules):
        server = Prometheus(port, folder / "log")
        async with server.client:
            deadline = time.monotonic() + PATIENCE
            while not await server.ready():
                assert time.monotonic() < deadline, server.log.read_text()
                await anyio.sleep(0.1)
            yield server


@contextmanager
def _process(folder: Path, port: int, targets: Sequence[int], every: str, rules: str) -> Iterator[None]:
    folder.mkdir()
    (folder / "rules.yaml").write_text(rules or "groups: []\n", encoding="utf-8")
    static = [{"targets": [f"127.0.0.1:{target}" for target in targets]}]
    config = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "poller", "static_configs": static}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    words = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--query.lookback-delta={'3s' if rules else '1m'}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


def panels(board: Path) -> list[tuple[str, str]]:
    """(title, expression) of every query of a dashboard, as it goes out when everything is chosen."""
    shown = json.loads(board.read_text(encoding="utf-8"))["panels"]
    return [
        (f"{board.stem}: {panel['title']}", filled(target["expr"]))
        for panel in shown
        for target in panel.get("targets", ())
    ]


def filled(expr: str, span: str = "5m") -> str:
    """With `span` for the interval, and everything for each name."""
    expr = expr.replace("$__rate_interval", span)
    for name in ("job", "instance", "source", "endpoint", "sink"):
        expr = expr.replace(f"${name}", ".+")
    return expr
