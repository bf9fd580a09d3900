"""Kafka Connect as one of those that are compared: a distributed worker with exactly-once sources, and a source for this feed."""

import hashlib
import json
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import place as places
import topic
import used

from poller.simulate.broker import free_port

FOLDER = Path(__file__).parent
JAVA = ("java", "-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
QUIET = 3.0
"""Seconds without another record: it has what there is. A worker never ends by itself."""


class Connect:
    """A worker is started, given the connector, and ended when nothing more comes."""

    name = "Kafka Connect"
    into_kafka = True
    terms = (
        "4.1.1, a worker with exactly-once sources, FeedSourceConnector.java: one page a transaction, the record's JSON as it came, zstd; "
        "its offset is the newest record's time; no dedupe; into Kafka, exactly once"
    )

    def __init__(self) -> None:
        for program, package in (("java", "Java 17"), ("javac", "a JDK"), ("mvn", "Maven")):
            if shutil.which(program) is None:
                raise places.Missing(f"there is no {program} on the PATH: {package} is needed")
        given = b"".join((FOLDER / name).read_bytes() for name in ("pom.xml", "FeedSourceConnector.java"))
        self._classes = places.kept(f"connect-{hashlib.sha256(given).hexdigest()[:12]}", _build)

    def run(self, place: places.Place, until: Callable[[], bool] | None = None) -> used.Used:
        """Up to the end of what the feed has."""
        port = free_port()
        command = [
            *JAVA,
            "-cp",
            f"{self._classes}:{self._classes}/*",
            "org.apache.kafka.connect.cli.ConnectDistributed",
        ]
        with (
            (place.folder / "log").open("ab") as log,
            topic.Growing(place.bootstrap, place.topic) as growing,
        ):
            ends = _Ends(place, port, growing)
            done = used.run(
                [*command, str(_worker(place, port))],
                output=log,
                errors=log,
                until=lambda: (until() if until else False) or ends(),
                by=signal.SIGKILL,  # its orderly end takes half a minute, and all is committed
            )
        return used.Used(done.cpu, done.wall, done.resident, 0 if ends.over else done.code)

    def published(self, place: places.Place) -> Counter[str]:
        """As read_committed readers see it."""
        return topic.found(place.bootstrap, place.topic, places.key)


class _Ends:
    """Says when a run is over; on the way it gives the worker its connector, as soon as that answers."""

    def __init__(self, place: places.Place, port: int, growing: topic.Growing) -> None:
        self._place, self._growing = place, growing
        self._worker = f"127.0.0.1:{port}"
        self._url = f"http://{self._worker}/connectors/feed"
        self._given = self._runs = self.over = False
        self._asked = self._grew = time.monotonic()
        self._offsets = 0

    def __call__(self) -> bool:
        now = time.monotonic()
        if now < self._asked + 0.25:
            return False
        self._asked = now
        if not self._runs:
            self._given = self._given or self._give()
            self._runs = self._given and self._state() == "RUNNING"
            self._grew = now
            return False
        offsets = self._growing.offsets()
        if offsets != self._offsets:
            self._offsets, self._grew = offsets, now
        self.over = now > self._grew + QUIET
        return self.over

    def _give(self) -> bool:
        """Once at each place: a worker that comes again knows its connectors."""
        place, given = self._place, self._place.folder / "given"
        if given.exists():
            return True
        config = {
            "connector.class": "FeedSourceConnector",
            "tasks.max": "1",
            "exactly.once.support": "required",
            "transaction.boundary": "poll",
            "url": f"{place.url}/cdrs",
            "topic": place.topic,
            "begin": str(place.begin),
            "end": str(place.end),
        }
        request = urllib.request.Request(
            f"{self._url}/config", json.dumps(config).encode(), {"Content-Type": "application/json"}, method="PUT"
        )
        if _answer(request) is not None:
            given.touch()
        return given.exists()

    def _state(self) -> str:
        found = _answer(urllib.request.Request(f"{self._url}/status"))
        tasks = found["tasks"] if found else []
        if tasks and tasks[0]["state"] == "FAILED":
            raise SystemExit(f"Kafka Connect: {tasks[0]['trace'][:500]}")
        ours = tasks and tasks[0]["worker_id"] == self._worker  # what a killed worker said of itself stays
        return tasks[0]["state"] if ours else ""


def _answer(request: urllib.request.Request) -> dict | None:
    """None while the worker starts or is at odds with itself."""
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except (OSError, urllib.error.URLError):
        return None


def _worker(place: places.Place, port: int) -> Path:
    """The worker's file: its own group and topics at each place."""
    name = place.folder.name
    lines = [f"bootstrap.servers={place.bootstrap}", f"listeners=http://127.0.0.1:{port}", f"group.id={name}"]
    lines += [f"{what}.storage.topic={name}.{what}" for what in ("config", "offset", "status")]
    path = place.folder / "worker.properties"
    path.write_text((FOLDER / "worker.properties").read_text() + "\n".join(lines) + "\n")
    return path


def _build(target: Path) -> None:
    """The worker's jars and our class in one folder."""
    with tempfile.TemporaryDirectory() as copy:  # Maven writes beside its file
        shutil.copy(FOLDER / "pom.xml", copy)
        commands = [
            ["mvn", "-q", "-B", "-f", copy, "dependency:copy-dependencies", f"-DoutputDirectory={target}"],
            ["javac", "-cp", f"{target}/*", "-d", str(target), str(FOLDER / "FeedSourceConnector.java")],
        ]
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise places.Missing(f"{command[0]} failed: {places.last_line(done.stdout + done.stderr)}")
