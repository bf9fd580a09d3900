"""How a run with a webhook ends: `run --once` waits for what is due soon and counts what is left; SIGTERM waits for no receiver."""

from pathlib import Path
from typing import Any

import pytest
from cli_command import command
from e2e_daemon import daemon, simulation
from e2e_each import Inbox
from webhook_receiver import Receiver, receiver

from poller.signing import hmac_text
from poller.simulate.run import simulators

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ONCE = command("run", "--once", "-c")


def sink(folder: Path, running: Receiver, **more: Any) -> dict[str, Any]:
    """A webhook that may reach this machine."""
    key = folder / "crm.key"
    key.write_text(hmac_text(bytes(range(32))), encoding="utf-8")
    hook = {"kind": "webhook", "url": running.url(), "secrets": [{"file": str(key)}], "timeout": "60s"}
    return hook | {"allow": ["127.0.0.0/8"], "allow_http": True, "concurrency": 8} | more


async def test_once_waits_for_what_is_tried_again_soon(tmp_path: Path) -> None:
    inbox = Inbox()
    inbox.mode = "refuses at first"
    async with receiver(inbox) as running, simulators(simulation(vendors=("thulium",))) as sims:
        hook = sink(tmp_path, running, schedule=["200ms"] * 9, probe="200ms")
        with daemon(tmp_path, sims, {"crm": hook}) as program:
            program.start(ONCE)
            assert await program.ended(60) == 0, program.tail()
            (stopped,) = program.said("stopped")
    assert stopped["pending"] == 0
    assert len(inbox.bodies) > 20
    assert all(tries > 1 for tries in inbox.tries.values())


async def test_once_leaves_what_is_due_later_counts_it_and_the_daemon_goes_on_with_it(tmp_path: Path) -> None:
    inbox = Inbox()
    inbox.mode = "refuses"
    async with receiver(inbox) as running, simulators(simulation(vendors=("thulium",))) as sims:
        inbox.retry_after = 7_200  # without it, probes would be waited for until they are more than a minute apart
        with daemon(tmp_path, sims, {"crm": sink(tmp_path, running, schedule=["1h"])}) as program:
            program.start(ONCE)
            assert await program.ended(60) == 1, program.tail()
            (stopped,) = program.said("stopped")
            assert stopped["pending"] > 20
            assert inbox.bodies == {}
            assert len(inbox.tries) < 20, "fresh events are not tried while it is down"


async def test_sigterm_waits_for_no_receiver_that_hangs(tmp_path: Path) -> None:
    inbox = Inbox()
    inbox.mode = "hangs"
    async with receiver(inbox) as running, simulators(simulation(vendors=("thulium",))) as sims:
        with daemon(tmp_path, sims, {"crm": sink(tmp_path, running)}) as program:
            program.settings["shutdown_grace"] = "6s"
            program.write()
            program.start()
            await program.until(lambda: inbox.calls >= 8, 60, "calls are under way")
            assert await program.stop(30) == 0
            (stopped,) = program.said("stopped")
            assert stopped["pending"] > 8
            inbox.mode = "takes"
            program.start()
            await program.until(lambda: len(inbox.bodies) >= stopped["pending"], 60, "all of them arrive")
