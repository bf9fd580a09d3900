"""The image is built as a person would, and started as Kubernetes would: nobody's user, a read-only root, and SIGTERM at the end."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import yaml
from anyio import to_thread
from container_image import Container, Images, images, missing, program_of, status_of
from e2e_daemon import simulation, source

from poller.simulate.broker import free_port
from poller.simulate.run import simulators

pytestmark = [
    pytest.mark.image,
    pytest.mark.slow,
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

LIMIT = 250_000_000
"""Bytes that the program, its dependencies and their compiled files may take."""


@pytest.fixture(scope="module")
def made() -> Iterator[Images]:
    with images() as all_of_them:
        yield all_of_them


@pytest.fixture(scope="module")
def image(made: Images) -> str:
    return made.build()


@pytest.fixture(scope="module")
def root(made: Images, image: str) -> Path:
    return made.mounted(image)


@pytest.fixture(scope="module")
def said(made: Images, image: str) -> dict[str, Any]:
    return made.config(image)


def test_what_it_says_of_itself(said: dict[str, Any]) -> None:
    assert (said["User"], said["WorkingDir"], said["StopSignal"]) == ("10001:10001", "/var/lib/poller", "SIGTERM")
    assert said["Entrypoint"] == ["/opt/poller/bin/poller"]
    labels = {name.removeprefix("org.opencontainers.image.") for name in said["Labels"]}
    assert {"title", "description", "licenses", "version", "revision", "created"} <= labels


def test_nothing_is_in_it_that_only_builds(root: Path) -> None:
    own = root / "opt/poller"
    names = {path.name.lower() for path in own.rglob("*") if path.is_dir()} | {path.name for path in own.glob("bin/*")}
    assert "poller" in names
    assert not {"pip", "uv", "setuptools", "hatchling", "pytest", "mypy", "ruff"} & names
    assert not [path for place in ("wheel", "build", "src") for path in (root / place).glob("**/*")]
    assert not list(root.glob("run/secrets/*"))
    assert not (root / "etc/pip.conf").exists()
    size = sum(path.lstat().st_size for path in own.rglob("*"))
    whole = int(subprocess.run(["du", "-sxb", root], check=True, capture_output=True, text=True).stdout.split()[0])
    print(f"image: {whole / 1e6:.0f} MB, of which the program and its dependencies are {size / 1e6:.0f} MB")
    assert size < LIMIT


def test_nothing_in_it_is_the_users_own(root: Path) -> None:
    """Who breaks in cannot change the program, not even where the root may be written."""
    assert {path.lstat().st_uid for path in (root / "opt/poller").rglob("*")} == {0}


def etc(folder: Path, text: str) -> Path:
    """A folder with a configuration that everybody may read."""
    place = folder / "etc"
    place.mkdir()
    (place / "poller.yaml").write_text(text, encoding="utf-8")
    place.chmod(0o755)
    return place


def test_other_commands_run_in_it(said: dict[str, Any], root: Path, tmp_path: Path) -> None:
    container = Container(root, said, etc(tmp_path, "store: {kind: memory}\n"))
    assert container.run("--version") == (0, "poller 0.1.0\n")
    code, told = container.run("config", "show")  # it finds the configuration by itself
    assert (code, yaml.safe_load(told)["store"]["kind"]) == (0, "memory")
    code, told = container.run("schema", "asyncapi")
    assert (code, json.loads(told)["asyncapi"]) == (0, "3.1.0")


@pytest.mark.anyio
async def test_it_works_and_ends_as_it_should(said: dict[str, Any], root: Path, tmp_path: Path) -> None:
    port, page, log = free_port(), free_port(), tmp_path / "log"
    async with simulators(simulation()) as sims:
        settings: dict[str, Any] = {
            "store": {"kind": "sqlite", "path": "/var/lib/poller/poller.db"},
            "server": {"listen": f"127.0.0.1:{port}"},
            "admin": {
                "socket": "/run/poller/poller.sock",
                "listen": f"127.0.0.1:{page}",
                "token": {"env": "PAGE_TOKEN"},
            },
            "sinks": {"out": {"kind": "ndjson", "path": "-"}},
            "sources": {"mor": source(sims, "mor")},
        }
        secrets = sims.environment() | {"PAGE_TOKEN": "of-the-tests-0123456789"}
        with Container(root, said, etc(tmp_path, yaml.safe_dump(settings))).started(log, secrets) as process:
            await until_it_has_polled(port, process, log)
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{page}", trust_env=False) as browser:
                assert "Log in" in (await browser.get("/login")).text
                assert (await browser.get("/page.css")).status_code == 200
            check_what_the_kernel_says(process)
            pid = program_of(process)
            assert pid is not None
            started = time.monotonic()
            os.kill(pid, signal.SIGTERM)
            code = await to_thread.run_sync(process.wait, 300)
    assert code == 0, written(log)[-3_000:]
    print(f"ended {time.monotonic() - started:.1f} s after SIGTERM")
    lines = [json.loads(line) for line in written(log).splitlines()]
    assert [line for line in lines if line.get("type") == "telephony.call.new"]
    events = [line["event"] for line in lines if "event" in line]
    assert events.index("stopping") < events.index("draining") < events.index("stopped")


def written(log: Path) -> str:
    return log.read_text(encoding="utf-8")


async def until_it_has_polled(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Ready, and something was found."""
    deadline = time.monotonic() + 180
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        while True:
            assert process.poll() is None, written(log)[-3_000:]
            assert time.monotonic() < deadline, written(log)[-3_000:]
            try:
                ready = (await client.get("/readyz")).status_code == 200
                if ready and '"telephony.call.new"' in written(log):
                    return
            except httpx.TransportError:
                pass
            await anyio.sleep(0.2)


def check_what_the_kernel_says(process: subprocess.Popen[bytes]) -> None:
    pid = program_of(process)
    assert pid is not None
    status = status_of(pid)
    assert status["NSpid"][-1] == "1"
    assert set(status["Uid"]) == set(status["Gid"]) == {"10001"}
    assert int(status["CapEff"][0], 16) == int(status["CapPrm"][0], 16) == 0
    assert status["NoNewPrivs"] == ["1"]
    mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text(encoding="utf-8").splitlines()]
    (options,) = (fields[5] for fields in mounts if fields[4] == "/")
    assert "ro" in options.split(",")
    (shown,) = (word for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") if word.endswith(b"bin/poller"))
    assert shown == b"/opt/poller/bin/poller"
    assert signal.Signals.SIGTERM in handled(status)


def handled(status: dict[str, list[str]]) -> set[signal.Signals]:
    """Signals that the program has taken over: number 1 ignores all others."""
    mask = int(status["SigCgt"][0], 16)
    return {one for one in signal.Signals if mask >> (one - 1) & 1}
