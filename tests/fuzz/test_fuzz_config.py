"""Whatever the configuration file holds: settings, or sentences with lines; and no secret in them."""

import time
from pathlib import Path

import pytest
from fuzz_mutations import YAML, Change, changed, changes, corpus, looked_for
from hypothesis import given
from hypothesis import strategies as st

from poller.cli.print import clean
from poller.config import load
from poller.errors import ConfigError
from poller.options import read_duration, show_duration
from poller.quantities import _size, read_start, show_size
from poller.signing import hmac_text

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / "config/poller.yaml").read_bytes().replace(b"/run/secrets/thulium", b"thulium")
SHORT = b"\n".join(line.partition(b"  #")[0] for line in EXAMPLE.splitlines() if not line.startswith(b"#"))
WORD = "hunter2-geheim"
ENV = dict.fromkeys(("KAFKA_PASSWORD", "MOR_API_SECRET", "MOR_PASSWORD", "FONO_PASSWORD"), WORD)
KEY = hmac_text(bytes(range(32)))
LONGEST = 20.0
"""Seconds of the processor for a small file."""


def survive(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    (path.parent / "thulium").write_text(WORD)
    begun = time.process_time()
    try:
        settings = load(path, {**ENV, "CRM_KEY": KEY}, to_run=True)
    except ConfigError as error:
        said = "\n".join([str(error), *error.faults])
        assert said.strip()
        clean(said).encode()
    else:
        said = repr(settings)
    assert time.process_time() - begun < LONGEST
    assert WORD not in said
    assert KEY not in said


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "poller.yaml"


def test_the_files_that_are_changed_are_good(path: Path) -> None:
    path.write_bytes(SHORT)
    (path.parent / "thulium").write_text(WORD)
    assert len(load(path, {**ENV, "CRM_KEY": KEY}, to_run=True).sources) == 3


def test_half_a_character_is_refused_where_it_stands(path: Path) -> None:
    """It could be neither sent nor printed."""
    path.write_bytes(SHORT.replace(b"username: admin", b'username: "\\ud800"'))
    with pytest.raises(ConfigError, match=r"sources\.mor-main\.username \(line \d+\): .* half of a character"):
        load(path, {**ENV, "CRM_KEY": KEY}, to_run=True)


@pytest.mark.parametrize("found", corpus("config"), ids=lambda path: path.name)
def test_files_that_were_found(path: Path, found: Path) -> None:
    survive(path, found.read_bytes())


@pytest.mark.parametrize(
    ("text", "size"),
    [("1:", 500_000), ("0x" + "f" * 100, 1), ("9", 500_000), ("1_", 500_000), ("[", 500_000), ("- a\n", 600_000), ("? ", 100_000),
     ("&a ", 100_000), ("%T ! x\n", 50_000), ("'", 500_001), ("\\", 500_000), ("#\n", 200_000), ("a" * 99 + ": 1\n", 10_000)],
)  # fmt: skip
def test_repeated_without_end(path: Path, text: str, size: int) -> None:
    """What takes time that grows with the square, or a stack that grows with the depth."""
    path.write_text("a: " + text * size + "1")
    begun = time.process_time()
    with pytest.raises(ConfigError):
        load(path, {})
    assert time.process_time() - begun < 10 * LONGEST


@looked_for(60)
@given(todo=changes(YAML))
def test_a_changed_file_is_read_or_refused(path: Path, todo: list[Change]) -> None:
    survive(path, changed(SHORT, todo))


QUANTITIES = (
    st.text(max_size=30)
    | st.from_regex(r"[0-9._e+-]{1,400} ?[a-zA-Z]{0,4}", fullmatch=True)
    | st.integers()
    | st.floats()
)


@looked_for(300)
@given(value=QUANTITIES | st.none() | st.booleans() | st.datetimes() | st.lists(st.integers(), max_size=2))
def test_durations_sizes_and_starts(value: object) -> None:
    """A number within bounds that is written as it is read, or a short sentence."""
    for read in (read_duration, _size, read_start):
        try:
            found = read(value)
        except ValueError as error:
            assert len(str(error)) < 300  # noqa: PT017 most values are refused
            continue
        assert abs(found) <= 1 << 60
    for seconds in (0.0, 59.5, 86_400.0, 3_153_600_000.0):
        assert read_duration(show_duration(seconds)) == pytest.approx(seconds, abs=0.001)
    assert _size(show_size(3 << 20)) == 3 << 20
