"""The check of a continuous integration run: no test that needs the real broker may be skipped."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[1]


Verdict = Callable[[str], tuple[int, str]]


@pytest.fixture
def verdict(tmp_path: Path) -> Verdict:
    """One small test run with this project's hook and a worker, as `make test` has two; then the check of its report: exit code and words."""
    report = tmp_path / "report.xml"
    run = [
        "pytest",
        "-q",
        "-n",
        "1",
        "-p",
        "no:hypothesispytest",
        "-p",
        "report_tiers",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
    ]

    def judge(text: str) -> tuple[int, str]:
        (tmp_path / "pytest.ini").write_text(
            "[pytest]\nmarkers =\n    kafka: needs the broker\n    node: needs Node.js\n    go: needs Go\n    postgres: needs PostgreSQL\n    helm: needs Helm\n    prometheus: needs Prometheus\n    image: needs buildah\n    browser: needs Chromium\n    valgrind: needs valgrind\n"
        )
        (tmp_path / "test_small.py").write_text("import pytest\n" + dedent(text))
        python(["-m", *run], tmp_path)
        return python([str(ROOT / ".ci/skipped.py"), str(report)], tmp_path)

    return judge


def python(arguments: list[str], folder: Path) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests/support")}
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


def test_all_ran(verdict: Verdict) -> None:
    code, said = verdict("""
        @pytest.mark.kafka
        def test_broker(): pass
        def test_other(): pytest.skip("not on this system")
    """)
    assert (code, said) == (0, "1 broker tests ran, none was skipped\n")


def test_a_skipped_broker_test_fails_the_run(verdict: Verdict) -> None:
    code, said = verdict("""
        @pytest.mark.kafka
        def test_broker(): pass
        @pytest.mark.kafka
        def test_second(): pytest.skip("no Java")
    """)
    assert code == 1
    assert "test_second: no Java" in said


@pytest.mark.parametrize("mark", ["node", "go", "postgres", "helm", "prometheus", "image", "browser", "valgrind"])
def test_another_skipped_test_fails_the_run(verdict: Verdict, mark: str) -> None:
    code, said = verdict(f"""
        @pytest.mark.kafka
        def test_broker(): pass
        @pytest.mark.{mark}
        def test_parser(): pytest.skip("it is not there")
    """)
    assert code == 1
    assert "test_parser: it is not there" in said


def test_node_tests_are_no_broker_tests(verdict: Verdict) -> None:
    code, said = verdict("""
        @pytest.mark.node
        def test_parser(): pass
    """)
    assert (code, said) == (1, "0 skipped that must not be; 0 broker tests ran\n")


def test_a_skip_in_a_fixture_fails_the_run(verdict: Verdict) -> None:
    code, _ = verdict("""
        @pytest.fixture
        def broker(): pytest.skip("no Maven")
        @pytest.mark.kafka
        def test_broker(broker): pass
        @pytest.mark.kafka
        def test_ran(): pass
    """)
    assert code == 1


def test_a_module_that_skips_itself_fails_the_run(verdict: Verdict) -> None:
    code, said = verdict("pytest.skip('no Java', allow_module_level=True)")
    assert code == 1
    assert "no Java" in said


def test_a_run_without_broker_tests_fails(verdict: Verdict) -> None:
    code, said = verdict("def test_other(): pass")
    assert code == 1
    assert "0 broker tests ran" in said
