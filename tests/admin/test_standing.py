"""How webhooks stand: when something is tried next, and what a daemon says that has only just begun."""

from pathlib import Path
from typing import Any

import pytest
from webhook_case import HMAC

from poller.app import opened
from poller.config import load
from poller.errors import PollerError
from poller.health import Condition
from poller.one_by_one.gate import condition_of, switch
from poller.operate import Work
from poller.room import Waits
from poller.shard import Nobody, Shard
from poller.standing import _next_try

NOW = 1_000.0
LOG = Waits(log=3)
KEPT = Waits(kept=2, next=(1_060.0, 0, 7))
BOTH = Waits(log=3, kept=2, next=(1_060.0, 0, 7))
TURN = Waits(kept=1)
"""Kept behind an earlier event of its call."""


@pytest.mark.parametrize(
    ("condition", "wait", "expected"),
    [
        ({}, Waits(), None),
        ({}, LOG, NOW),
        ({}, KEPT, 1_060.0),
        ({}, BOTH, NOW),
        ({}, TURN, None),
        ({"state": "slowed", "until": 1_030.0}, LOG, 1_030.0),
        ({"state": "slowed", "until": 1_030.0}, KEPT, 1_060.0),
        ({"state": "slowed", "until": 1_030.0}, Waits(), None),
        ({"state": "down", "probe_at": 1_005.0}, LOG, 1_005.0),
        ({"state": "down", "probe_at": 1_200.0}, BOTH, 1_060.0),
        ({"state": "down", "probe_at": 1_005.0, "until": 1_500.0}, BOTH, 1_500.0),
        ({"state": "disabled"}, BOTH, None),
    ],
)
def test_the_next_try(condition: dict[str, Any], wait: Waits, expected: float | None) -> None:
    assert _next_try(Condition(**condition), wait, NOW) == expected


CONFIG = """\
store: {kind: memory}
sinks:
  crm: {kind: webhook, url: 'https://crm.example/hooks', secrets: [{env: KEY}]}
"""


@pytest.mark.anyio
async def test_before_it_has_read_how_a_webhook_stands_nothing_is_switched(tmp_path: Path) -> None:
    """Else an enabling would not know that there is something to enable, and write over it."""
    (tmp_path / "poller.yaml").write_text(CONFIG)
    async with opened(load(tmp_path / "poller.yaml", {"KEY": HMAC})) as app:
        await switch(app.store, "crm", why="disabled by hand: they move", now=NOW)
        daemon = Work(app, running=True)
        for question in (daemon.enable_webhook("crm"), daemon.disable_webhook("crm", "")):
            with pytest.raises(PollerError, match="has not read yet how crm stands"):
                await question
        (crm,) = await daemon.webhooks()
        assert (crm.state, crm.why) == ("disabled", "disabled by hand: they move")


@pytest.mark.anyio
async def test_without_a_daemon_a_store_in_memory_knows_nothing_of_webhooks(tmp_path: Path) -> None:
    """That a webhook is up, or is disabled from now on, would be made up."""
    (tmp_path / "poller.yaml").write_text(CONFIG)
    async with opened(load(tmp_path / "poller.yaml", {"KEY": HMAC})) as app:
        work = Work(app, running=False)
        for question in (
            work.webhooks(),
            work.webhooks("crm"),
            work.enable_webhook("crm"),
            work.disable_webhook("crm", ""),
        ):
            with pytest.raises(PollerError, match="no daemon runs, and the store is of kind memory"):
                await question


@pytest.mark.anyio
async def test_a_replica_that_works_on_no_shard_switches_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "poller.yaml").write_text(CONFIG)
    async with opened(load(tmp_path / "poller.yaml", {"KEY": HMAC})) as app:
        app.shards = [Shard(app.store, shard.number, owner=Nobody(shard.number)) for shard in app.shards]
        daemon = Work(app, running=True)
        assert (await daemon.disable_webhook("crm", "they move")).before == "up"
        assert (await condition_of(app.store, "crm")).why == "disabled by hand: they move"


@pytest.mark.anyio
async def test_what_another_replica_was_told_a_moment_ago_is_not_overlooked(tmp_path: Path) -> None:
    """Else a command would change nothing where it is asked, and what was told before would come after it."""
    (tmp_path / "poller.yaml").write_text(CONFIG)
    async with opened(load(tmp_path / "poller.yaml", {"KEY": HMAC})) as app:
        (delivery,) = app.each
        await delivery.gate.load()
        daemon = Work(app, running=True)
        await switch(app.store, "crm", why="elsewhere", now=NOW)
        done = await daemon.enable_webhook("crm")
        await delivery.gate.follow()
        assert (done.before, done.state, delivery.health.state) == ("disabled", "down", "down")
        await daemon.disable_webhook("crm", "")
        await switch(app.store, "crm", why=None, now=NOW)
        assert (await daemon.disable_webhook("crm", "they move")).state == "disabled"
        await delivery.gate.follow()
        assert delivery.health.state == "disabled"
