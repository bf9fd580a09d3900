"""A daemon that the command line speaks to."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from cli_daemon import Daemon

from poller.admin import serve_admin

SECRETIVE = """\
store: {kind: memory}
sinks:
  crm:
    kind: webhook
    url: {env: NOT_SET_URL}
    secrets: [{env: NOT_SET_KEY}, {file: nowhere/key}]
    tls: {ca_file: nowhere/ca.pem}
  kafka:
    kind: kafka
    bootstrap_servers: [127.0.0.1:1]
    security:
      protocol: SASL_SSL
      username: u
      password: {env: NOT_SET_PASSWORD}
      cert_file: nowhere/cert.pem
      key_file: nowhere/key.pem
sources:
  office:
    kind: fonouc
    base_url: https://pbx.example
    account_id: a
    api_key: {env: NOT_SET_PASSWORD}
    tls: {ca_file: nowhere/ca.pem}
    endpoints: {cdrs: {}}
"""


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """A daemon over a ledger. No secret of its configuration is to be had here: whoever asks it needs none."""
    (tmp_path / "poller.yaml").write_text(SECRETIVE + "admin: {socket: p.sock}\n")
    found = Daemon(tmp_path)
    async with anyio.create_task_group() as tasks:
        await tasks.start(serve_admin, found.ledger, tmp_path / "p.sock")
        yield found
        tasks.cancel_scope.cancel()
