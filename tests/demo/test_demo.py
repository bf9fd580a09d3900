"""`poller demo` as a user starts it: it ends by itself or when told to, says what it compared, and leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from poller.simulate.broker import KAFKA, missing

pytestmark = pytest.mark.timeout(1200)
START = 300.0
END = 500.0


class Demo:
    """One `poller demo` in a process group of its own, as a terminal starts it, with a temporary folder to look into."""

    def __init__(self, temp: Path, *arguments: str, env: Mapping[str, str]) -> None:
        self.temp = temp
        self.output = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "poller.cli", "demo", *arguments],
            env={**os.environ, **env, "TMPDIR": str(temp), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.output += line

    def until(self, *words: str) -> None:
        """Waits until it has said one of these."""
        deadline = time.monotonic() + START
        while not any(one in self.output for one in words):
            if self.process.poll() is not None:  # what it said last may not have been read yet
                self._thread.join(END)
                assert any(one in self.output for one in words), self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)

    def interrupt(self) -> None:
        """Ctrl-C reaches everything in the foreground."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ended(self) -> int:
        """The exit code; asserts that nothing is left."""
        code = self.process.wait(END)
        self._thread.join(END)
        assert "Traceback" not in self.output, self.output
        assert not list(self.temp.iterdir()), "a folder is left"
        assert not self.children(), "a process is left"
        return code

    def children(self) -> dict[int, str]:
        """Processes whose folder or arguments name our temporary folder: pid → command line."""
        found = {}
        for each in Path("/proc").glob("[0-9]*"):
            try:
                command = (each / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                place = (each / "cwd").readlink()
            except OSError:
                continue
            if int(each.name) != self.process.pid and str(self.temp) in f"{command} {place}":
                found[int(each.name)] = command
        return found

    def kill_child(self, words: str) -> None:
        """SIGKILL for the child whose command line has these words, as soon as there is one."""
        deadline = time.monotonic() + START
        while not (found := [pid for pid, command in self.children().items() if words in command]):
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)
        (pid,) = found
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def demo() -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []
    temp = Path(tempfile.mkdtemp(prefix="demo-"))  # the path of a socket may have 107 characters

    def start(*arguments: str, **env: str) -> Demo:
        started.append(Demo(temp, *arguments, env=env))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.terminate()
            each.process.wait(END)
        for pid in each.children():
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(temp)


Start = Callable[..., Demo]


def figure(output: str, name: str) -> int:
    """A number of the final comparison."""
    (line,) = [line for line in output.splitlines() if line.startswith(f"  {name} ")]
    return int(line.split()[-1])


def compared(demo: Demo, *, least: int = 100) -> None:
    """The comparison at the end found everything, once."""
    assert figure(demo.output, "expected") >= least
    assert figure(demo.output, "published once") == figure(demo.output, "expected")
    assert figure(demo.output, "missing") == figure(demo.output, "twice") == 0
    assert "Nothing is missing, nothing came twice." in demo.output


def test_it_ends_by_itself_and_everything_is_there_once(demo: Start, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    running = demo("--duration", "6", "--sink", "ndjson", "--keep", str(kept))
    assert running.ended() == 0, running.output
    compared(running)
    assert figure(running.output, "updates expected") > 10
    assert {"poller.yaml", "poller.db", "daemon.log", "truth.ndjson", "events.ndjson"} <= {
        each.name for each in kept.iterdir()
    }
    config = yaml.safe_load((kept / "poller.yaml").read_text())
    endpoints = [name for source in config["sources"].values() for name in source["endpoints"]]
    assert len(endpoints) == 7
    assert "config/poller.yaml" in running.output


@pytest.mark.parametrize(
    "words", ["starting the daemon", "running:", pytest.param("no new calls", marks=pytest.mark.slow)]
)
def test_ctrl_c_ends_it_in_order(demo: Start, words: str) -> None:
    running = demo("--duration", "5", "--sink", "ndjson")
    running.until(words, "Next:")  # the last step is not shown where there is nothing left to do in it
    if running.process.poll() is None:
        running.interrupt()
    code = running.ended()
    assert "compared" not in running.output.lower() or "expected" in running.output
    if words == "running:":
        assert code == 0, running.output
        compared(running, least=20)


@pytest.mark.slow
def test_ctrl_c_again_and_again_still_tidies_up(demo: Start) -> None:
    running = demo("--sink", "ndjson")
    running.until("running:")
    while running.process.poll() is None:
        running.interrupt()
        time.sleep(0.1)  # somebody who loses patience
    running.ended()


@pytest.mark.slow
def test_sigterm_is_as_good(demo: Start) -> None:
    running = demo("--sink", "ndjson")
    running.until("running:")
    running.process.terminate()
    assert running.ended() == 0, running.output
    compared(running, least=20)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["starting the daemon", "running:"])
