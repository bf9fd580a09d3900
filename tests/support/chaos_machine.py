"""A machine of one daemon: an embedded store and a file sink on a small disk, and a clock and phone systems of its own.

So its time can be moved for it and for nobody else. What befalls it is in `chaos_machine_faults.py`.
"""

import math
import resource
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from chaos_clock import WrongClock
from chaos_disk import SmallDisk, small_disk
from chaos_hours import BEHIND
from chaos_judge import BOUND, Judge, Recovery, lost, twice
from chaos_vendor import WorstVendor, worst_vendor
from e2e_daemon import Daemon, Trial, kafka_sink, simulation, source, world
from e2e_each import Inbox
from tcp_proxy import Proxy

from poller.simulate.run import simulators
from poller.simulate.site import Down

SLACK = 2.0
"""Seconds after which a calm daemon has surely found what it could."""
RATE = 12.0
"""Calls a minute of each phone system."""
WORST = ("hangs", "floods")


class Machine:
    """The daemon and what it stands on."""

    def __init__(
        self, trial: Trial, clock: WrongClock, disk: SmallDisk, worst: Mapping[str, WorstVendor], door: Proxy | None
    ) -> None:
        self.trial = trial
        self.daemon = trial.daemon
        self.sims = trial.sims
        self.judge = Judge(trial.sims, trial.topics, Inbox())
        self.clock = clock
        self.disk = disk
        self.worst = worst
        self.door = door
        """The way to the broker."""
        self.files = (0, 0)
        """How many may be open, and the most that this may be set to."""
        self.since = math.inf
        """The world's time when the first of the last faults began."""
        self.said: list[str] = []
        """What else was measured of them."""

    async def start(self) -> None:
        """The daemon, as the command line runs it."""
        self.daemon.start(self.clock.command())
        await self.daemon.until_said("running", times=len(self.daemon.said("running")) + 1)
        self.files = resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE)

    def down(self, how: Down) -> None:
        """All phone systems."""
        for site in self.sims.sites.values():
            site.down = how

    async def recovered(self) -> Recovery:
        """Waits until everything is published that had happened when this was called."""
        began, world = time.monotonic(), self.sims.world
        found, due = Recovery(), world.now() + SLACK + 1
        since, self.since = min(self.since, world.now()), math.inf
        self.judge.blind.append((since, due))
        while time.monotonic() - began < BOUND:
            looked = time.monotonic()
            self.watch()
            self.judge.blind[-1] = (since, world.now())
            verdict = await self.judge.verdict(due)
            found = Recovery(lost=lost(verdict), twice=twice(verdict), examples=verdict.examples)
            if found.twice or not found.lost:
                found.kafka = found.webhook = time.monotonic() - began
                break
            await anyio.sleep(max(0.2, 3 * (time.monotonic() - looked)))  # the phone systems answer from this loop too
        return found

    def told(self) -> list[str]:
        """What else was measured, once."""
        said, self.said = self.said, []
        return said

    def watch(self) -> None:
        """Raises AssertionError where something is wrong for good."""
        self.trial.no_crashes()
        process = self.daemon.process
        assert process is None or process.poll() is None, f"the daemon has ended\n{self.daemon.tail()}"
        assert "Traceback" not in self.daemon.tail(), self.daemon.tail()


@asynccontextmanager
async def machine(folder: Path, bootstrap: str, prefix: str, door: Proxy | None = None) -> AsyncIterator[Machine]:
    """Runs already. `folder`: a new one. Leaves nothing behind."""
    folder.mkdir()  # noqa: ASYNC240 at once
    async with AsyncExitStack() as stack:
        quiet = world(calls_per_minute=RATE, slack=SLACK, exact_share=0)
        at = time.time() - BEHIND
        sims = await stack.enter_async_context(simulators(simulation(world=quiet, speed=1.0, at=at)))
        worst = {what: await stack.enter_async_context(worst_vendor(sims.world.clock.now)) for what in WORST}
        disk = stack.enter_context(small_disk(folder / "disk"))
        sinks = {
            "kafka": kafka_sink(f"127.0.0.1:{door.port}" if door is not None else bootstrap, prefix),
            "file": {"kind": "ndjson", "path": str(disk.folder / "events.ndjson"), "start_from": "earliest"},
        }
        sources = {vendor: source(sims, vendor) for vendor in sims.config.vendors}
        sources |= {what: _worst_source(sources["mor"], one) for what, one in worst.items()}
        running = Daemon(folder, sims, sinks, sources)
        stack.callback(running.kill)
        running.store = disk.folder / "poller.db"
        running.settings["store"] = {"kind": "sqlite", "path": str(running.store), "min_free": "0B"}
        running.write()
        clock = WrongClock(folder / "clock")
        clock.jump(-BEHIND)
        found = Machine(Trial(running, bootstrap, prefix), clock, disk, worst, door)
        await found.start()
        yield found


def _worst_source(like: Mapping[str, Any], worst: WorstVendor) -> dict[str, Any]:
    endpoint = {"interval": "1s", "start": "10m", "settle": "1s", "timeout": "3s"}
    return {
        **like, "base_url": f"http://127.0.0.1:{worst.port}/billing/api", "endpoints": {"recordings": endpoint},
    }  # fmt: skip
