"""`make chaos`, once through: whatever happens in a world of real parts, nothing is missing, and nothing comes twice."""

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from chaos_faults import faults
from chaos_judge import Judge, lost, twice
from chaos_machine_faults import MachineFault
from chaos_main import Run
from chaos_parts import Disks, Parts, database_on_a_small_disk
from chaos_parts_faults import BrokerFull, DatabaseFull, SixHours
from chaos_world import World, opened
from e2e_replicas import LEASE, MARKS
from kafka_doors import Door
from postgres_server import Server

from poller.simulate.broker import Broker
from poller.simulate.judge import MADE_UP

pytestmark = MARKS

MOST_APART = 4
"""Faults of the single machine: all of them are in `make chaos`, and so are those that take the longest."""
LONG = (BrokerFull, DatabaseFull, SixHours)


@pytest.fixture
def database(postgres: None) -> Iterator[tuple[Server, Disks]]:  # noqa: ARG001 asked for what it skips
    """One that may be out of room."""
    with database_on_a_small_disk() as found:
        yield found


async def test_whatever_happens_nothing_is_missing_and_nothing_comes_twice(
    broker: Broker, broker_doors: Sequence[Door], prefix: str, tmp_path: Path, database: tuple[Server, Disks]
) -> None:
    """Everything happens once, some of it at once; which with which is up to the seed, and what befalls the single machine."""
    seed = os.environ.get("POLLER_CHAOS", "5")
    parts = Parts(broker, broker_doors, *database)
    async with opened(tmp_path, parts, prefix, seed) as world:
        every, rnd = faults(world), random.Random(seed)
        assert "full disk under the broker" in world.left_out, "its disk is the machine's, and that is not said"
        assert not world.left_out.keys() & {fault.name for fault in every}
        apart = [fault for fault in every if isinstance(fault, MachineFault)]
        long = [fault for fault in every if isinstance(fault, LONG)]
        left_out = [*rnd.sample(apart, len(apart) - MOST_APART), *rnd.sample(long, len(long) - 1)]
        run = Run(world, random.Random(seed))
        await run.go(0, [fault for fault in every if fault not in left_out])
        assert run.report() == 0
        assert run.untried() == []
        assert run.by_two < LEASE
        await _the_judge_can_fail(world, world.judge)


async def _the_judge_can_fail(world: World, judge: Judge) -> None:
    """One event less, one more, one of them not at the webhook: each is found, in all that was right a moment ago."""
    now, events, bodies = world.sims.world.now(), judge.topics.events, world.inbox.bodies
    number = next(number for number, event in enumerate(events) if _of_mor(event))
    event = events.pop(number)
    assert lost(await judge.verdict(now)) == 1
    events += [event, event]
    verdict = await judge.verdict(now)
    assert (lost(verdict), twice(verdict)) == (0, 1)
    events.pop()
    body = bodies.pop(event["id"])
    assert judge.at_the_webhook() == [f"not at the webhook: {event['id']}"]
    bodies["another"] = body
    assert len(judge.at_the_webhook()) == 2
    bodies[event["id"]] = body | {b"another"}
    assert len(judge.at_the_webhook()) == 2


def _of_mor(event: Mapping[str, Any]) -> bool:
    """A call that is no invention of a fault. The first one is old: every ladder has reached it."""
    ours = event["type"] == "telephony.call.new" and event["source"] == "/poller/mor/calls"
    return ours and MADE_UP not in event["data"]["vendor"]
