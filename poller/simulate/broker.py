"""A real Kafka broker of one node from its jars: for the demo and the tests. Needs Java 17 or newer, and Maven for the first start.

The jars are fetched once, into `$POLLER_CACHE` or `~/.cache/poller`, under a file lock.
"""

import atexit
import fcntl
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

KAFKA = "4.1.1"
_JARS = {"org.apache.kafka:kafka_2.13": KAFKA, "org.apache.logging.log4j:log4j-slf4j-impl": "2.25.1"}
_JAVA = ("java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=INFO")
_STARTED = "Kafka Server started"
_PORTS = range(20_000, 32_000)
_SHOWN = 160
"""Characters of a line of somebody's log."""


class BrokerFault(Exception):
    """The broker could not be fetched or started; the message says what to install or what the broker said."""


def missing() -> str | None:
    """A sentence about what this machine lacks to run a broker; None where nothing is missing."""
    if shutil.which("java") is None:
        return "A real Kafka broker needs Java 17 or newer, and there is no `java` on the PATH."
    said = _finished(["java", "-version"], 60).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < 17:
        return f"A real Kafka broker needs Java 17 or newer; this is {said.splitlines()[0] if said else 'unreadable'}."
    if not _libs().is_dir() and shutil.which("mvn") is None:
        return "A real Kafka broker needs Maven to fetch its jars once, and there is no `mvn` on the PATH."
    return None


def fetched() -> bool:
    """Whether the jars are there."""
    return _libs().is_dir()


def fetch() -> Path:
    """The folder with the jars, fetched with Maven where it is not there yet. Raises BrokerFault."""
    libs = _libs()
    libs.parent.mkdir(parents=True, exist_ok=True)
    with _locked(libs.with_suffix(".lock")):
        if not libs.is_dir():
            _maven(libs)
    return libs


class Broker:
    """One broker on free ports of this machine. `folder` keeps its data, so it can be killed and started again.

    `settings` are added to server.properties, `formatting` to the arguments of the tool that makes its folder. `bootstrap` is
    what clients connect to, also while the broker is down.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None, formatting: Sequence[str] = ()) -> None:
        self.folder = folder
        self._formatting = formatting
        port = free_port()
        controller = free_port(besides=port)
        self.bootstrap = f"127.0.0.1:{port}"
        self._settings = _properties(port, controller, folder / "data") | dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "broker.log"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process else None

    @property
    def ended(self) -> int | None:
        """How the process ended by itself (minus the signal that killed it); None while it runs."""
        return self._process.poll() if self._process else None

    def start(self, timeout: float = 240) -> None:
        """Formats the folder where it is new, starts the broker and waits until it serves. Raises BrokerFault."""
        if lacking := missing():
            raise BrokerFault(lacking)
        classpath = f"{fetch()}/*"
        if not Path(self._settings["log.dirs"]).is_dir():
            self._format(classpath)
        atexit.register(self.kill)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 our own arguments
                [*_JAVA, "-cp", classpath, "kafka.Kafka", str(self.folder / "server.properties")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops the broker in order
            )
        self._wait(time.monotonic() + timeout)

    def warnings(self) -> list[str]:
        """The last warnings and errors of its log, since it was started last."""
        said = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        return [line[:400] for line in said.splitlines() if re.search(r"\b(WARN|ERROR|FATAL)\b", line)][-8:]

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self._end(signal.SIGKILL, 30)

    def stop(self, timeout: float = 30) -> None:
        """A clean shutdown; killed when it takes longer than `timeout` seconds."""
        self._end(signal.SIGTERM, timeout)

    def _end(self, sign: signal.Signals, timeout: float) -> None:
        process, self._process = self._process, None
        atexit.unregister(self.kill)
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(sign)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)

    def _format(self, classpath: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "server.properties"
        settings.write_text("".join(f"{key}={value}\n" for key, value in self._settings.items()), encoding="utf-8")
        tool = [*_JAVA, "-cp", classpath, "kafka.tools.StorageTool"]
        uuid = _run([*tool, "random-uuid"], 120).split()[-1]
        _run([*tool, "format", "-t", uuid, "-c", str(settings), "--standalone", *self._formatting], 120)

    def _wait(self, deadline: float) -> None:
        """Waits for the broker's own word; a port that answers is not yet a broker that serves."""
        process, said = self._process, ""
        while process is not None and time.monotonic() < deadline:
            if _STARTED in (said := self._log.read_text(encoding="utf-8", errors="replace")):
                return
            if process.poll() is not None:
                how = (
                    f"was killed by signal {-code}"
                    if (code := process.returncode) < 0
                    else f"ended with exit code {code}"
                )
                raise BrokerFault(f"the Kafka broker {how} while it started; {end_of(said)}")
            time.sleep(0.05)
        self.kill()
        raise BrokerFault(f"the Kafka broker did not start in time; {end_of(said)}")


