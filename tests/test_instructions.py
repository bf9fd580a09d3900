"""The check of instructions per record: what it notices, what it compares with, and the program as it is."""

import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from instruction_check import FIGURES, ROOT, Figures, compare, elsewhere, judge, recorder
from instruction_count import Counted, Failed

BEFORE = Counted(yardstick=100_000, stages={"known": 30_000, "new": 160_000}, planted=35_000)


def counted(**changed: int) -> Counted:
    return Counted(100_000, {**BEFORE.stages, **changed}, 35_000)


def test_what_is_the_same_passes() -> None:
    verdict = judge(BEFORE, counted(new=174_000))
    assert not verdict.failed
    assert "new: 174,000 instructions a record, 160,000 before, +8.7%" in verdict.lines


def test_more_than_a_tenth_more_fails_and_names_the_stage() -> None:
    verdict = judge(BEFORE, counted(new=177_000))
    assert verdict.failed
    (line,) = [line for line in verdict.lines if "MORE THAN 10%" in line]
    assert line.startswith("new: ")
    assert "make instructions RECORD=1" in line


def test_more_than_a_tenth_less_asks_to_be_recorded() -> None:
    verdict = judge(BEFORE, counted(new=140_000))
    assert not verdict.failed
    assert any(line.startswith("new: ") and "better; keep it so: make instructions RECORD=1" in line for line in verdict.lines)  # fmt: skip


@pytest.mark.parametrize("before", [BEFORE, Counted(100_000, {"known": 30_000}, 35_000)])
def test_a_stage_on_one_side_only_fails(before: Counted) -> None:
    now = BEFORE if len(before.stages) == 1 else Counted(100_000, {"known": 30_000}, 35_000)
    verdict = judge(before, now)
    assert verdict.failed
    assert any(line.startswith("new: counted ") for line in verdict.lines)


def test_a_plant_that_does_not_show_fails() -> None:
    verdict = judge(BEFORE, Counted(100_000, BEFORE.stages, 32_000))
    assert verdict.failed
    assert "does not see what it is for" in verdict.lines[-1]


def figures(python: str = "3.11.7", yardstick: int = 100_000) -> Figures:
    return Figures({"python": python}, {"msgspec": "1"}, Counted(yardstick, BEFORE.stages, 35_000))


def test_recorded_figures_hold_for_one_interpreter() -> None:
    assert elsewhere(figures(), figures(yardstick=100_900)) == []
    assert elsewhere(figures(), figures("3.12.1")) == ["python: 3.11.7 -> 3.12.1"]
    assert elsewhere(figures(), figures(yardstick=98_000)) == ["the yardstick takes -2.0% instructions here"]


def git(folder: Path, *arguments: str) -> str:
    named = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(named, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Figures that were recorded two commits ago."""
    root = tmp_path / "history"
    (root / FIGURES.parent).mkdir(parents=True)
    git(root, "init", "-q", ".")
    (root / FIGURES).write_text("{}")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "recorded")
    for number in range(2):
        (root / "other").write_text(str(number))
        git(root, "add", ".")
        git(root, "commit", "-q", "-m", "later")
    return root


def test_the_commit_that_recorded_is_found(history: Path) -> None:
    assert recorder(history) == git(history, "rev-parse", "HEAD~2")


def test_a_clone_without_its_history_is_no_comparison(history: Path, tmp_path: Path) -> None:
    """Its only commit brought every file: compared with itself, everything would pass."""
    git(tmp_path, "clone", "-q", "--depth", "1", history.as_uri(), "clone")
    with pytest.raises(Failed, match="git fetch --unshallow"):
        recorder(tmp_path / "clone")


def test_without_a_history_there_is_no_comparison(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="git log"):
        recorder(tmp_path)
    git(tmp_path, "init", "-q", ".")
    (tmp_path / "file").touch()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "no figures")
    with pytest.raises(Failed, match="no commit has recorded"):
        recorder(tmp_path)


def test_what_was_recorded_can_be_read() -> None:
    found = msgspec.json.decode((ROOT / FIGURES).read_bytes(), type=Figures)
    assert {"new", "known", "to Kafka"} <= found.counted.stages.keys()


@pytest.mark.valgrind
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_record_takes_the_instructions_that_were_recorded() -> None:
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is needed: on Debian, apt-get install valgrind")
    verdict = compare(ROOT)
    print("\n".join(verdict.lines))
    assert not verdict.failed, "\n".join(verdict.lines)
