"""One real hour: the daemon as a process of its own, a real broker, the phone systems' simulators, a webhook's receiver, a scrape
every ten seconds. What goes wrong now and then: vendors' faults, a vendor that is away, a receiver that refuses or hangs, a
broker that is killed.
"""

import argparse
import hashlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import anyio
import httpx
import msgspec
import soak_figures
from config_parts import HOOK_KEY, ladder, webhook
from e2e_daemon import ALL, Daemon, Topics, daemon, kafka_sink, source
from soak_figures import Bound, Finding, Kept
from webhook_receiver import Got, Receiver, answer, receiver

from poller.admin_client import connect
from poller.simulate.broker import Broker, free_port
from poller.simulate.judge import Verdict, judge
from poller.simulate.run import Simulation, Simulators, simulators
from poller.simulate.world import WorldOptions

HOUR = 3600.0
EVERY = 10.0
LADDER = ((30, 2), (180, 15), (600, 60))
SETTLED = 1 / 3
"""Part of the run after which all must be flat: what is kept for minutes has been reached then, and what is made once is there."""
TURNS = 12
"""Of five minutes in an hour, as often as rows expire."""
FAULTS = (
    "html_200", "http_500", "http_503_retry_after", "rate_limit_429_seconds", "hang", "connection_reset", "truncated",
    "reset_midway", "slow", "late", "date_header_missing", "control_characters", "extra_fields", "duplicate_rows",
    "shuffled", "bad_record", "token_expired_early",
)  # fmt: skip
RATE = 0.002
AWAY = (0.2, 0.45, 0.7)
"""When a vendor is away for a minute, in parts of the run."""
KILLED = (0.3, 0.6)
"""When the broker is killed, and started again."""
LASTING = 86_400.0
"""A state that was replaced while a vendor was away may be missing; the last one of each thing may not."""
BOUNDS = (
    Bound("resident", "KiB", 4096, 120 * 1024),
    Bound("blocks", "", 20_000),
    Bound("open files", "", 3, 100),
    Bound("threads", "", 1, 40),
    Bound("tasks", "", 3, 150),
    Bound("series", "", 12),  # what goes wrong for the first time
    Bound("kept events", "KiB", 200),
    Bound("write-ahead log", "KiB", 34 * 1024, 40 * 1024),
    Bound("bytes per id", "", 10, 200),
    Bound("checkpoints", "KiB", 4, 100),
)


@dataclass
class Hook:
    """What came to the webhook: how often each id with each body."""

    rnd: Random
    calm: bool = False
    got: dict[str, set[bytes]] = field(default_factory=dict)
    times: int = 0

    async def __call__(self, got: Got, writer: Any) -> bool:
        """Takes most of them."""
        odds = 1.0 if self.calm else self.rnd.random()
        if odds < 0.002:
            await anyio.sleep(20)
        if odds < 0.006:
            return False
        status = 500 if odds < 0.015 else 429 if odds < 0.02 else 204
        if status == 204:
            self.times += 1
            self.got.setdefault(got.headers["webhook-id"], set()).add(hashlib.md5(got.body).digest())
        writer.write(answer(status))
        return True


