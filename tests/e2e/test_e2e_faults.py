"""Every named fault of the vendors, several at once, while the daemon polls and publishes: the truth afterwards is whole."""

import json
from collections import Counter
from pathlib import Path

import anyio
import pytest
from cli_command import command
from e2e_daemon import Trial, daemon, kafka_sink, simulation, world

from poller.simulate.broker import Broker
from poller.simulate.faults import FAULTS
from poller.simulate.run import simulators

pytestmark = [pytest.mark.anyio, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(1200)]

FILES = {"file_json", "file_short"}
"""Faults of recording files, which the daemon never fetches; `recording fetch` has tests of its own."""
TRANSPORT = tuple(name for name, fault in FAULTS.items() if fault.where in {"before", "after"})
CONTENT = tuple(
    name for name, fault in FAULTS.items() if fault.where in {"clock", "records", "page"} and name not in FILES
)


STEPS = 30
"""So often the world moves on for the faults that were forced; everything has been found before each step."""


@pytest.mark.parametrize(
    ("names", "rate", "calls"),
    [(TRANSPORT, 0.01, 50), (CONTENT, 0.04, 110)],
    ids=["transport and bodies", "headers, records and pages"],
)
async def test_faults_lose_double_and_invent_nothing(
    names: tuple[str, ...], rate: float, calls: float, broker: Broker, prefix: str, tmp_path: Path
) -> None:
    config = simulation(
        world=world(calls_per_minute=calls, exact_share=0, slack=30, change_delay=(40, 60)),
        faults=dict.fromkeys(names, rate),
    )
    async with simulators(config) as sims:
        with daemon(tmp_path, sims, {"kafka": kafka_sink(broker.bootstrap, prefix)}) as running:
            trial = Trial(running, broker.bootstrap, prefix)
            running.start()
            await running.until_said("running")
            await trial.advance(60, 90)
            await _force_the_rest(trial, names)
            for site in sims.sites.values():
                site.faults.calm()
            await trial.advance(60, 120)
            print("fired:", {name: times for name, times in trial.fired().items() if times})
            if "bad_record" in names:
                await _dead_letters_once(trial)
            assert await running.stop() == 0


async def _force_the_rest(trial: Trial, names: tuple[str, ...]) -> None:
    """Chance may leave a fault out; a fault that never fires would prove nothing."""
    for name in names:
        if not trial.fired()[name]:
            for site in trial.sims.sites.values():
                site.faults.force(name)
    for _ in range(STEPS):
        if all(trial.fired()[name] for name in names):
            return
        await trial.advance(1, 90)
    silent = [name for name in names if not trial.fired()[name]]
    assert not silent, f"these faults never fired: {silent}"


async def _dead_letters_once(trial: Trial) -> None:
    """Records that nobody can understand are kept, each once, and counted once."""
    said = await anyio.run_process(
        command("dead-letters", "list", "--json", "-c", str(trial.daemon.config)),
        env=trial.daemon.environment,
    )
    letters = json.loads(said.stdout)
    assert letters
    assert max(Counter(letter["id"] for letter in letters).values()) == 1
