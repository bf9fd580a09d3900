"""The step boundaries at which the crash test does not kill the daemon: the tests that are named for them come there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from anyio import to_thread
from e2e_edges import edges
from e2e_elsewhere import ELSEWHERE, lacking, stale

pytestmark = [pytest.mark.anyio, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]


async def test_every_boundary_that_is_excused_is_met_by_the_test_that_is_named(tmp_path: Path) -> None:
    assert not stale(edges()), f"excused, but not in the code: {stale(edges())}"
    found = tmp_path / "met.json"
    where = os.pathsep.join(filter(None, (str(ROOT / "tests" / "support"), os.environ.get("PYTHONPATH"))))
    command = (
        sys.executable, "-m", "pytest", "-q", "-p", "e2e_edge_trace", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "run"),
        *dict.fromkeys(one.test for one in ELSEWHERE),
    )  # fmt: skip
    done = await to_thread.run_sync(
        lambda: subprocess.run(
            command, cwd=ROOT, env=os.environ | {"EDGES_MET": str(found), "PYTHONPATH": where}, capture_output=True, text=True,
            timeout=500, check=False,
        )
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert not (left := lacking(edges(), json.loads(found.read_text(encoding="utf-8")))), left
