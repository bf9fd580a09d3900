"""Calls are tried on the loop that the program runs on: connections that break are told differently by another one."""

from typing import Any

import pytest


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}
