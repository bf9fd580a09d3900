"""What is outside of the process: phone systems, brokers, a webhook's owner, and the configuration that names them."""

import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import crash_aiokafka
import crash_net
import yaml
from config_parts import HOOK_KEY, ladder, webhook
from crash_broker import Broker
from crash_time import NOW
from starlette.types import ASGIApp

from poller.config import Settings, load
from poller.kinds import load_sink_kind, load_source_kind, load_store_kind
from poller.simulate.run import Simulation, Simulators, application, build
from poller.simulate.world import WorldOptions

LADDER = ((10, 5), (40, 15))
"""(back, every) in seconds."""
SOURCES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "mor": {"user_calls": {}, "recordings": {}},
    "thulium": {"connections": {}},
    "fonouc": {"cdrs": {"page_size": 10}, "recordings": {"page_size": 10}},
}
HOOK = "http://127.0.0.1:80/hook"


def new_folder(prefix: str) -> Path:
    """In memory where the system has such a place: no disk is part of what is tried."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


def load_kinds() -> None:
    """Imports what a process imports lazily, so that forks have it."""
    for kind in SOURCES:
        load_source_kind(kind)
    for kind in ("kafka", "webhook"):
        load_sink_kind(kind)
    load_store_kind("sqlite")


def connect(net: crash_net.Net, apps: Mapping[str, ASGIApp], receiver: crash_net.Receiver, broker: Broker) -> None:
    """What the program's connections lead to from now on. `apps`: by host."""
    crash_net.Vendors.net = crash_net.Lines.net = crash_aiokafka.Cluster.net = net
    crash_net.Vendors.apps = dict(apps)
    crash_net.Lines.receiver = receiver
    crash_aiokafka.Cluster.broker = broker


def left_open() -> dict[str, int]:
    """How many connections the program has not closed."""
    return {
        "Kafka clients": crash_aiokafka.Cluster.open,
        "answers": crash_net.Vendors.open,
        "connections": crash_net.Lines.open,
    }


def host(vendor: str) -> str:
    """Under which a vendor is asked."""
    return f"{vendor}.sim"


def source(sims: Simulators, vendor: str, endpoints: Mapping[str, Any]) -> dict[str, Any]:
    """Of a configuration."""
    path = sims.url(vendor).partition(":80")[2]
    return sims.source(vendor) | {"base_url": f"http://{host(vendor)}{path}", "endpoints": dict(endpoints)}


def kafka_sink(**more: Any) -> dict[str, Any]:
    """Of a configuration."""
    return {
        "kind": "kafka", "bootstrap_servers": ["kafka.sim:9092"], "partitions": 2, "compression": "none",
        "topics": {"call": "calls", "recording": "recordings", "window": "windows"}, **more,
    }  # fmt: skip


def settings(folder: Path, sims: Simulators, **more: Any) -> Settings:
    """As a file would have them."""
    path = folder / "poller.yaml"
    whole = {
        "store": {"kind": "sqlite", "path": str(folder / "poller.db")}, "server": {"listen": "127.0.0.1:0"},
        "admin": {"socket": str(folder / "admin.sock")}, **more,
    }  # fmt: skip
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return load(path, {**sims.environment(), "KEY": HOOK_KEY})


class World:
    """One schedule's surroundings."""

    def __init__(self, folder: Path, rnd: random.Random) -> None:
        self.folder = folder
        self.broker = Broker(lambda: NOW.mono)
        self.receiver = crash_net.Receiver()
        vendors = tuple(rnd.choice((("mor",), ("mor",), ("fonouc",), ("thulium",))))
        self.webhook = rnd.random() < 0.4
        few = rnd.random() < 0.5
        self.lists = {vendor: list(SOURCES[vendor])[: 1 if few else None] for vendor in vendors}
        self.options = WorldOptions(
            seed=rnd.randrange(1 << 30), calls_per_minute=rnd.choice((3, 6, 12)), history=90, ladder=LADDER, slack=12,
            call_seconds=(1, 4), usual_delay=(0.0, 2.0), late_max=18, exact_share=0.0, change_share=0.2,
            change_delay=(4, 24), recording_delay=(0.5, 10.0), file_delay=(0.0, 2.0),
        )  # fmt: skip
        self.sims: Simulators = build(Simulation(vendors=vendors, world=self.options, at=NOW.wall))
        self.sims.ports = dict.fromkeys(vendors, 80)
        self.apps: dict[str, ASGIApp] = {host(vendor): application(self.sims, vendor) for vendor in vendors}
        self.sources = {vendor: self._source(vendor) for vendor in vendors}
        self.endpoints = frozenset(f"{vendor}.{name}" for vendor in vendors for name in self.lists[vendor])

    def _source(self, vendor: str) -> dict[str, Any]:
        every = {
            "interval": f"{LADDER[0][1]}s", "start": "1h", "settle": "1s", "timeout": "5s", "max_body": "4MiB",
            "ladder": ladder(LADDER),
        }  # fmt: skip
        return source(self.sims, vendor, {name: every | dict(SOURCES[vendor][name]) for name in self.lists[vendor]})

    def settings(self) -> Settings:
        """As a file would have them."""
        sinks: dict[str, Any] = {
            "kafka": kafka_sink(request_timeout="2s", commit_timeout="4s", transaction_timeout="6s"),
        }
        if self.webhook:
            sinks["crm"] = webhook(HOOK, schedule=["1s"] * 60, probe="1s", timeout="3s", concurrency=2)
        return settings(self.folder, self.sims, shutdown_grace="20s", sinks=sinks, sources=self.sources)

    def published(self) -> list[bytes]:
        """What a read_committed reader of the event topics has."""
        return [
            record.sent.value or b""
            for name in ("calls", "recordings")
            if name in self.broker.topics
            for partition in self.broker.topics[name].partitions
            for record in partition.read(0, "read_committed")[0]
        ]
