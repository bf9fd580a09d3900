"""What is outside of the process: phone systems, brokers, a webhook's owner, and the configuration that names them."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from crash_broker import Broker
from crash_net import Receiver
from crash_time import NOW
from starlette.types import ASGIApp

from poller.config import Settings, load
from poller.simulate.run import Simulation, Simulators, application, build
from poller.simulate.world import WorldOptions

LADDER = ((10, 5), (40, 15))
"""(back, every) in seconds."""
SOURCES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "mor": {"user_calls": {}, "recordings": {}},
    "thulium": {"connections": {}},
    "fonouc": {"cdrs": {"page_size": 10}, "recordings": {"page_size": 10}},
}
_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class World:
    """One schedule's surroundings."""

    def __init__(self, folder: Path, rnd: random.Random) -> None:
        self.folder = folder
        self.broker = Broker(lambda: NOW.mono)
        self.receiver = Receiver()
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
        self.apps: dict[str, ASGIApp] = {f"{vendor}.sim": application(self.sims, vendor) for vendor in vendors}
        self.sources = {vendor: self._source(vendor) for vendor in vendors}
        self.endpoints = frozenset(f"{vendor}.{name}" for vendor in vendors for name in self.lists[vendor])

    def _source(self, vendor: str) -> dict[str, Any]:
        path = self.sims.url(vendor).partition(":80")[2]
        every = {
            "interval": f"{LADDER[0][1]}s", "start": "1h", "settle": "1s", "timeout": "5s", "max_body": "4MiB",
            "ladder": [{"back": f"{back}s", "every": f"{every}s" if index else "poll"} for index, (back, every) in enumerate(LADDER)],
        }  # fmt: skip
        endpoints = {name: every | dict(SOURCES[vendor][name]) for name in self.lists[vendor]}
        return self.sims.source(vendor) | {"base_url": f"http://{vendor}.sim{path}", "endpoints": endpoints}

    def settings(self) -> Settings:
        """As a file would have them."""
        sinks: dict[str, Any] = {
            "kafka": {
                "kind": "kafka", "bootstrap_servers": ["kafka.sim:9092"], "partitions": 2, "compression": "none",
                "topics": {"call": "calls", "recording": "recordings"}, "request_timeout": "2s", "commit_timeout": "4s",
                "transaction_timeout": "6s",
            }
        }  # fmt: skip
        if self.webhook:
            sinks["crm"] = {
                "kind": "webhook", "url": "http://127.0.0.1:80/hook", "secrets": [{"env": "KEY"}], "allow": ["127.0.0.0/8"],
                "allow_http": True, "start_from": "earliest", "schedule": ["1s"] * 60, "probe": "1s", "timeout": "3s",
                "concurrency": 2,
            }  # fmt: skip
        path = self.folder / "poller.yaml"
        path.write_text(
            yaml.safe_dump(
                {
                    "store": {"kind": "sqlite", "path": str(self.folder / "poller.db")}, "shutdown_grace": "20s",
                    "server": {"listen": "127.0.0.1:0"}, "admin": {"socket": str(self.folder / "admin.sock")},
                    "sinks": sinks, "sources": self.sources,
                }
            )
        )  # fmt: skip
        return load(path, {**self.sims.environment(), "KEY": _KEY})

    def published(self) -> list[bytes]:
        """What a read_committed reader of the event topics has."""
        return [
            record.sent.value or b""
            for name in ("calls", "recordings")
            if name in self.broker.topics
            for partition in self.broker.topics[name].partitions
            for record in partition.read(0, "read_committed")[0]
        ]
