"""`poller simulate` says what to configure, and `poller recording fetch` fetches from it."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml
from cli_command import command, run

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def printed() -> Iterator[str]:
    """What a simulator prints; it runs meanwhile and ends with 0 on SIGINT."""
    started = command("simulate", "fonouc", "--history", "600")
    with subprocess.Popen(started, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if "Ctrl-C" in line:
                    break
            yield "".join(lines)
            process.send_signal(signal.SIGINT)
            assert process.wait(300) == 0
        finally:
            process.kill()


@pytest.fixture
def poller(tmp_path: Path) -> Run:
    """`poller …` in a folder of its own."""
    return partial(run, tmp_path)


def test_what_it_prints_is_a_configuration(poller: Run, printed: str, tmp_path: Path) -> None:
    config = yaml.safe_load(printed)
    config["sources"]["fonouc"]["endpoints"] = {"recordings": {}}
    config |= {
        "store": {"kind": "sqlite", "path": "p.db"},
        "server": {"listen": "127.0.0.1:0"},
        "admin": {"socket": "p.sock"},
        "sinks": {"out": {"kind": "ndjson", "path": "out.jsonl"}},
    }
    (tmp_path / "poller.yaml").write_text(yaml.safe_dump(config))
    exports = [line.removeprefix("# export ") for line in printed.splitlines() if line.startswith("# export ")]
    env = {name: value.strip("'") for name, _, value in (line.partition("=") for line in exports)}
    assert poller("run", "--once", **env).returncode == 0
    assert (tmp_path / "out.jsonl").stat().st_size > 0
    done = poller("recording", "fetch", "fonouc", "no-such-file", "-o", "x.mp3", "--wait", "0s", **env)
    assert done.returncode == 1
    assert "no-such-file" in done.stderr
    assert not (tmp_path / "x.mp3").exists()
    wrong = poller("recording", "fetch", "nobody", "1", **env)
    assert (wrong.returncode, "there is no source 'nobody'" in wrong.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nix"], "no simulator for nix"),
        (["mor", "--port", "mor=x"], "--port VENDOR=PORT"),
        (["mor", "--fault", "nothing=1"], "nothing"),
    ],
)
def test_bad_usage(poller: Run, arguments: list[str], sentence: str) -> None:
    done = poller("simulate", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
