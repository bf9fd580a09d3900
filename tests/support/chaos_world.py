"""The world of `make chaos`: three replicas, a real broker, a real database, three phone systems with all their faults, a webhook's receiver."""

import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import anyio
from chaos_clock import WrongClock
from chaos_hours import BEHIND
from chaos_judge import Judge
from chaos_links import Link, link
from chaos_machine import Machine, machine
from chaos_names import NameServer, missing, name_server
from chaos_parts import Parts
from config_parts import HOOK_KEY, ladder, webhook
from e2e_daemon import Daemon, Topics, kafka_sink, simulation, source, world
from e2e_each import Inbox
from e2e_replicas import Replicas, replicas
from postgres_server import PASSWORD
from webhook_receiver import Receiver, receiver

from poller.simulate.faults import FAULTS as VENDOR_FAULTS
from poller.simulate.run import Simulators, simulators

RUNGS = ((15.0, 1.0), (60.0, 3.0), (300.0, 15.0))
RATE = 0.003
"""Of each fault of a vendor; with all of them about one request in ten goes wrong."""
NO_NAMES = "no name server"
FULL = "full disk under the"
_FAULTS = dict.fromkeys(VENDOR_FAULTS, RATE) | {"missing_month": 0.0}
"""A month that is missing without a word is found by reading again alone (BEHAVIOUR 3.4), and what is six hours old is read once here."""
KINDS = ("vendor", "database", "broker", "webhook")


class Fault(Protocol):
    """Something that happens to the world. Made once for each run; begins and ends many times, never twice at once.

    `name`: what it is, in people's words. `end` has put everything right when it returns.
    """

    name: str

    async def begin(self, rnd: random.Random) -> None: ...

    async def end(self) -> None: ...


@dataclass
class World:
    """Handles on everything. `links[kind][replica]`: the ways from a replica to what it needs; a vendor's are three."""

    folder: Path
    them: Replicas
    sims: Simulators
    parts: Parts
    names: NameServer | None
    inbox: Inbox
    judge: Judge
    links: Mapping[str, Sequence[Sequence[Link]]]
    machine: Machine
    clock: WrongClock
    """Of the replicas."""
    left_out: Mapping[str, str]
    """What cannot happen here, and why."""
    said: list[str] = field(default_factory=list)
    """What else was measured of faults."""
    struck: set[int] = field(default_factory=set)
    """Replicas that cannot keep a lease now, by somebody's doing."""
    restarts: list[str] = field(default_factory=list)
    """Which replicas ended by themselves, and were started again."""
    _read: dict[int, int] = field(default_factory=dict)
    """How much of each one's log was looked at."""

    def start(self, number: int) -> None:
        """Starts a replica, so that it goes by the clock of this world and asks its name server."""
        run = self.clock.command()
        self.them.each[number].start(self.names.command(run) if self.names else run)

    def take(self, rnd: random.Random, most: int = 1) -> list[int]:
        """Replicas to which nothing has happened yet, as far as there are some. Give them back by `struck`."""
        left = [number for number in range(len(self.them.each)) if number not in self.struck]
        taken = rnd.sample(left, min(most, len(left)))
        self.struck.update(taken)
        return taken

    async def look_after(self) -> None:
        """Starts a replica again that ended by itself, as Kubernetes would."""
        while True:
            for number, one in enumerate(self.them.each):
                code = one.process.poll() if one.process is not None and number not in self.struck else None
                if code is not None:
                    one.process = None
                    self.restarts.append(f"r{number} ended with {code}")
                    self.start(number)
            await anyio.sleep(0.2)

    def watch(self) -> None:
        """Raises AssertionError where something is wrong for good."""
        for site in self.sims.sites.values():
            assert not site.crashes, site.crashes
        self.machine.watch()
        for number, one in enumerate(self.them.each):
            with one.log.open("rb") as log:
                log.seek(self._read.get(number, 0))
                said = log.read()
            assert b"Traceback" not in said, said[max(0, said.index(b"Traceback") - 500) :][:3000].decode()
            self._read[number] = self._read.get(number, 0) + said.rfind(b"\n") + 1

    def rest(self) -> list[Daemon]:
        """Replicas that nothing has happened to."""
        return [one for number, one in enumerate(self.them.each) if number not in self.struck]

    def told(self) -> list[str]:
        """What else was measured, once."""
        said, self.said = self.said, []
        return [*said, *self.machine.told()]


