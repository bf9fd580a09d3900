"""The whole program through days and weeks of a clock that jumps to the next timer. What it is made of is the crash bench's.

Import this before anything of `poller`: it puts models in the place of the machine.
"""

import asyncio
import gc
import os
import random
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import crash_aiokafka
import crash_net
import crash_time
from config_parts import ladder, webhook
from crash_broker import Broker
from crash_plan import SEAMS, Entry
from crash_time import NOW, replace


async def _turn(_: Callable[..., Any]) -> None:
    """Threads wait for nobody."""


async def _thread(func: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    return func(*args)


crash_time.install(_turn, _thread)
crash_net.install()
crash_aiokafka.install()

import crash_world  # noqa: E402 only now
import soak_figures  # noqa: E402
from soak_figures import Kept, Sample  # noqa: E402
from soak_outside import DAY, Judged, Outside  # noqa: E402

from poller import app, uv  # noqa: E402
from poller.config import Settings  # noqa: E402
from poller.exchange import Asked, Place  # noqa: E402
from poller.server import Heartbeat, pages  # noqa: E402
from poller.simulate.run import Simulation, build  # noqa: E402
from poller.simulate.world import WorldOptions  # noqa: E402

VENDORS = ("mor", "thulium", "fonouc")
ENDPOINTS: dict[str, dict[str, dict[str, Any]]] = {
    "mor": {"user_calls": {}, "recordings": {}},
    "thulium": {"connections": {}, "recordings": {}},
    "fonouc": {"cdrs": {"page_size": 100}, "recordings": {"page_size": 100}},
}
ALL = frozenset(f"{vendor}.{name}" for vendor, endpoints in ENDPOINTS.items() for name in endpoints)
FAULTS = (
    "html_200", "empty_200", "error_200", "http_500", "http_503_retry_after", "rate_limit_429_seconds", "rate_limit_429_date",
    "token_expired_early", "truncated", "invalid_utf8", "date_header_missing", "control_characters", "extra_fields",
    "null_fields", "duplicate_rows", "shuffled", "bad_record",
)  # fmt: skip
ODDS = {"http": 0.002, "hook": 0.01, "kafka": 0.001, "produce": 0.001}
"""Of an exchange to go wrong."""
HOUR = 3600.0
SEED = 1
SCRAPED = Place("http", "poller", 80)
TOPICS = ("calls", "recordings", "windows")


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long, and at what pace. Seconds where nothing else is said."""

    days: float = 14.0
    interval: float = 300.0
    ladder: tuple[tuple[float, float], ...] = ((600, 300), (3600, 1800), (10_800, 3600), (172_800, 21_600))
    retention: float = 2 * DAY
    seen_ttl: float = 4 * DAY
    busiest: float = 0.5
    """Calls in a minute of each vendor, at noon."""
    look: float = HOUR
    scrape: float = 600.0
    faults: float = 0.001
    away: float = 2 * HOUR
    """How long a vendor is away, each day another one."""


@dataclass
class Ran:
    """What came of it."""

    samples: list[Sample] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    judged: Judged | None = None


class Odds:
    """In the place of a schedule: what goes wrong at an exchange is drawn."""

    def __init__(self, rnd: random.Random) -> None:
        self.rnd = rnd
        self.calm = False
        self.count = 0
        self.on_death: list[Any] = []

    def meet(self, _: str) -> None:
        """Nobody is killed."""

    def fault(self, seam: str, _: str) -> Entry | None:
        """What goes wrong, if anything."""
        if self.calm or self.rnd.random() >= ODDS[seam]:
            return None
        self.count += 1
        return Entry(0, seam, 0, self.rnd.choice(SEAMS[seam]), round(self.rnd.uniform(0.1, 4.0), 2))


class Loop(crash_time.Loop):
    """Keeps no task: what remembers one is the program."""

    def _made(self, loop: asyncio.AbstractEventLoop, coro: Any, **keywords: Any) -> Any:
        return crash_time._Task(coro, loop=loop, **keywords)


class Now:
    """The run that goes on."""

    bench: "Bench"


def prepare() -> None:
    """What the program imports lazily, and what it has in the place of sockets."""
    crash_world.load_kinds()
    replace(app, "serve", _serve)
    replace(app, "serve_admin", _serve_admin)
    replace(app, "set_up", _set_up)


def _set_up(**_: Any) -> None:
    import structlog  # noqa: PLC0415

    def drop(*_: object) -> Any:
        raise structlog.DropEvent

    structlog.configure(processors=[drop])


async def _serve(_: str, metrics: Any, ready: Any, *, clock: Any, task_status: Any) -> None:
    """In place of the socket: it is scraped."""
    heartbeat, bench = Heartbeat(clock, metrics), Now.bench
    task_status.started(0)
    page = pages(metrics, heartbeat, ready)
    while True:
        for path in ("metrics", "livez", "readyz"):
            answer = await crash_net._ask(page, Asked(SCRAPED, "GET", f"/{path}", [], None))
            bench.scraped = answer[2] if path == "metrics" else bench.scraped
        await anyio.sleep(bench.length.scrape)


async def _serve_admin(work: Any, *_: Any, task_status: Any, **__: Any) -> None:
    """In place of the other one: somebody looks."""
    task_status.started(0)
    while True:
        await work.status()
        await anyio.sleep(Now.bench.length.look)


class Bench:
    """One run."""

    def __init__(self, length: Length, out: Path | None = None) -> None:
        self.length = length
        self.scraped = b""
        rnd = crash_time.seed(SEED)
        self.odds = Odds(rnd)
        self.folder = crash_world.new_folder("soak")
        self.broker = Broker(lambda: NOW.mono)
        world = WorldOptions(seed=SEED, ladder=length.ladder, slack=300, exact_share=0.0)
        sims = build(Simulation(vendors=VENDORS, world=world, at=NOW.wall, faults=dict.fromkeys(FAULTS, length.faults)))
        sims.ports = dict.fromkeys(VENDORS, 80)
        self.outside = Outside(sims, ALL, self.folder, length.busiest)
        net: Any = crash_net.Net(self.odds, random.Random(rnd.getrandbits(64)))  # type: ignore[arg-type]
        apps = {crash_world.host(vendor): self.outside.app(vendor) for vendor in VENDORS}
        crash_world.connect(net, apps, self.outside, self.broker)
        self.settings = _settings(length, sims, self.folder)
        self.ran = Ran()
        self._kept = Kept(out or self.folder / "samples")
        self.loop = Loop()
        self._began = NOW.mono

    # --- the run ---------------------------------------------------------------------------------------------------------

    def run(self) -> Ran:
        """All of it."""
        Now.bench = self
        end = self.length.days * DAY
        try:
            self.loop.create_task(self._process())
            self._every(self.length.look, self._look)
            self._every(self.length.scrape, self._drain)
            self._every(DAY, self._disturb)
            self.loop.call_later(end, self._calm)
            self.loop.call_later(end + HOUR, self._stop)
            self.loop.run_forever()
            self._drain()
            self.ran.samples = self._kept.samples()
            self.ran.judged = self.outside.judged(self._began + end)
            self.ran.wrong += self.ran.judged.wrong + self.loop.unexpected[:5]
        finally:
            self.outside.close()
            shutil.rmtree(self.folder, ignore_errors=True)
        return self.ran

    async def _process(self) -> None:
        try:
            code = await app.run(self.settings)
            if code:
                self.ran.wrong.append(f"exit code {code}")
            left = _open()
            if left:
                self.ran.wrong.append(f"{left} connections were never closed")
        except Exception as error:  # noqa: BLE001 the verdict is ours
            self.ran.wrong.append(f"it ended by itself: {error!r}")
        finally:
            self.loop.end()

    def _every(self, seconds: float, do: Callable[[], None]) -> None:
        def again() -> None:
            do()
            self.loop.call_later(seconds, again)

        self.loop.call_later(seconds, again)

    def _calm(self) -> None:
        self.odds.calm = True
        self.outside.calm()

    def _stop(self) -> None:
        self.loop.signal(15)
        self.loop.call_later(120.0, self._too_long)

    def _too_long(self) -> None:
        self.ran.wrong.append("it does not end when it is told to")
        self.loop.end()

    def _disturb(self) -> None:
        """Once a day a vendor is away, and somebody else takes the producers' names for a moment."""
        if self.odds.calm:
            return
        vendor = VENDORS[int((NOW.mono - self._began) / DAY) % len(VENDORS)]
        self.outside.vendor(vendor, "503")
        self.loop.call_later(self.length.away, self.outside.vendor, vendor, "")
        for identity in list(self.broker._producers):
            self.broker.begin(identity, 60.0)

    # --- looking ---------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        gc.collect()  # else what is counted is mostly what waits for it
        figures = soak_figures.process(os.getpid()) | soak_figures.store(self.folder / "poller.db")
        figures |= {
            "series": soak_figures.series(self.scraped.decode()),
            "tasks": len(asyncio.all_tasks(self.loop)),
            "blocks": sys.getallocatedblocks(),
            "connections": _open(),
        }
        self._kept.add(NOW.mono - self._began, figures)

    def _drain(self) -> None:
        """What is decided goes to its readers, and of the progress the last word of each stays: topics are no memory of ours."""
        for name, topic in self.broker.topics.items():
            for partition in topic.partitions:
                done = partition.stable
                some = [record for record in partition.records if record.offset < done]
                good = [one for one in some if one.transaction is None or one.transaction.state == "committed"]
                rest = partition.records[len(some) :]
                if name in TOPICS:
                    self.outside.published([one.sent.value or b"" for one in good])
                    partition.records = rest
                else:
                    last = {one.sent.key: one for one in good}
                    partition.records = [*sorted(last.values(), key=lambda one: one.offset), *rest]


def _open() -> int:
    return sum(crash_world.left_open().values())


def _settings(length: Length, sims: Any, folder: Path) -> Settings:
    """As a file would have them."""
    each = {"interval": f"{length.interval:g}s", "start": "24h", "ladder": ladder(length.ladder)}
    sources = {}
    for vendor, endpoints in ENDPOINTS.items():
        sources[vendor] = crash_world.source(sims, vendor, {name: each | own for name, own in endpoints.items()})
    sinks = {
        "kafka": crash_world.kafka_sink(),
        "crm": webhook(crash_world.HOOK, schedule=["5s", *["1m"] * 50], concurrency=4),
    }
    return crash_world.settings(
        folder, sims, retention=f"{length.retention:g}s", seen_ttl=f"{length.seen_ttl:g}s",
        dead_letter_retention=f"{length.seen_ttl:g}s", sinks=sinks, sources=sources,
    )  # fmt: skip


def run(length: Length, out: Path | None = None) -> Ran:
    """One run, with the settings of the collector and the allocator that the program has."""
    with suppress(AttributeError):
        sys.unraisablehook = lambda _: None
    bench = Bench(length, out)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    uv._keep_freed_memory()
    return bench.run()


__all__ = ["Length", "Ran", "prepare", "run"]
