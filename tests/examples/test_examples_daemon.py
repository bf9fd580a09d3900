"""The whole program, simulated phone systems and the example receiver: a webhook gets what the other sinks get, under the same ids."""

import json
from pathlib import Path

import pytest
from cli_command import command
from e2e_daemon import daemon, simulation
from example_receiver import ExampleReceiver, command_of

from poller.signing import hmac_text
from poller.simulate.run import simulators

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SECRET = hmac_text(bytes(range(32)))
ONCE = command("run", "--once", "-c")


async def test_a_receiver_gets_what_the_other_sinks_get(tmp_path: Path) -> None:
    key, lines = tmp_path / "crm.key", tmp_path / "events.ndjson"
    key.write_text(SECRET, encoding="utf-8")
    key.chmod(0o600)
    with ExampleReceiver(command_of("python", tmp_path), tmp_path / "inbox", [SECRET]) as receiver:
        hook = {"kind": "webhook", "url": receiver.url, "secrets": [{"file": str(key)}], "timeout": "60s"}
        allowed = {"allow": ["127.0.0.0/8"], "allow_http": True, "concurrency": 8, "vendor": "include"}
        sinks = {"crm": hook | allowed, "file": {"kind": "ndjson", "path": str(lines)}}
        async with simulators(simulation()) as sims:
            with daemon(tmp_path, sims, sinks) as running:
                running.settings["shutdown_grace"] = "5m"  # which it takes to deliver everything
                running.write()
                running.start(ONCE)
                assert await running.ended(90) == 0, running.tail()
                said = running.log.read_text(encoding="utf-8")
        noted = {name: json.loads(body) for name, body in receiver.noted().items()}
    written = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert len(written) > 200
    assert {event["type"] for event in written} >= {"telephony.call.new", "telephony.recording.new"}
    assert noted == {event["id"]: event for event in written}
    assert SECRET not in said
    assert SECRET.removeprefix("whsec_") not in said
