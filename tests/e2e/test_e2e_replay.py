"""Events are sent to a real broker again: marked, under the same ids, keys and partitions."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from cli_command import command
from kafka_broker import kafka_config, read_all
from replay_store import CALLS, fill

from poller.admin_client import connect
from poller.simulate.broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.anyio]

TEN = ("--since", "2025-06-15T15:11:40Z", "--until", "2025-06-15T15:21:40Z")


@pytest.fixture
async def folder(tmp_path: Path, broker: Broker, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A filled store, and the configuration of a daemon that publishes it to topics of its own."""
    monkeypatch.setenv("PASSWORD", "s")
    await fill(tmp_path / "poller.db")
    source = {
        "kind": "thulium",
        "base_url": "http://127.0.0.1:9/api",
        "username": "me",
        "password": {"env": "PASSWORD"},
    }
    sink = kafka_config(broker.bootstrap, prefix, start_from="earliest").model_dump(mode="json", exclude_unset=True)
    config = {
        "store": {"kind": "sqlite", "path": "poller.db"},
        "server": {"listen": "127.0.0.1:0"},
        "admin": {"socket": "p.sock"},
        "sinks": {"kafka": sink},
        "sources": {"office": source | {"endpoints": {"connections": {}}}},
    }
    (tmp_path / "poller.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


@pytest.fixture
def daemon(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with (folder / "log").open("wb") as log, subprocess.Popen(command("run"), cwd=folder, stderr=log) as process:
        try:
            yield process
        finally:
            process.kill()


async def delivered(folder: Path, daemon: "subprocess.Popen[bytes]") -> None:
    """Nothing waits any more."""
    with anyio.fail_after(300):
        while True:
            assert daemon.poll() is None, (folder / "log").read_text()
            async with connect(folder / "p.sock") as there:
                status = await there.status() if there is not None else None
            if status is not None and [sink.pending for sink in status.sinks] == [0]:
                return
            await anyio.sleep(0.2)


async def records(broker: Broker, prefix: str) -> list[Any]:
    """In the order of their numbers."""
    found = await read_all(broker.bootstrap, [f"{prefix}.calls"])
    return sorted(found, key=lambda record: dict(record.headers)["ce_sequence"])


async def test_a_replay_is_marked_and_keeps_ids_keys_and_partitions(
    folder: Path, daemon: "subprocess.Popen[bytes]", broker: Broker, prefix: str
) -> None:
    await delivered(folder, daemon)
    first = await records(broker, prefix)
    assert len(first) == CALLS
    with anyio.fail_after(300):
        done = await anyio.run_process(command("replay", "--sink", "kafka", *TEN), cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    await delivered(folder, daemon)
    everything = await records(broker, prefix)
    again = everything[CALLS:]
    assert len(again) == 10
    marks = [dict(record.headers).get("poller-replay") for record in everything]
    assert marks == [None] * CALLS + [b"true"] * 10
    for name in ("ce_id", "ce_type", "ce_subject", "ce_recordedtime"):
        assert [dict(record.headers)[name] for record in again] == [
            dict(record.headers)[name] for record in first[5:15]
        ]
    assert [(record.key, record.partition) for record in again] == [(one.key, one.partition) for one in first[5:15]]
    assert not [record for record in again if "poller-seen" in dict(record.headers)], (
        "a lost store takes none for a sighting"
    )
