"""Whoever looks at what a daemon keeps needs none of its secrets; whoever runs one needs all of them."""

from pathlib import Path

import pytest
from cli_secretive import SECRETIVE

from poller import commands
from poller.errors import ConfigError
from poller.operations import Listing, Operations, Status, WebhookStatus


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "poller.yaml").write_text(SECRETIVE + "store: {kind: sqlite, path: poller.db}\n")
    return tmp_path / "poller.yaml"


async def looks(operations: Operations) -> tuple[Status, list[WebhookStatus], int]:
    listed = await operations.dead_letters(Listing())
    return await operations.status(), await operations.webhooks(), listed.total


async def switches(operations: Operations) -> None:
    await operations.disable_webhook("crm", "moves")
    await operations.enable_webhook("crm")


def test_a_store_is_looked_into_and_mended_without_a_secret(path: Path) -> None:
    commands.ask(path, switches)
    status, (hook,), letters = commands.ask(path, looks, looking=True)
    assert {each.sink for each in status.sinks} == {"crm", "kafka"}
    assert letters == 0
    assert hook.url == "(as env NOT_SET_URL says, which cannot be read here)"


def test_a_daemon_needs_all_of_them(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        commands.settings_of(path)
    assert [fault.partition(" (line")[0] for fault in caught.value.faults] == [
        "sinks.crm.url",
        "sinks.crm.secrets[0]",
        "sinks.crm.secrets[1]",
        "sinks.crm.tls.ca_file",
        "sinks.kafka.security.password",
        "sinks.kafka.security.cert_file",
        "sources.mor.api_secret",
        "sources.office.api_key",
        "sources.office.tls.ca_file",
    ]


def test_what_can_be_read_is_still_judged(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nowhere").mkdir()
    (tmp_path / "nowhere/key").write_text("hunter2-geheim")
    monkeypatch.setenv("NOT_SET_URL", "crm.example")
    with pytest.raises(ConfigError) as caught:
        commands.settings_of(path, stand_ins=True)
    assert "hunter2" not in str(caught.value)
    assert [fault.partition(" (line")[0] for fault in caught.value.faults] == ["sinks.crm.url", "sinks.crm.secrets[1]"]
