"""A real daemon as a process of its own, with a configuration that fits the simulators, and what its consumers read."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import yaml
from aiokafka import AIOKafkaConsumer, TopicPartition
from anyio import to_thread
from cli_command import command
from config_parts import ladder

from poller.simulate.faults import FAULTS
from poller.simulate.judge import Verdict, judge
from poller.simulate.run import Simulation, Simulators
from poller.simulate.world import WorldOptions
from poller.sinks.kafka.producer import discard_consumer

RUNGS = ((15, 1), (60, 3))
"""(back, every) in seconds: as the daemon reads, and as the truth expects it."""
ENDPOINTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "mor": {"user_calls": {}, "local_calls": {"users": [0, 2, 3, 5, 9, 14]}, "recordings": {}},
    "thulium": {"connections": {}, "recordings": {}},
    "fonouc": {"cdrs": {"page_size": 40}, "recordings": {"page_size": 40}},
}
ALL = frozenset(f"{vendor}.{endpoint}" for vendor, endpoints in ENDPOINTS.items() for endpoint in endpoints)


RUN = command("run", "-c")
STEP = 4.0
"""Seconds that the world moves at a time, where its states do not last long; the daemon has found by then what it has to."""
LONGEST = 15.0
"""And at most."""
SLOW = 6.0
"""How much slower a machine may be than the one that the deadlines below and in the tests were written for."""


def world(**more: Any) -> WorldOptions:
    """A world in which everything that happens to a call happens within a minute or two, so that a run may be short."""
    return WorldOptions(
        **{
            "calls_per_minute": 60,
            "history": 120,
            "ladder": RUNGS,
            "slack": 16,
            "call_seconds": (1, 4),
            "usual_delay": (0.0, 2.0),
            "late_max": 20,
            "change_delay": (20, 36),
            "recording_delay": (0.5, 5.0),
            "file_delay": (0.0, 2.0),
            **more,
        }
    )


def simulation(**more: Any) -> Simulation:
    """The three vendors in such a world. It stands still unless the test moves it: a slow machine loses no state."""
    return Simulation(**{"world": world(), "speed": 0.0, **more})


def source(sims: Simulators, vendor: str, **more: Any) -> dict[str, Any]:
    """A source with every endpoint; `more` goes into each."""
    quick = {
        "interval": "700ms",
        "start": "10m",
        "settle": "1s",
        "timeout": "3s",
        "max_body": "4MiB",
        "ladder": ladder(RUNGS),
        **more,
    }
    endpoints = {name: quick | dict(own) for name, own in ENDPOINTS[vendor].items()}
    return sims.source(vendor) | {"concurrency": 2, "endpoints": endpoints}


def kafka_sink(bootstrap: str, prefix: str, **more: Any) -> dict[str, Any]:
    """A sink with topics of its own and deadlines that suit a test."""
    return {
        "kind": "kafka",
        "bootstrap_servers": [bootstrap],
        "topics": {"call": f"{prefix}.calls", "recording": f"{prefix}.recordings", "window": f"{prefix}.windows"},
        "progress_topic": f"{prefix}.progress",
        "transactional_id_prefix": prefix,
        "partitions": 3,
        "request_timeout": "4s",
        "commit_timeout": "8s",
        "transaction_timeout": "10s",
        **more,
    }


class Daemon:
    """One installation: its folder, its configuration, and the process that runs it (again and again)."""

    def __init__(
        self, folder: Path, sims: Simulators, sinks: Mapping[str, Any], sources: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = folder
        self.config = folder / "poller.yaml"
        self.store = folder / "poller.db"
        self.log = folder / "daemon.log"
        self.sims = sims
        self.process: subprocess.Popen[bytes] | None = None
        self.program: Path | None = None
        """The folder of another version's package, to be run instead of this one's: what lies in the working folder comes first."""
        self.more: dict[str, str] = {}
        """Of its environment."""
        self.settings: dict[str, Any] = {
            "store": {"kind": "sqlite", "path": str(self.store)},
            "shutdown_grace": "60s",
            "server": {"listen": "127.0.0.1:0"},
            "admin": {"socket": str(folder / "admin.sock")},
            "log": {"format": "json", "level": "info"},
            "sinks": dict(sinks),
            "sources": dict(sources or {vendor: source(sims, vendor) for vendor in sims.config.vendors}),
        }
        self.write()

    def write(self) -> None:
        """Writes the configuration as `settings` has it."""
        self.config.write_text(yaml.safe_dump(self.settings), encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        """The secrets of the simulated vendors."""
        program = {"PYTHONPATH": str(self.program)} if self.program is not None else {}
        return {**os.environ, **self.sims.environment(), **program, **self.more}

    def start(self, command: Sequence[str] = RUN) -> None:
        """Starts the process; its log is appended to the earlier ones'."""
        assert self.process is None
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, str(self.config)], env=self.environment, cwd=self.program,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait(30)

    async def ended(self, seconds: float) -> int:
        """The exit code, once it has ended by itself."""
        process = self.process
        assert process is not None
        code = await to_thread.run_sync(process.wait, seconds * SLOW)
        self.process = None
        return code

    async def stop(self, seconds: float = 15) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await self.ended(seconds)

    def lines(self) -> list[dict[str, Any]]:
        """The log of all its lives."""
        found = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return [json.loads(line) for line in found if line.startswith("{") and line.endswith("}")]

    def said(self, event: str) -> list[dict[str, Any]]:
        """Log lines of one event."""
        return [line for line in self.lines() if line.get("event") == event]

    async def until(self, what: Callable[[], object], seconds: float, why: str | Callable[[], str]) -> None:
        """Waits until something is so while the process lives. `why`: for the report of a failure, or how to say it then."""
        deadline = time.monotonic() + seconds * SLOW
        while not what():
            alive = self.process is not None and self.process.poll() is None
            if not alive or time.monotonic() > deadline:
                said = why if isinstance(why, str) else why()
                raise AssertionError(f"{'in vain' if alive else 'the daemon has ended'}: {said}\n{self.tail()}")
            await anyio.sleep(0.05)

    async def until_said(self, event: str, seconds: float = 30, *, times: int = 1) -> None:
        """Waits for a log line."""
        await self.until(lambda: len(self.said(event)) >= times, seconds, f"waiting for {times} times {event!r}")

    async def polls_more(self, times: int) -> None:
        """Waits until polls have found something so many times more."""
        await self.until_said("polled", times=len(self.said("polled")) + times)

    def tail(self) -> str:
        """The end of the log, for the report of a failure."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-6000:] if self.log.exists() else ""


@contextmanager
def daemon(folder: Path, sims: Simulators, sinks: Mapping[str, Any], **more: Any) -> Iterator[Daemon]:
    """Leaves no process behind."""
    running = Daemon(folder, sims, sinks, **more)
    try:
        yield running
    finally:
        running.kill()


class Topics:
    """Reads on and on as a read_committed consumer; survives brokers that were away."""

    def __init__(self, bootstrap: str, topics: Sequence[str]) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._next: dict[TopicPartition, int] = {}
        self.events: list[dict[str, Any]] = []

    async def read(self) -> list[dict[str, Any]]:
        """Everything up to now."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, enable_auto_commit=False, isolation_level="read_committed"
        )
        try:
            with anyio.fail_after(30 * SLOW):
                await consumer.start()
                await self._read(consumer)
        finally:
            await discard_consumer(consumer)
        return self.events

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        found = {topic: await consumer._client._wait_on_metadata(topic) for topic in self._topics}
        parts = [TopicPartition(topic, number) for topic, numbers in found.items() for number in numbers]
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        behind = [part for part in parts if self._next.get(part, 0) < ends[part]]
        for part in behind:
            consumer.seek(part, self._next.get(part, 0))
        while behind:
            for part, batch in (await consumer.getmany(*behind, timeout_ms=200)).items():
                self.events += [json.loads(record.value) for record in batch if record.offset < ends[part]]
            self._next |= {part: min(await consumer.position(part), ends[part]) for part in behind}
            behind = [part for part in behind if self._next[part] < ends[part]]