def end_of(log: str, most: int = 12) -> str:
    """The last lines of what a program said, indented, for an error: behind `; `."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip()][-most:]
    shown = (line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…" for line in lines)
    return "\n    ".join(["it said last:", *shown]) if lines else "it said nothing"


def free_port(besides: int = 0) -> int:
    """A TCP port of the loopback address that nobody uses at this moment, and not `besides`.

    Below those that systems hand out by themselves: while a killed broker is down, nobody else gets its port.
    """
    for port in random.sample(_PORTS, 200):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            if port != besides:
                return port
    raise BrokerFault(f"none of 200 ports between {_PORTS[0]} and {_PORTS[-1]} is free")


def _properties(port: int, controller: int, data: Path) -> dict[str, str]:
    one = {
        f"{name}.{what}": "1"
        for name in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
        for what in ("replication.factor", "min.isr")
        if (name, what) != ("offsets.topic", "min.isr")
    }
    return one | {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data),
        "num.partitions": "8",
        "auto.create.topics.enable": "false",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        # A killed broker may come back only when the session of the killed one has ended.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
    }


def cache() -> Path:
    """The folder for what is downloaded once; it may not be there yet."""
    named = os.environ.get("POLLER_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "poller"


def _libs() -> Path:
    return cache() / f"kafka-{KAFKA}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two processes never fetch the same jars at once."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _maven(libs: Path) -> None:
    wanted = "".join(
        f"<dependency><groupId>{name.split(':')[0]}</groupId><artifactId>{name.split(':')[1]}</artifactId>"
        f"<version>{version}</version></dependency>"
        for name, version in _JARS.items()
    )
    with tempfile.TemporaryDirectory(dir=libs.parent) as temp:
        (Path(temp) / "pom.xml").write_text(
            "<project><modelVersion>4.0.0</modelVersion><groupId>local</groupId><artifactId>broker</artifactId>"
            f"<version>1</version><packaging>pom</packaging><dependencies>{wanted}</dependencies></project>",
            encoding="utf-8",
        )
        out = Path(temp) / "libs"
        _run(["mvn", "-q", "-B", "-f", temp, "dependency:copy-dependencies", f"-DoutputDirectory={out}"], 900)
        out.rename(libs)


def _finished(command: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """In a session of its own: Ctrl-C is for the demo, and a tool that dies of it first would look like one that failed."""
    return subprocess.run(  # noqa: S603 our own arguments
        command, capture_output=True, text=True, timeout=timeout, check=False, start_new_session=True
    )


def _run(command: list[str], timeout: float) -> str:
    with suppress(subprocess.TimeoutExpired):
        done = _finished(command, timeout)
        if done.returncode == 0:
            return done.stdout
        raise BrokerFault(
            f"`{command[0]}` failed with exit code {done.returncode}; {end_of(done.stdout + done.stderr)}"
        )
    raise BrokerFault(f"`{command[0]}` did not finish within {timeout:.0f} seconds")
