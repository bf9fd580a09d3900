"""The whole program in a world that may crash, fail, delay and repeat at every step: 500 schedules, and six known defects that must be found.

`make crash` is the same command with more of them; docs/proof.md says what it shows.
"""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from crash_plan import STEP, Entry, Plan, draw, shrink

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
SCHEDULES = 500


def crash(*arguments: str) -> subprocess.CompletedProcess[str]:
    """As `make crash` calls it."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    return subprocess.run(
        [sys.executable, str(ROOT / "tests" / "support" / "crash_main.py"), *arguments],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "0"},
        capture_output=True, text=True, timeout=1700, check=False,
    )  # fmt: skip


def test_nothing_is_lost_or_doubled_in_five_hundred_schedules() -> None:
    done = crash("--seeds", str(SCHEDULES))
    last = done.stdout.splitlines()[-1]
    print(last)
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert re.search(rf"^{SCHEDULES} schedules, .* 0 lost, 0 twice$", last)


@pytest.mark.parametrize(
    "plant",
    [
        "mark-then-send",
        "cursor-before-last-page",
        "advance-to-now",
        "unawaited-send",
        "stable-offset-only",
        "dedupe-by-time",
    ],
)
def test_a_known_defect_is_found(plant: str) -> None:
    done = crash("--plant", plant, "--until-failure", "--seeds", str(SCHEDULES))
    print(done.stdout)
    assert done.returncode == 1, done.stdout[-2_000:] + done.stderr[-2_000:]
    assert re.search(r"missing|twice|never read|never gets going", done.stdout), done.stdout
    assert "bench" not in done.stdout


def test_a_schedule_is_the_same_each_time() -> None:
    first, second = crash("--seed", "4"), crash("--seed", "4")
    assert first.returncode == 0, first.stdout[-2_000:] + first.stderr
    assert first.stdout.count("\n") > 1_000
    # The folder of the store is another one each time.
    assert re.sub(r"crash\w{8}", "", first.stdout) == re.sub(r"crash\w{8}", "", second.stdout)


def test_what_fails_is_made_as_short_as_it_can_be() -> None:
    wanted = {Entry(0, "kafka", 3, "lost"), Entry(1, STEP, 70, "crash")}
    others: Plan = [Entry(life, STEP, number, "delay", 0.1) for life in (0, 1) for number in range(40)]
    plan = [*others[:20], *wanted, *others[20:]]
    random.Random(1).shuffle(plan)
    tried: list[int] = []

    def fails(less: Plan) -> bool:
        tried.append(len(less))
        return wanted <= set(less)

    assert set(shrink(plan, fails)) == wanted
    assert len(tried) < 200


def test_every_schedule_has_a_crash() -> None:
    for seed in range(1_000):
        plan = draw(seed, ["one", "two"])
        lives = {entry.life for entry in plan}
        assert lives == {entry.life for entry in plan if entry.what == "crash"}, seed
