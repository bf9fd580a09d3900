"""How often what waits is counted: it costs a row for each commit that waits."""

import pytest

from poller.backlog import rest_after


@pytest.mark.parametrize(("took", "seconds"), [(0.0, 1.0), (0.02, 1.0), (0.2, 4.0), (60.0, 30.0)])
def test_a_look_that_takes_long_is_seldom(took: float, seconds: float) -> None:
    assert rest_after(took) == pytest.approx(seconds)
