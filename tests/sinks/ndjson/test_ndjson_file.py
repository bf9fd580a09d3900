"""The file survives crashes, full disks and being moved away."""

import os
import resource
import signal
from pathlib import Path

import pytest
from delivery_events import segments

from poller.errors import SinkFault, SinkRefused
from poller.sinks.ndjson import Config, build
from poller.sinks.ndjson.sink import append, repair

pytestmark = pytest.mark.anyio


def config(path: Path) -> Config:
    return Config.model_validate({"kind": "ndjson", "path": str(path)})


@pytest.mark.parametrize("torn", [b'{"half', b"x" * 200_000, b"\x00"])
async def test_torn_last_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "events"
    path.write_bytes(b'{"a":1}\n{"b":2}\n' + torn)
    repair(path)
    assert path.read_bytes() == b'{"a":1}\n{"b":2}\n'
    repair(path)
    assert path.read_bytes() == b'{"a":1}\n{"b":2}\n'


async def test_a_file_that_is_one_torn_line_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(b"torn")
    repair(path)
    assert path.read_bytes() == b""


async def test_a_new_file_is_for_its_owner_and_group_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        for path in (tmp_path / "new", tmp_path / "rotated"):
            lane = await build("file", config(path), shards=1).lane(0)
            path.unlink() if path.name == "rotated" else None
            await lane.send(segments(1, 1))
            assert path.stat().st_mode & 0o777 == 0o640
        path.chmod(0o604)
        await lane.send(segments(1, 1))
        assert path.stat().st_mode & 0o777 == 0o604
    finally:
        os.umask(before)


async def test_moved_away_file_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "events"
    lane = await build("file", config(path), shards=1).lane(0)
    log = segments(2, 2)
    await lane.send(log[:1])
    path.rename(tmp_path / "rotated")
    await lane.send(log[1:])
    assert len(path.read_bytes().splitlines()) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full device")
async def test_full_disk_is_a_fault_that_may_pass() -> None:
    lane = await build("file", config(Path("/dev/full")), shards=1).lane(0)
    with pytest.raises(SinkFault, match="No space left"):
        await lane.send(segments(1, 2))


def test_a_write_that_fails_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(b"{}\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            append(path, b"x" * 5000 + b"\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_bytes() == b"{}\n"


async def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkRefused, match="cannot be written"):
        await build("file", config(tmp_path / "none" / "events"), shards=1).lane(0)


async def test_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    lane = await build("out", config(Path("-")), shards=1).lane(0)
    await lane.send(segments(1, 2))
    out = capfdbinary.readouterr().out
    assert out.count(b"\n") == 2
