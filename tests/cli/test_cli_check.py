"""What `poller check` prints of an answer."""

import pytest

from poller.check import Finding
from poller.cli.check import _show

CANNOT = "  its filter     cannot be judged: the records do not show the time that the vendor filters by"


@pytest.mark.parametrize(
    ("records", "honoured", "line"),
    [
        (3, True, "  its filter     honoured"),
        (3, False, "  its filter     NOT honoured"),
        (3, None, CANNOT),
        (0, None, None),
    ],
)
def test_a_line_says_what_is_known_of_the_filter(
    capsys: pytest.CaptureFixture[str], records: int, honoured: bool | None, line: str | None
) -> None:
    _show(Finding(source="fono-1", endpoint="fonouc.cdrs", records=records, filter_honoured=honoured))
    said = [each for each in capsys.readouterr().out.splitlines() if "its filter" in each]
    assert said == ([line] if line else [])