@asynccontextmanager
async def opened(folder: Path, parts: Parts, prefix: str, seed: str) -> AsyncIterator[World]:
    """Everything runs but the replicas. Leaves no process and no database behind."""
    options = world(
        seed=random.Random(seed).randrange(1 << 30), calls_per_minute=20, ladder=RUNGS, slack=30,
        change_delay=(100, 200), exact_share=0,
    )  # fmt: skip
    inbox, broker, server, doors = Inbox(), parts.broker, parts.server, parts.doors
    async with AsyncExitStack() as stack:
        sims = await stack.enter_async_context(
            simulators(simulation(speed=1.0, world=options, faults=_FAULTS, at=time.time() - BEHIND))
        )
        clock = WrongClock(folder / "clock")
        clock.jump(-BEHIND)
        hook = await stack.enter_async_context(receiver(inbox))
        left_out = _left_out(folder, parts)
        names = None if NO_NAMES in left_out else await stack.enter_async_context(name_server(folder))
        targets = {
            "vendor": [sims.ports[vendor] for vendor in sims.config.vendors],
            "database": [server.port],
            "webhook": [hook.port],
        }
        links = {
            kind: [[await stack.enter_async_context(link(port)) for port in ports] for _ in range(3)]
            for kind, ports in targets.items()
        }
        links["broker"] = [[await stack.enter_async_context(link(*door))] for door in doors[:3]]
        sinks = {"kafka": kafka_sink(broker.bootstrap, prefix), "hook": _hook(hook)}
        database = prefix.replace("-", "_")
        them = stack.enter_context(replicas(folder, sims, sinks, server, database))
        judge = Judge(sims, Topics(broker.bootstrap, (f"{prefix}.calls", f"{prefix}.recordings")), inbox)
        way = await stack.enter_async_context(link(*doors[3]))
        apart = await stack.enter_async_context(machine(folder / "machine", broker.bootstrap, f"{prefix}-m", way))
        found = World(folder, them, sims, parts, names, inbox, judge, links, apart, clock, left_out)
        _lead_through_links(found, database)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(found.look_after)
            for one in (judge, apart.judge):
                tasks.start_soon(one.notice_stalls)
            yield found
            tasks.cancel_scope.cancel()


def _left_out(folder: Path, parts: Parts) -> dict[str, str]:
    found = {what: why for what, why in ((NO_NAMES, missing(folder)),) if why}
    no_disk = "it has no small disk of its own here, which only who may mount can give it"
    return found | {f"{FULL} {what}": no_disk for what in ("database", "broker") if what not in parts.disks}


def _hook(hook: Receiver) -> dict[str, object]:
    return webhook(hook.url(), schedule=["500ms"] * 5 + ["2s"] * 95, probe="1s", timeout="5s")


def _lead_through_links(found: World, database: str) -> None:
    """Each replica has ways of its own, and names of its own where there is a name server."""
    if found.names is not None:
        found.them.hosts = [f"r{number}.vendor.test" for number in range(3)]
    for number, one in enumerate(found.them.each):
        place = {
            kind: [f"{_host(found, number, kind)}:{one.port}" for one in found.links[kind][number]] for kind in KINDS
        }
        for vendor, at in zip(found.sims.config.vendors, place["vendor"], strict=True):
            settings = source(found.sims, vendor, ladder=ladder(RUNGS), start="20m")
            was = f"127.0.0.1:{found.sims.ports[vendor]}"
            one.settings["sources"][vendor] = settings | {"base_url": settings["base_url"].replace(was, at)}
        one.settings["sinks"]["kafka"]["bootstrap_servers"] = place["broker"]
        one.settings["sinks"]["hook"]["url"] = f"http://{place['webhook'][0]}/hook"
        dsn = f"postgresql://postgres:{PASSWORD}@{place['database'][0]}/{database}"
        (one.folder / "dsn").write_text(dsn, encoding="utf-8")
        one.more["KEY"] = HOOK_KEY
        one.write()


def _host(found: World, number: int, kind: str) -> str:
    if found.names is not None:
        return f"r{number}.{kind}.test"
    return found.them.hosts[number] if kind == "vendor" else "127.0.0.1"
