"""A daemon that the command line speaks to."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from cli_daemon import Daemon
from cli_secretive import SECRETIVE

from poller.admin import serve_admin


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """A daemon over a ledger. No secret of its configuration is to be had here: whoever asks it needs none."""
    (tmp_path / "poller.yaml").write_text(SECRETIVE + "store: {kind: memory}\n")
    found = Daemon(tmp_path)
    async with anyio.create_task_group() as tasks:
        await tasks.start(serve_admin, found.ledger, tmp_path / "p.sock")
        yield found
        tasks.cancel_scope.cancel()
