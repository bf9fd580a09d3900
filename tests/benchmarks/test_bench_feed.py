"""What the comparison with others rests on: the feed, the plain loop beside poller, how use is measured."""

import itertools
import runpy
import sys
import time
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BEGIN = 1_700_000_000
RECORDS = 5_500


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, Any]]:
    """The benchmarks' shared modules, which find each other as when one of them is run."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield {name: import_module(name) for name in ("feed", "used", "place", "compare", "peers.telegraf.peer")}
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def loop() -> dict[str, Any]:
    return runpy.run_path(str(BENCHMARKS / "peers/plain/loop.py"))


def test_the_plain_loop_has_every_record_once(modules: dict[str, Any], loop: dict[str, Any]) -> None:
    feed = modules["feed"]
    end = BEGIN + feed.SPAN
    with feed.Vendor(RECORDS, BEGIN, late=1_000) as vendor:
        url = f"http://127.0.0.1:{vendor.port}"
        first = [key for page in loop["pages"](url, str(BEGIN), str(end)) for key, _ in page]
        vendor.again.set()
        again = [key for page in loop["pages"](url, str(BEGIN), str(end)) for key, _ in page]
    late = {feed.record_id(n) for n in range(500, RECORDS, 1_000)}
    every = [feed.record_id(n) for n in range(RECORDS)]
    assert first == [name for name in reversed(every) if name not in late]
    assert sorted(again) == sorted(every)
    assert again != sorted(again)  # the second time it begins elsewhere


def test_the_plain_loop_makes_an_event_of_a_call(modules: dict[str, Any], loop: dict[str, Any]) -> None:
    body = b'{"data":[%s],"page_size":1000,"next_start_key":"1000"}' % modules["feed"].record(7, 100, BEGIN)
    ((key, value),), more = loop["messages"](body)
    assert (key, more) == (modules["feed"].record_id(7), "1000")
    assert '"at":"2023-11-14T22:55:20+00:00"' in value
    assert '"from":{"number":"16045550007","name":"Jane Example"}' in value


def test_spans_that_meet_share_no_record_and_miss_none(modules: dict[str, Any]) -> None:
    world = modules["feed"].Vendor(RECORDS, BEGIN).world
    rows, _ = world.rows()
    borders = [BEGIN, BEGIN + 1, BEGIN + 7_333, BEGIN + 7_334, BEGIN + modules["feed"].SPAN]
    found = [row for low, high in itertools.pairwise(borders) for row in world.within(rows, low, high - 1)]
    assert found == [row for _, row in rows]


BUSY = """
import pathlib, sys, time
while time.process_time() < 0.3: pass
held = b"x" * 80_000_000
pathlib.Path(sys.argv[1]).touch()
while not pathlib.Path(sys.argv[2]).exists(): time.sleep(0.01)
"""


def test_use_is_that_of_all_processes(modules: dict[str, Any], tmp_path: Path) -> None:
    holds, seen = tmp_path / "holds", tmp_path / "seen"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}, {str(holds)!r}, {str(seen)!r}])"
    looked: list[bool] = []

    def until() -> bool:
        """Lets the child end when it was looked at while it held what it holds."""
        looked.append(holds.exists())
        if sum(looked) > 1:
            seen.touch()
        return False

    own = [b"x" * 200_000_000]  # what the measuring process itself holds is not the other's
    done = modules["used"].run([sys.executable, "-c", parent], until=until)
    assert len(own) == 1
    assert done.code == 0
    assert done.cpu >= 0.3
    assert 80_000_000 < done.resident < 180_000_000


def test_a_program_is_ended_when_it_is_time(modules: dict[str, Any]) -> None:
    until = time.monotonic() + 0.2
    done = modules["used"].run(
        [sys.executable, "-c", "import time; time.sleep(600)"], until=lambda: time.monotonic() > until
    )
    assert done.code == -15


def test_all_who_are_compared_are_described(modules: dict[str, Any]) -> None:
    for name, place in modules["compare"].PEERS.items():
        module, _, kind = place.partition(":")
        peer = getattr(import_module(module), kind)
        assert (peer.name, isinstance(peer.into_kafka, bool)) == (name, True)
        assert ("into Kafka" in peer.terms) == peer.into_kafka
        assert peer.run
        assert peer.published


def test_who_cannot_be_had_is_said_in_a_line(
    modules: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert list(modules["compare"].there(["poller", "Telegraf", "Kafka Connect"])) == ["poller"]
    assert capsys.readouterr().out.splitlines() == [
        "Telegraf: left out, there is no go on the PATH",
        "Kafka Connect: left out, there is no java on the PATH: Java 17 is needed",
    ]


def test_telegraf_is_given_every_page(modules: dict[str, Any], tmp_path: Path) -> None:
    place = modules["place"].Place(tmp_path, 1, BEGIN, BEGIN + 9, RECORDS, "127.0.0.1:2")
    found = tomllib.loads(modules["peers.telegraf.peer"].configuration(place))
    asked = [url.rpartition("startKey=")[2] for url in found["inputs"]["http"][0]["urls"]]
    assert asked == ["0", "1000", "2000", "3000", "4000", "5000"]
    assert found["outputs"]["kafka"][0]["brokers"] == ["127.0.0.1:2"]
    assert found["agent"]["metric_buffer_limit"] > RECORDS


def test_what_is_shared_is_not_run_as_a_benchmark() -> None:
    ran = {path.name for path in BENCHMARKS.glob("bench_*.py")}
    assert not ran & {"feed.py", "used.py", "topic.py", "daemon.py", "place.py", "compare.py"}
    assert [path.name for path in BENCHMARKS.glob("bench_*.py") if "__main__" not in path.read_text()] == []
