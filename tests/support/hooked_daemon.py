"""A real daemon over a store that holds some calls already, whose sinks are webhooks; its one phone system cannot be reached."""

import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import yaml
from cli_command import command, run
from delivery_events import call_event

from poller import segment
from poller.admin_client import alive
from poller.model import PageCommit
from poller.stores.sqlite import Config, open_store

PATIENCE = 240.0
"""Seconds; nothing here takes more than a few, but for a loaded machine."""


class HookedDaemon:
    """Its folder and what it says."""

    def __init__(self, folder: Path, sinks: Mapping[str, Any], env: Mapping[str, str]) -> None:
        self.folder = folder
        self.env = {**os.environ, "PASSWORD": "geheim", "TERM": "dumb", **env}
        office = {
            "kind": "thulium", "base_url": "http://127.0.0.1:9/api", "username": "me", "password": {"env": "PASSWORD"},
            "endpoints": {"connections": {}},
        }  # fmt: skip
        config = {
            "store": {"kind": "sqlite", "path": "poller.db"},
            "server": {"listen": "127.0.0.1:0"},
            "admin": {"socket": "p.sock"},
            "log": {"level": "debug"},
            "sinks": {name: {"kind": "webhook", "start_from": "earliest", **sink} for name, sink in sinks.items()},
            "sources": {"office": office},
        }
        (folder / "poller.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    async def fill(self, *calls: str) -> None:
        """Puts calls into the log, one commit for each. Only while no daemon runs."""
        store = await open_store(Config(path=self.folder / "poller.db"))
        try:
            held = await store.hold(0)
            for call in calls:
                event = call_event(call, held.last.seq + 1, at=time.time())
                assert event.seen is not None
                packed = segment.pack([event], held.last, time.time())
                held = await store.commit_page(held, PageCommit(segment=packed, seen=[(event.seen, packed.last)]))
        finally:
            await store.close()

    def _start(self) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command("run"), cwd=self.folder, env=self.env, stdout=log, stderr=log)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The daemon runs; its log is appended to the earlier ones'. Leaves no process behind."""
        process = self._start()
        try:
            await until(lambda: alive(self.folder / "p.sock") or process.poll() is not None, self.log)
            yield
            process.terminate()
            assert await anyio.to_thread.run_sync(process.wait, PATIENCE) == 0, self.log()
        finally:
            process.kill()
            process.wait(60)

    async def poller(self, *words: str, code: int = 0) -> str:
        """`poller …`: all that it says."""
        done = await anyio.to_thread.run_sync(partial(run, self.folder, *words, **self.env))
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        return said

    async def webhook(self, name: str) -> dict[str, Any]:
        """Its status."""
        found: dict[str, Any] = json.loads(await self.poller("webhook", "status", name, "--json"))[0]
        return found

    async def until_webhook(self, name: str, what: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Waits until its status is so."""
        deadline = time.monotonic() + PATIENCE
        while not what(found := await self.webhook(name)):
            assert time.monotonic() < deadline, (found, self.log())
            await anyio.sleep(0.2)
        return found

    def log(self) -> str:
        """What all its lives said."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def metrics_port(self) -> int:
        """Of the life that runs."""
        lines = [json.loads(line) for line in self.log().splitlines() if '"listening"' in line]
        return int(lines[-1]["metrics_port"])


async def until(what: Callable[[], object], told: Callable[[], str] = str) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, told()
        await anyio.sleep(0.05)