class Hour:
    """The run."""

    def __init__(
        self, running: Daemon, sims: Simulators, broker: Broker, hook: Hook, seconds: float, out: Path
    ) -> None:
        self._running, self._sims, self._broker, self._hook, self._seconds = running, sims, broker, hook, seconds
        self.kept = Kept(out)
        self._began = time.monotonic()
        self._port = int(running.settings["server"]["listen"].rpartition(":")[2])
        self.topics = Topics(broker.bootstrap, ("soak.calls", "soak.recordings"))
        self._looked = running.folder / "looked"

    async def run(self, hooked: Receiver) -> list[str]:
        """Looks until the time is over. Returns what is wrong."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._disturb)
            for number in range(1, int(self._seconds / EVERY) + 1):
                await anyio.sleep(max(0.0, self._began + number * EVERY - time.monotonic()))
                hooked.got.clear()
                await self._look(number)
            group.cancel_scope.cancel()
        return await self._verdict()

    async def _look(self, number: int) -> None:
        assert self._running.process is not None
        assert self._running.process.poll() is None, self._running.tail()
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            text = (await client.get(f"http://127.0.0.1:{self._port}/metrics")).text
        if number % 3 == 0:
            async with connect(self._running.folder / "admin.sock") as remote:
                assert remote is not None
                await remote.status()
        figures = soak_figures.process(self._running.pid) | soak_figures.store(self._running.store)
        figures |= {"series": soak_figures.series(text)} | msgspec.json.decode(self._looked.read_bytes())
        figures["bytes per id"] = (
            (figures["store used"] - figures["kept events"]) * 1024 / max(1.0, figures["seen ids"])
        )
        self.kept.add(time.monotonic() - self._began, figures)

    async def _disturb(self) -> None:
        plan = sorted([(at, "away") for at in AWAY] + [(at, "killed") for at in KILLED])
        for number, (part, what) in enumerate(plan):
            await anyio.sleep(max(0.0, self._began + part * self._seconds - time.monotonic()))
            if what == "killed":
                self._broker.kill()
                await anyio.sleep(5)
                await anyio.to_thread.run_sync(self._broker.start)
            else:
                site = list(self._sims.sites.values())[number % len(self._sims.sites)]
                site.down = ("503", "hang", "refuse")[number % 3]
                await anyio.sleep(min(60.0, self._seconds / 20))
                site.down = ""

    async def _verdict(self) -> list[str]:
        self._hook.calm = True
        for site in self._sims.sites.values():
            site.faults.calm()
        due, deadline = self._sims.world.now(), time.monotonic() + 180
        while True:
            verdict = judge(
                self._sims.things(), await self.topics.read(), endpoints=ALL, due=due, least_visible=LASTING
            )
            lacking = {event["id"] for event in self.topics.events} - self._hook.got.keys()
            hopeless = verdict.twice or verdict.updates_repeated or verdict.unknown
            if (verdict.ok and not lacking) or hopeless or time.monotonic() > deadline:
                break
            await anyio.sleep(5)
        return self._wrong(verdict, len(lacking))

    def _wrong(self, verdict: Verdict, lacking: int) -> list[str]:
        bodies = sum(len(found) > 1 for found in self._hook.got.values())
        crashes = [text for site in self._sims.sites.values() for text in site.crashes]
        wrong = [] if verdict.ok and verdict.expected else [f"{verdict.expected} expected, {verdict.examples[:5]}"]
        wrong += [f"the webhook lacks {lacking} events"] if lacking else []
        wrong += [f"the webhook was called with other bodies under {bodies} ids"] if bodies else []
        return wrong + [f"a simulator failed: {text}" for text in crashes]

    def summary(self) -> str:
        """Of what was done."""
        asked = sum(sum(site.requests.values()) for site in self._sims.sites.values())
        fired = sum(sum(site.faults.fired.values()) for site in self._sims.sites.values())
        return (
            f"{asked:,} requests, {fired} vendor faults, {len(self.topics.events):,} events, "
            f"{self._hook.times:,} calls of the webhook, {len(self.kept.samples())} scrapes"
        )


@asynccontextmanager
async def _surroundings(folder: Path) -> AsyncIterator[tuple[Simulators, Broker, Hook, Receiver]]:
    broker = Broker(folder / "kafka")
    await anyio.to_thread.run_sync(broker.start)
    options = WorldOptions(
        calls_per_minute=30, history=120, ladder=LADDER, slack=60, call_seconds=(2, 60), late_max=500,
        change_delay=(5, 300), recording_delay=(1, 30), file_delay=(0, 20), exact_share=0.0,
    )  # fmt: skip
    hook = Hook(Random(1))
    try:
        async with (
            simulators(Simulation(world=options, faults=dict.fromkeys(FAULTS, RATE))) as sims,
            receiver(hook) as hooked,
        ):
            yield sims, broker, hook, hooked
    finally:
        broker.stop()


def _sinks(broker: Broker, hooked: Receiver) -> dict[str, Any]:
    return {
        "kafka": kafka_sink(broker.bootstrap, "soak", request_timeout="10s", commit_timeout="20s", transaction_timeout="30s"),
        "crm": webhook(hooked.url(), schedule=["2s"] * 60, probe="2s", timeout="8s", concurrency=4),
    }  # fmt: skip


def _settings(running: Daemon, sims: Simulators) -> None:
    more = {"interval": "2s", "start": "10m", "timeout": "8s", "ladder": ladder(LADDER)}
    running.settings |= {
        "retention": "5m", "seen_ttl": "3d", "server": {"listen": f"127.0.0.1:{free_port()}"},
        "sources": {vendor: source(sims, vendor, **more) for vendor in sims.config.vendors},
    }  # fmt: skip
    running.write()


async def hour(seconds: float, out: Path | None) -> tuple[list[Finding], list[str], str]:
    """Findings, what else is wrong, and what was done."""
    with tempfile.TemporaryDirectory(prefix="soak") as place:
        folder = Path(place)
        async with _surroundings(folder) as (sims, broker, hook, hooked):
            with daemon(folder, sims, _sinks(broker, hooked)) as running:
                _settings(running, sims)
                looker = str(Path(__file__).with_name("soak_looked_at.py"))
                running.start([sys.executable, looker, str(folder / "looked"), "5", "run", "-c"])
                await running.until_said("listening")
                run = Hour(running, sims, broker, hook, seconds, out or folder / "samples")
                wrong = await run.run(hooked)
                if (code := await running.stop(60)) != 0:
                    wrong.append(f"exit code {code}")
                wrong += _said_wrong(running)
    findings = soak_figures.judge(run.kept.samples(), BOUNDS, settled=seconds * SETTLED, per=HOUR, turn=seconds / TURNS)
    return findings, wrong, run.summary()


def _said_wrong(running: Daemon) -> list[str]:
    """What no fault of others explains."""
    lines = running.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line[:300] for line in lines if "Traceback" in line or "never retrieved" in line][:5]


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument(
        "--out", type=Path, default=None, help="the samples, one JSON object on each line, as they come"
    )
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended
    os.environ["KEY"] = HOOK_KEY
    findings, wrong, summary = anyio.run(hour, asked.minutes * 60, asked.out)
    growing = [one.bound.figure for one in findings if not one.ok]
    print("\n".join(soak_figures.table(findings, "hour")))
    print("\n".join(wrong), end="\n" if wrong else "")
    print(
        f"{asked.minutes:g} real minutes: {summary}; "
        f"{'nothing lost, nothing twice' if not wrong else f'{len(wrong)} wrong'}; "
        f"{'all is flat' if not growing else 'grows: ' + ', '.join(growing)}"
    )
    return 1 if wrong or growing else 0


if __name__ == "__main__":
    sys.exit(main())
