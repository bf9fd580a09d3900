"""Starts simulated vendors on ports of this machine, in the caller's event loop."""

import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from anyio.abc import TaskStatus
from starlette.types import ASGIApp

from poller.simulate import fonouc_feed, mor_feed, thulium_feed
from poller.simulate.clock import WorldClock
from poller.simulate.control import Control, beside
from poller.simulate.faults import Faults
from poller.simulate.fonouc import Fonouc, FonoucOptions
from poller.simulate.layer import FaultLayer
from poller.simulate.mor import Mor
from poller.simulate.mor_settings import MorOptions
from poller.simulate.site import Site
from poller.simulate.thulium import Thulium, ThuliumOptions
from poller.simulate.truth import Truth
from poller.simulate.wire import Protocol
from poller.simulate.world import World, WorldOptions

FEEDS = {"mor": mor_feed.feed, "thulium": thulium_feed.feed, "fonouc": fonouc_feed.feed}
VENDORS = tuple(FEEDS)
_PATHS = {"mor": "/billing/api", "thulium": "/api", "fonouc": "/api/v2"}
_TICK = 0.1
_FAREWELL = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What to start. `ports`: 0 or absent takes a free one. `faults`: name → rate. `at`: world time at the start (now)."""

    vendors: tuple[str, ...] = VENDORS
    host: str = "127.0.0.1"
    ports: Mapping[str, int] = field(default_factory=dict)
    world: WorldOptions = field(default_factory=WorldOptions)
    at: float | None = None
    speed: float = 1.0
    faults: Mapping[str, float] = field(default_factory=dict)
    truth: Path | None = None
    mor: MorOptions = field(default_factory=MorOptions)
    thulium: ThuliumOptions = field(default_factory=ThuliumOptions)
    fonouc: FonoucOptions = field(default_factory=FonoucOptions)


@dataclass(slots=True)
class Simulators:
    """Simulated vendors that run: their addresses, and handles on everything."""

    config: Simulation
    world: World
    truth: Truth
    sites: dict[str, Site]
    ports: dict[str, int] = field(default_factory=dict)

    def url(self, vendor: str) -> str:
        """The `base_url` for a source of this vendor."""
        return f"{self.root(vendor)}{_PATHS[vendor]}"

    def root(self, vendor: str) -> str:
        """Scheme, host and port; `/_faults`, `/_control`, `/_truth` and `/_log` are beneath it."""
        return f"http://{self.config.host}:{self.ports[vendor]}"

    def things(self) -> list[dict[str, Any]]:
        """The truth up to now, for the judge."""
        self.world.now()
        return self.truth.things()

    def source(self, vendor: str) -> dict[str, Any]:
        """A source of the configuration that fits this simulator; secrets are named in `environment`."""
        mor, thulium, fonouc = self.config.mor, self.config.thulium, self.config.fonouc
        keys: dict[str, dict[str, Any]] = {
            "mor": {"username": "admin", "api_secret": {"env": "SIM_MOR_SECRET"}, "password": {"env": "SIM_MOR_PASSWORD"}, "version": mor.version},
            "thulium": {"username": thulium.username, "password": {"env": "SIM_THULIUM_PASSWORD"}, "timezone": "Europe/Warsaw"},
            "fonouc": {"username": fonouc.username, "password": {"env": "SIM_FONOUC_PASSWORD"}, "domain": fonouc.domain, "account_id": fonouc.account_id,
                       "login_path": fonouc.login_path.removeprefix(_PATHS["fonouc"])},
        }  # fmt: skip
        return {"kind": vendor, "base_url": self.url(vendor), **keys[vendor]}

    def environment(self) -> dict[str, str]:
        """The secrets that `source` names."""
        return {
            "SIM_MOR_SECRET": self.config.mor.secret,
            "SIM_MOR_PASSWORD": self.config.mor.logins["admin"].password,
            "SIM_THULIUM_PASSWORD": self.config.thulium.password,
            "SIM_FONOUC_PASSWORD": self.config.fonouc.password,
        }


def build(config: Simulation) -> Simulators:
    """World, truth and sites, nothing listening yet. Raises ValueError for an unknown vendor or fault."""
    unknown = set(config.vendors) - set(VENDORS)
    if unknown:
        raise ValueError(f"no simulator for {', '.join(sorted(unknown))}; there are {', '.join(VENDORS)}")
    options = replace(
        config.world,
        thulium_filter=config.thulium.recordings_filter,
        mor_uniqueid=config.mor.since("x5"),
    )
    clock = WorldClock(at=config.at, speed=config.speed)
    world = World(options, clock, {vendor: FEEDS[vendor] for vendor in config.vendors})
    truth = Truth(world.found_by, config.truth)
    world.watchers.append(truth.saw)
    seed = config.world.seed
    sites = {vendor: Site(vendor, world, truth, Faults(vendor, config.faults, seed)) for vendor in config.vendors}
    return Simulators(config, world, truth, sites)


def application(simulators: Simulators, vendor: str) -> ASGIApp:
    """The whole application of one vendor: its API, its faults, its control."""
    site, config = simulators.sites[vendor], simulators.config
    apps: dict[str, Callable[[], ASGIApp]] = {
        "mor": lambda: Mor(site, config.mor).app(),
        "thulium": lambda: Thulium(site, config.thulium).app(),
        "fonouc": lambda: Fonouc(site, config.fonouc).app(),
    }
    return beside(FaultLayer(apps[vendor](), site), Control(site).app())


@contextlib.asynccontextmanager
async def simulators(config: Simulation | None = None) -> AsyncIterator[Simulators]:
    """Runs simulated vendors for the time of the block. Raises OSError where a port is taken."""
    running = build(config or Simulation())
    running.world.now()
    stop = anyio.Event()
    raised: Exception | None = None
    async with anyio.create_task_group() as group:
        for vendor in running.config.vendors:
            running.ports[vendor] = await group.start(_listen, running, vendor, stop)
        group.start_soon(_move, running.world)
        try:
            yield running
        except Exception as fault:  # noqa: BLE001 - raised again below, not wrapped in a group
            raised = fault
        finally:
            stop.set()
            with anyio.move_on_after(_FAREWELL, shield=True):
                while any(site.listening for site in running.sites.values()):  # noqa: ASYNC110 - bounded, and at the end
                    await anyio.sleep(0.02)
            group.cancel_scope.cancel()
            running.truth.close()
    if raised is not None:
        raise raised


async def serve(config: Simulation, ready: Callable[[Simulators], None] | None = None) -> None:
    """Runs until cancelled; `ready` is called once with the addresses."""
    async with simulators(config) as running:
        if ready is not None:
            ready(running)
        await anyio.sleep_forever()


def simulate(config: Simulation, ready: Callable[[Simulators], None] | None = None) -> None:
    """Runs until SIGINT or SIGTERM: what the command line calls."""

    async def until_signal() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with anyio.create_task_group() as group:
                group.start_soon(serve, config, ready)
                async for _ in signals:
                    group.cancel_scope.cancel()

    anyio.run(until_signal)


async def _move(world: World) -> None:
    """Lets the world go on while nobody asks, so that the truth is on disk in time."""
    while True:
        world.now()
        await anyio.sleep(_TICK)


class _Server(uvicorn.Server):
    """Leaves signals to the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _listen(running: Simulators, vendor: str, stop: anyio.Event, *, task_status: TaskStatus[int]) -> None:
    """One vendor on one port; while it is down with `refuse`, nothing listens there."""
    site, app = running.sites[vendor], application(running, vendor)
    wanted = running.config.ports.get(vendor, 0)
    sock = _bind(running.config.host, wanted)
    port: int = sock.getsockname()[1]
    task_status.started(port)
    while True:
        site.listening = True
        try:
            await _serve_until(app, sock, lambda: stop.is_set() or site.down == "refuse")
        finally:
            site.listening = False
        while site.down == "refuse" and not stop.is_set():  # noqa: ASYNC110 - a switch that anything may set
            await anyio.sleep(0.02)
        if stop.is_set():
            return
        sock = _bind(running.config.host, port)


async def _serve_until(app: ASGIApp, sock: socket.socket, over: Callable[[], bool]) -> None:
    config = uvicorn.Config(
        app, http=Protocol, ws="none", lifespan="off", log_config=None, log_level="critical", access_log=False,
        date_header=False, server_header=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = _Server(config)
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve, [sock])
        while not over():  # noqa: ASYNC110 - a switch that anything may set
            await anyio.sleep(0.02)
        server.should_exit = True


def _bind(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(256)
    except OSError as fault:
        sock.close()
        raise OSError(fault.errno, f"cannot listen on {host}:{port}: {fault.strerror}") from fault
    return sock