def test_a_killed_daemon_is_started_again_and_nothing_is_lost(demo: Start, moment: str) -> None:
    running = demo("--duration", "9", "--sink", "ndjson")
    running.until(moment)
    running.kill_child("poller.cli run")
    running.until("killed by signal 9")
    code = running.ended()
    assert figure(running.output, "missing") == 0, running.output
    assert figure(running.output, "expected") >= 100
    # A file is written at least once: what the killed daemon had written and not noted comes again, and is said.
    assert code == (1 if figure(running.output, "twice") else 0), running.output
    assert "a file may get its last events again" in running.output


def test_without_java_it_says_so_and_takes_a_file(demo: Start, tmp_path: Path) -> None:
    running = demo("--duration", "1", PATH=str(tmp_path))
    assert running.ended() == 0, running.output
    assert running.output.startswith("Without Kafka, events go to a file (the ndjson sink): ")
    refused = demo("--sink", "kafka", PATH=str(tmp_path))
    assert refused.ended() == 1
    assert refused.output.startswith("poller: A real Kafka broker needs Java")


JAVA = """#!/bin/sh
case "$*" in
  *-version*) echo 'openjdk version "21.0.1"' >&2 ;;
  *random-uuid*) echo uuid ;;
  *StorageTool*) ;;
  *) for line in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do echo "INFO line $line"; done
     printf 'ERROR %0400d\\n\\n' 7; exit 3 ;;
esac
"""


def test_a_broker_that_ends_while_it_starts_is_a_sentence_and_the_end_of_its_log(demo: Start, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin" / "java"
    java.write_text(JAVA)
    java.chmod(0o755)
    (tmp_path / "cache" / f"kafka-{KAFKA}").mkdir(parents=True)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    running = demo("--sink", "kafka", PATH=path, POLLER_CACHE=str(tmp_path / "cache"))
    assert running.ended() == 1
    begun, first, *log = running.output.splitlines()
    assert begun == "starting Kafka"
    assert first == "poller: the Kafka broker ended with exit code 3 while it started; it said last:"
    assert log == [*(f"    INFO line {line}" for line in range(5, 16)), f"    ERROR {'0' * 154}…"]


def test_what_is_kept_never_mixes_with_something_older(demo: Start, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "poller.db").touch()
    refused = demo("--sink", "ndjson", "--keep", str(tmp_path / "old"))
    assert refused.ended() == 2
    assert "is not empty" in refused.output


@pytest.mark.slow
def test_faults_lose_nothing(demo: Start) -> None:
    running = demo("--duration", "15", "--sink", "ndjson", "--faults", "--seed", "5")
    assert running.ended() == 0, running.output
    compared(running)
    assert "Simulated faults: " in running.output


@pytest.fixture
def java() -> None:
    if lacking := missing():
        pytest.skip(f"NOT TESTED AGAINST A REAL BROKER: {lacking}")


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.usefixtures("java")
def test_kafka_and_everything_killed_once(demo: Start) -> None:
    running = demo("--duration", "20", "--sink", "kafka")
    running.until("running:")
    running.kill_child("kafka.Kafka")
    running.until("the Kafka broker ended (killed by signal 9)")
    running.kill_child("poller.cli run")
    assert running.ended() == 0, running.output
    compared(running)
    assert "Kafka, read_committed" in running.output


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.usefixtures("java")
def test_ctrl_c_while_kafka_starts(demo: Start) -> None:
    running = demo("--sink", "kafka")
    running.until("starting Kafka")
    running.interrupt()
    assert running.ended() == 1
    assert "before there was anything to compare" in running.output
