"""The daemon of the demo: its configuration, its process, and what it says about itself."""

import atexit
import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import yaml
from prometheus_client.parser import text_string_to_metric_families

from poller.admin_client import connect
from poller.errors import PollerError
from poller.operations import Status
from poller.simulate.broker import end_of, free_port
from poller.simulate.run import Simulators

Figures = dict[tuple[str, ...], float]
"""Metric name and label values → value."""

RUNGS = ((20, 1), (120, 5))
"""(back, every) in seconds, as the truth expects it."""
LONGER = (300, 15)
"""One rung more, as a real ladder has for its usual lateness: rows that come exactly at a rung's reach are shown to one pass of
it, and a vendor that answers that one with an empty list hides them from it without a sign."""
TOPICS = {"call": "telephony.calls", "recording": "telephony.recordings"}
GRACE = 10
"""Seconds that the daemon has for its end."""
_SCRAPE = 5.0
_UNSEEN = 15.0
"""Seconds after which a state that a pass just missed is surely seen, on a slow machine too."""
_WARNING = re.compile(r"\[(warning|error|critical) *\]|Traceback|Error: ")
_ENDPOINTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "mor": {"user_calls": {}, "local_calls": {"users": [0, 2, 3, 5, 9, 14]}, "recordings": {}},
    "thulium": {"connections": {}, "recordings": {}},
    "fonouc": {"cdrs": {"page_size": 50}, "recordings": {"page_size": 50}},
}


def write_config(folder: Path, sims: Simulators, bootstrap: str | None) -> int:
    """Writes `poller.yaml` for these simulators and, where there is one, the broker. Returns the port of /metrics."""
    port = free_port()
    settings = {
        "store": {"kind": "sqlite", "path": "poller.db"},
        "shutdown_grace": f"{GRACE}s",
        "server": {"listen": f"127.0.0.1:{port}"},
        "admin": {"socket": "poller.sock"},
        "log": {"format": "console", "level": "info"},
        "sinks": {"kafka": _kafka(bootstrap)} if bootstrap else {"file": _ndjson(folder)},
        "sources": {vendor: _source(sims, vendor) for vendor in _ENDPOINTS},
    }
    (folder / "poller.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return port


def _kafka(bootstrap: str) -> dict[str, Any]:
    return {"kind": "kafka", "bootstrap_servers": [bootstrap], "topics": TOPICS, "partitions": 3}


def _ndjson(folder: Path) -> dict[str, Any]:
    return {"kind": "ndjson", "path": str(folder / "events.ndjson")}


def _source(sims: Simulators, vendor: str) -> dict[str, Any]:
    ladder = [
        {"back": f"{back}s", "every": f"{every}s" if index else "poll"}
        for index, (back, every) in enumerate((*RUNGS, LONGER))
    ]
    quick = {"interval": "1s", "start": "10m", "settle": "1s", "timeout": "5s", "ladder": ladder}
    endpoints = {name: quick | dict(own) for name, own in _ENDPOINTS[vendor].items()}
    return sims.source(vendor) | {"concurrency": 2, "endpoints": endpoints}


class Presence:
    """When nobody polled: while the daemon started, and from the last look at one that was killed to the first at the next."""

    def __init__(self) -> None:
        self._spells: list[tuple[float, float]] = []
        self._seen = -inf

    def looked(self, status: Status | None, now: float) -> None:
        """What it said at this moment of the world; nothing counts before every list has been read once in this life."""
        if status is None or any((each.last_success or 0.0) < (status.started_at or 0.0) for each in status.endpoints):
            return
        if now - self._seen > _UNSEEN:
            self._spells.append((self._seen, now))
        self._seen = now

    def missed(self, life: Mapping[str, Any]) -> bool:
        """Whether a state may have come and gone while nobody polled."""
        begin, end = life["visible_at"], inf if life["gone_at"] is None else life["gone_at"]
        return any(begin > last - _UNSEEN and end < first + _UNSEEN for last, first in self._spells)


class Daemon:
    """`poller run` as a process of its own, out of reach of the terminal's Ctrl-C."""

    def __init__(self, folder: Path, port: int, secrets: Mapping[str, str]) -> None:
        self._folder = folder
        self._port = port
        self._environment = {**os.environ, **secrets}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the process; its log is appended to daemon.log."""
        atexit.register(self.kill)
        with (self._folder / "daemon.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "poller.cli", "run", "-c", "poller.yaml"],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def ended(self) -> int | None:
        """The exit code once the process is gone, minus the signal where one killed it."""
        return None if self._process is None else self._process.poll()

    async def stop(self) -> None:
        """SIGTERM; SIGKILL where it takes longer than its grace. Not interrupted by a cancellation."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._wait)
        atexit.unregister(self.kill)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(30)

    def _wait(self) -> None:
        assert self._process is not None  # noqa: S101 for the types
        try:
            self._process.wait(GRACE + 5)
        except subprocess.TimeoutExpired:
            self.kill()

    async def figures(self) -> Figures:
        """What /metrics shows; empty while nobody answers there."""
        return await anyio.to_thread.run_sync(self._scrape)

    def _scrape(self) -> Figures:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_SCRAPE)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            return {}
        finally:
            connection.close()
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def status(self) -> Status | None:
        """What its admin socket says; None while nobody answers there."""
        try:
            async with connect(self._folder / "poller.sock") as daemon:
                return None if daemon is None else await daemon.status()
        except PollerError:
            return None

    def last_words(self) -> str:
        """The end of its log, for an error."""
        return end_of(self._log())

    def warnings(self) -> list[str]:
        """The last warnings and errors of its log."""
        return [line[:400] for line in self._log().splitlines() if _WARNING.search(line)][-12:]

    def _log(self) -> str:
        return (self._folder / "daemon.log").read_text(encoding="utf-8", errors="replace")
