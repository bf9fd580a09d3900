"""The example receivers, one language after the other."""

import pytest
from example_receiver import LANGUAGES, command_of

MARKS = {"python": [], "node": [pytest.mark.node, pytest.mark.slow], "go": [pytest.mark.go, pytest.mark.slow]}


@pytest.fixture(scope="session", params=[pytest.param(each, marks=MARKS[each]) for each in LANGUAGES])
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """How its process is started."""
    return command_of(request.param, tmp_path_factory.mktemp("built"))