class Trial:
    """Daemon, simulators and topics together, and what the judge says."""

    def __init__(self, daemon: Daemon, bootstrap: str, prefix: str) -> None:
        self.daemon = daemon
        self.sims = daemon.sims
        self.bootstrap = bootstrap
        self.endpoints = ALL
        self.margin = self.sims.config.world.slack - 10 + STEP
        """While the daemon runs it finds things so many seconds before the truth says that it surely has."""
        self.topics = Topics(bootstrap, (f"{prefix}.calls", f"{prefix}.recordings"))

    async def verdict(self, **more: Any) -> Verdict:
        """Truth and events compared now."""
        events = await self.topics.read()
        return judge(self.sims.things(), events, endpoints=self.endpoints, **more)

    async def satisfied(self, seconds: float = 150, **more: Any) -> Verdict:
        """Waits until nothing is missing; fails at once when something is there that never may be."""
        more.setdefault("due", self.sims.world.now())
        deadline = time.monotonic() + seconds * SLOW
        while True:
            self.no_crashes()
            verdict = await self.verdict(**more)
            wrong = verdict.twice or verdict.updates_repeated or verdict.unknown
            if verdict.ok:
                return verdict
            if wrong or time.monotonic() > deadline:
                raise AssertionError(f"{verdict}\n{self.daemon.tail()}")
            await anyio.sleep(0.3)

    async def advance(self, seconds: float, limit: float = 150) -> Verdict:
        """Moves the world on, never past the moment by which something must have been found that is not there yet."""
        clock = self.sims.world.clock
        end = clock.now() + seconds
        while clock.now() < end:
            await self.satisfied(limit, due=clock.now() + self.margin)
            clock.move(min(self.margin, LONGEST))
        verdict = await self.satisfied(limit, due=clock.now() + self.margin)
        assert verdict.expected, "nothing had to be there"
        print("truth:", counts(verdict))
        return verdict

    async def until_published(self, count: int, seconds: float = 40) -> None:
        """Waits until consumers have read so many events."""
        deadline = time.monotonic() + seconds * SLOW
        while (found := len(await self.topics.read())) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{found} of {count} events came\n{self.daemon.tail()}")
            await anyio.sleep(0.2)

    def no_crashes(self) -> None:
        """A simulator that failed by itself proves nothing."""
        for site in self.sims.sites.values():
            assert not site.crashes, site.crashes

    def fired(self) -> dict[str, int]:
        """How often each fault fired, over all vendors."""
        found = dict.fromkeys(FAULTS, 0)
        for site in self.sims.sites.values():
            for name, times in site.faults.fired.items():
                found[name] += times
        return found


def counts(verdict: Verdict) -> str:
    """The numbers of a verdict on one line."""
    names = ("expected", "published_once", "missing", "twice", "updates_expected", "updates_published",
             "updates_missing", "updates_repeated", "unknown", "ahead")  # fmt: skip
    return ", ".join(f"{name} {getattr(verdict, name)}" for name in names)
