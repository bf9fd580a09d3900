"""An installation, its export, and the configuration of a new one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moving_content import CONFIG, fill
from stores_harness import set_up

from poller.commands import settings_of
from poller.config import Settings
from poller.moving import leave


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PASSWORD", "geheim")
    for name in ("old", "new"):
        (tmp_path / f"{name}.yaml").write_text(CONFIG.replace("STORE", f"{name}.db"))
    return tmp_path


@pytest.fixture
async def old(folder: Path) -> Settings:
    await fill(folder / "old.db")
    return settings_of(folder / "old.yaml")


@pytest.fixture
async def file(folder: Path, old: Settings) -> Path:
    await leave.export(old, folder / "calls.state")
    return folder / "calls.state"


@pytest.fixture
def new(folder: Path) -> Settings:
    return settings_of(folder / "new.yaml")


@pytest.fixture
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A store of the kind that the parameter names, beside the installation."""
    (tmp_path / "there").mkdir()
    with set_up(request, tmp_path / "there") as made:
        yield made
