"""Ids pass through in lots: with ten times as many, neither side of a move holds noticeably more."""

import json
import os
import subprocess
from pathlib import Path

import anyio
import pytest
from cli_command import command
from moving_content import CONFIG, add_seen, fill

pytestmark = [pytest.mark.slow]

FEW, MANY = 100_000, 1_000_000
GROWTH = 48 << 10
"""KiB. The page caches of two connections take up to 32 MiB; a million keys as objects, 300."""


def peak(folder: Path, *words: str) -> int:
    """KiB that `poller …` held at most."""
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            command(*words, "--json"), cwd=folder, env={**os.environ, "PASSWORD": "geheim"}, stdout=said
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    assert status == 0
    assert json.loads((folder / "said").read_text())["seen"] >= FEW
    return usage.ru_maxrss


def peaks(folder: Path, count: int) -> tuple[int, int]:
    folder.mkdir()
    for name in ("old", "new"):
        (folder / f"{name}.yaml").write_text(CONFIG.replace("STORE", f"{name}.db"))
    anyio.run(fill, folder / "old.db")
    add_seen(folder / "old.db", count)
    export = peak(folder, "state", "export", "-c", "old.yaml", "calls.state")
    return export, peak(folder, "state", "import", "-c", "new.yaml", "calls.state")


def test_memory_does_not_grow_with_what_was_seen(tmp_path: Path) -> None:
    few, many = peaks(tmp_path / "few", FEW), peaks(tmp_path / "many", MANY)
    print(f"KiB with {FEW} ids: {few}; with {MANY}: {many}")
    for before, after in zip(few, many, strict=True):
        assert after - before < GROWTH
