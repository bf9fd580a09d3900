"""An installation, its export, and the configuration of a new one."""

from pathlib import Path

import pytest
from moving_content import CONFIG, fill

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
