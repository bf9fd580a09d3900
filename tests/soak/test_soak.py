"""Nothing grows: nine simulated days of the whole program, with a slope for each figure; and known leaks, each of which must be found.

`make soak` is two simulated weeks and one real hour; docs/proof.md says what they show.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pytest
from soak_figures import Bound, Sample, judge, slope

ROOT = Path(__file__).parents[2]
LEAKS: Mapping[str, tuple[str, ...]] = {
    "a-list": ("blocks",),
    "a-task": ("tasks",),
    "a-file": ("open files",),
    "a-connection": ("connections",),
    "a-label": ("series",),
    "rows": ("seen ids", "kept events", "store used"),
}
"""And the figures in which they show."""
RUNS = ((), ("a-list",), tuple(name for name in LEAKS if name != "a-list"))
"""What is leaking in each. What is kept in a list must show by itself: every other leak takes memory, too."""


def soak(leaks: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """A short run."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    script = str(ROOT / "tests" / "support" / "soak_main.py")
    return subprocess.run(
        [sys.executable, script, "--short", *chain.from_iterable(("--plant", name) for name in leaks)],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "0"},
        capture_output=True, text=True, timeout=1700, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nothing_grows_and_every_known_leak_is_found() -> None:
    with ThreadPoolExecutor(2) as both:
        well, *planted = both.map(soak, RUNS)
    print(well.stdout)
    assert well.returncode == 0, well.stdout + well.stderr[-3_000:]
    assert re.search("9 simulated days .* nothing lost, nothing twice; all is flat$", well.stdout.splitlines()[-1])
    for leaks, done in zip(RUNS[1:], planted, strict=True):
        assert done.returncode == 1, done.stdout + done.stderr[-3_000:]
        found = set(done.stdout.splitlines()[-1].rpartition("grows: ")[2].split(", "))
        wanted = {figure for name in leaks for figure in LEAKS[name]}
        assert wanted <= found, done.stdout
        if leaks == ("a-list",):
            assert found == wanted, done.stdout


# --- the rule ----------------------------------------------------------------------------------------------------------


def look(figure: float, at: float) -> Sample:
    return Sample(at, {"x": figure})


def growth(values: list[float], *, turn: float = 4.0) -> float:
    (found,) = judge(
        [look(value, at) for at, value in enumerate(values, 1)], [Bound("x", "", 1.0)], settled=0, per=1, turn=turn
    )
    return found.slope


def test_a_slope_is_not_moved_by_a_few_points() -> None:
    line = [(float(at), 3.0 * at) for at in range(20)]
    assert slope(line) == 3.0
    assert slope([*line[:16], (16.0, 900.0), (17.0, -900.0), (18.0, 5000.0), (19.0, 57.0)]) == pytest.approx(3.0)


def test_what_rises_for_a_turn_and_falls_is_flat() -> None:
    saw = [float(value) for value in range(10)] * 4
    assert slope(list(enumerate(saw))) > 0.05
    assert growth(saw, turn=10) == 0.0
    assert growth([value + at for at, value in enumerate(saw)], turn=10) == pytest.approx(1.0)


def test_what_is_not_settled_does_not_count() -> None:
    samples = [look(100.0 * at, at) for at in range(1, 9)] + [look(800.0, at) for at in range(9, 25)]
    (late,) = judge(samples, [Bound("x", "", 1.0)], settled=8, per=1, turn=4)
    (early,) = judge(samples, [Bound("x", "", 1.0)], settled=0, per=1, turn=4)
    assert late.ok
    assert not early.ok


def test_a_figure_may_be_too_large_without_growing() -> None:
    samples = [look(7.0, at) for at in range(1, 17)]
    found = judge(samples, [Bound("x", "", 1.0, 7.0), Bound("x", "", 1.0, 6.0)], settled=0, per=1, turn=4)
    assert [one.ok for one in found] == [True, False]


def test_few_samples_say_nothing() -> None:
    with pytest.raises(AssertionError, match="say nothing"):
        growth([1.0] * 15)
