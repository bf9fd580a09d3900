"""Several real daemons that share one database, told apart by the name under which each calls the vendors."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, LiteralString

import pytest
from e2e_daemon import STEP, Daemon, source
from postgres_server import Server
from tcp_proxy import Proxy

from poller.simulate.run import Simulators

MARKS = [
    pytest.mark.anyio,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
]
"""Of tests with real replicas, which need a broker and a database."""
LEASE = 4.0
"""Seconds."""
SHARDS = 6
"""So many that each of the three vendors is in another one."""
_HOSTS = ("127.0.0.1", "127.1", "127.0.1")
"""All the same machine."""
_STEADY = 2.5
"""Seconds: whoever polls a source asks at least that often."""


class Replicas:
    """`each[0]` to `each[2]`, none of them started."""

    def __init__(
        self, folder: Path, sims: Simulators, sinks: Mapping[str, Any], server: Server, database: str,
        ports: Mapping[str, int],
    ) -> None:  # fmt: skip
        """`ports`: of proxies before the database, for those that do not ask it directly (`r0` to `r2`)."""
        self._server = server
        self._ports = ports
        self._database = database
        self._sims = sims
        self.hosts: Sequence[str] = _HOSTS
        """By what each calls the vendors."""
        self.each = [self._daemon(folder / f"r{number}", host, sinks) for number, host in enumerate(_HOSTS)]

    def _daemon(self, folder: Path, host: str, sinks: Mapping[str, Any]) -> Daemon:
        folder.mkdir()
        dsn = self._server.dsn(self._database, port=self._ports.get(folder.name, 0))
        (folder / "dsn").write_text(dsn, encoding="utf-8")
        sources = {vendor: source(self._sims, vendor) for vendor in self._sims.config.vendors}
        for one in sources.values():
            one["base_url"] = one["base_url"].replace(_HOSTS[0], host)
        daemon = Daemon(folder, self._sims, {name: dict(sink) for name, sink in sinks.items()}, sources)
        lease = f"{LEASE:g}s"
        daemon.settings["store"] = {"kind": "postgres", "dsn": {"file": "dsn"}, "shards": SHARDS, "lease": lease}
        daemon.write()
        return daemon

    def publish_through(self, doors: Sequence[Proxy]) -> None:
        """Each through a door of its own, before any is started."""
        for one, door in zip(self.each, doors, strict=False):
            one.settings["sinks"]["kafka"]["bootstrap_servers"] = [f"127.0.0.1:{door.port}"]
            one.write()

    def sql(self, statement: LiteralString) -> list[tuple[Any, ...]]:
        """Asked of their database."""
        return self._server.sql(statement, self._database)

    def owned(self) -> dict[int, int]:
        """How many shards each process (by its id) owns now."""
        rows = self.sql(
            "SELECT split_part(reverse(split_part(reverse(owner), '-', 2)), '-', 1)::integer, count(*) "
            "FROM poller.lease WHERE until > clock_timestamp() GROUP BY 1"
        )
        return {int(pid): int(count) for pid, count in rows}

    def polling(self) -> list[Daemon]:
        """Those that have a source to poll now."""
        running = [line for one in self.each for line in one.said("running")]
        busy = {line["shard"] for line in running if line["sources"]}
        rows = self.sql("SELECT shard, owner FROM poller.lease WHERE until > clock_timestamp()")
        return [one for one in self.each if any(f"-{one.pid}-" in owner for shard, owner in rows if shard in busy)]

    async def cut_off_for_a_lease(self, apart: Daemon, door: Proxy) -> None:
        """From the broker alone: until it cannot publish what it has found, and for longer than a lease. It polls all the while."""
        began = time.monotonic()
        door.hold()
        self._sims.world.clock.move(STEP)
        await apart.until(
            lambda: kafka_fails(apart) and time.monotonic() - began > LEASE, 60, "a word about the broker"
        )
        host, before = self.hosts[self.each.index(apart)], time.time()
        logs = [site.log for site in self._sims.sites.values()]
        await apart.until(
            lambda: any(log[-1]["host"] == host and log[-1]["real_time"] > before for log in logs if log), 30, "a poll"
        )

    async def until_shared(self, *daemons: Daemon, seconds: float = 30) -> float:
        """Waits until these own everything, in equal parts; after how long."""
        began, share = time.monotonic(), SHARDS // len(daemons)
        wanted = {one.pid: share for one in daemons}
        await daemons[0].until(
            lambda: self.owned() == wanted, seconds, lambda: f"an even share of the shards, now {self.owned()}"
        )
        return time.monotonic() - began

    def changed_hands(self) -> list[list[dict[str, Any]]]:
        """Logs of the vendors that more than one replica has asked: which shards move depends on the replicas' names."""
        return [site.log for site in self._sims.sites.values() if len({line["host"] for line in site.log}) > 1]

    def polled_by_two(self) -> float:
        """The longest time for which one source was polled by two replicas in turns, in seconds."""
        moved = self.changed_hands()
        assert moved, "nothing can be told where no source changed hands"
        return max(in_turns(log) for log in moved)


def outages(running: Daemon) -> list[object]:
    """What was said of the store itself, since it was last well."""
    said = [line["event"] for line in running.lines() if line.get("store") == "postgres"]
    return said if said and said[-1] == "failing" else []


def kafka_fails(running: Daemon) -> bool:
    """What was said last of the sink."""
    said = [line["event"] for line in running.lines() if line.get("sink") == "kafka"]
    return bool(said) and said[-1] == "failing"


def in_turns(log: list[dict[str, Any]]) -> float:
    """Seconds, from a vendor's log. One change of hands is none: only where the one before asks again soon, both are at it."""
    changes = [after["real_time"] for before, after in pairwise(log) if before["host"] != after["host"]]
    longest, began = 0.0, 0.0
    for before, after in pairwise(changes):
        began = began or before
        if after - before > _STEADY:
            began = 0.0
        else:
            longest = max(longest, after - began)
    return longest


@contextmanager
def replicas(
    folder: Path,
    sims: Simulators,
    sinks: Mapping[str, Any],
    server: Server,
    database: str,
    ports: Mapping[str, int] | None = None,
    template: str | None = None,
) -> Iterator[Replicas]:
    """Leaves no process and no database behind. `template`: what the database begins as; the schema of today without rows."""
    server.clone(template or server.template, database)
    found = Replicas(folder, sims, sinks, server, database, ports or {})
    try:
        yield found
    finally:
        for one in found.each:
            one.kill()
        server.drop(database)
