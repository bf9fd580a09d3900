"""docs/configuration.md is what the models say, and every key in it has a meaning."""

from pathlib import Path

from poller.reference import reference

PAGE = Path(__file__).parents[2] / "docs/configuration.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run `make docs`"


def test_every_key_has_a_meaning() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert [row for row in rows if row.endswith("|  |")] == []
