"""The daemon killed (-9) at every step boundary of both lines, one after the other, in one world and on one store.

Boundaries are read from the code. Which scene meets a boundary is found out by a first life of each scene that is not killed.
"""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from e2e_daemon import STEP, Trial, daemon, kafka_sink, simulation, source, world
from e2e_lives import LIFE, SCENES, Lives, all_edges, copy_store, lives_of

from poller.simulate.broker import Broker
from poller.simulate.run import simulators

pytestmark = [pytest.mark.anyio, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(1200)]

BETWEEN = 12
"""So many crashes, then a life that may catch up."""
_TOO_LARGE = "an event too large for its topic: tests/sinks/kafka"
_STORE = "the store fails or is exchanged at the very start: tests/deliver"
ELSEWHERE = {
    "poller.poll._cut[0]": "more rows in many a shortest window than can be asked for",
    "poller.poll.read_page[2]": "an answer of more than 1,000 records: test_e2e_memory",
    "poller.deliver.Delivery._believe[2]": _STORE,
    "poller.deliver.Delivery.run[3]": "a sink that refuses after it has worked: tests/sinks/kafka",
    "poller.deliver.Delivery._fix_place[0]": _STORE,
    "poller.deliver.Delivery._fix_place[2]": _STORE,
    "poller.deliver.Delivery._fix_place[3]": _STORE,
    "poller.settle.Settler._stored[1]": _STORE,
    "poller.settle.Settler._stored[2]": _STORE,
    "poller.settle.Settler.begin[1]": "a renamed sink: tests/deliver",
    "poller.settle.Settler._kept_by_old_name": "a renamed sink: tests/deliver",
    "poller.settle.Settler._first": "start_from other than now: tests/deliver",
    "poller.settle.Settler.settle[1]": "at least once: nothing is settled there",
    "poller.settle.Settler._rule[0]": "a progress topic that was emptied: tests/deliver",
    "poller.settle.Settler.settle[4] after": "a minute later: the emptied store in test_e2e_history",
    "poller.settle.Settler.settle[12]": "Kafka fails between the fence and the first delivery: tests/deliver",
    "poller.healing.Healer._read_back[2]": "more than 1,000 events to read back: tests/deliver",
    "poller.sinks.kafka.lane.KafkaLane._transaction[0]": "at least once: tests/sinks/kafka",
    "poller.settle.Settler._watch[1] after": "a minute later: the emptied store in test_e2e_history",
    "poller.settle.Settler._watch[2]": "a minute later: the emptied store in test_e2e_history",
    "poller.sinks.kafka.reading.Reading._begins[0]": "the topics are read back whole: tests/sinks/kafka",
    "poller.sinks.kafka.lane.KafkaLane.note[1]": "Kafka fails within one transaction without events: tests/sinks/kafka",
    "poller.sinks.kafka.producer.Producer.start[1]": "Kafka fails while a producer starts: test_e2e_kafka",
    "poller.sinks.kafka.lane.KafkaLane._name_dead": _TOO_LARGE,
    "poller.sinks.kafka.lane.KafkaLane._refused": _TOO_LARGE,
    "poller.sinks.kafka.lane.KafkaLane._taken": _TOO_LARGE,
    "poller.sinks.kafka.lane.KafkaLane._anew": _TOO_LARGE,
    "poller.sinks.kafka.lane.KafkaLane.send[1]": _TOO_LARGE,
    "poller.sinks.kafka.producer.Producer.abort": _TOO_LARGE,
}
"""Boundaries that no scene here meets: when they are met, and where that is tested."""
_FIRST = "who notices another writer first, a poll or the delivery"
CHANCE = {
    "poller.schedule._failed": _FIRST,
    "poller.deliver.Delivery.run[1] after": _FIRST,
    "poller.deliver.Delivery.run[2]": _FIRST,
    "poller.deliver.Delivery._believe": _FIRST,
    "poller.deliver.Delivery.caught_up": "whether something waits when SIGTERM comes",
    "poller.healing.": "what a restored store holds, lacks and has not delivered; in any order in tests/deliver",
    "poller.settle.Settler._rule[1]": "whether the position was written before the end",
}
"""Boundaries that are met or not by chance, and what decides; the daemon is killed there when they are."""


async def test_killed_at_every_step_boundary_nothing_is_lost_or_doubled(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    config = simulation(world=world(calls_per_minute=40, history=180, slack=50, change_delay=(60, 90)))
    async with simulators(config) as sims:
        few = {
            "mor": ("user_calls", "recordings"),
            "thulium": ("connections",),
            "fonouc": ("cdrs", "recordings"),
        }
        sources = {vendor: source(sims, vendor, interval="200ms") for vendor in few}
        for vendor, kept in few.items():
            sources[vendor]["endpoints"] = {name: sources[vendor]["endpoints"][name] for name in kept}
        with daemon(tmp_path, sims, {"kafka": kafka_sink(broker.bootstrap, prefix)}, sources=sources) as running:
            trial = Trial(running, broker.bootstrap, prefix)
            trial.endpoints = frozenset(f"{vendor}.{name}" for vendor, names in few.items() for name in names)
            async with lives_of(running) as lives:
                await _crash_everywhere(trial, lives)


async def _crash_everywhere(trial: Trial, lives: Lives) -> None:
    met = await _meet(trial, lives)
    todo = [edge for edge in all_edges() if edge in met and not edge.startswith(tuple(ELSEWHERE))]
    # A store from before several changes of the id, none of them finished, has nothing left that it could be told by.
    todo.sort(key=lambda edge: met[edge][0] == "renamed")
    never = [edge for edge in all_edges() if edge not in met and not edge.startswith((*ELSEWHERE, *CHANCE))]
    print(f"to be killed at: {len(todo)} boundaries; never met: {never}", flush=True)
    missed: list[str] = []
    for number, edge in enumerate(todo, 1):
        scene, times = met[edge]
        if not await _crash(trial, lives, scene, edge, 1 + number % times if scene == "plain" else 1):
            missed.append(edge)
            print(f"missed: {edge} ({scene})", flush=True)
        if number % BETWEEN == 0:
            await _catch_up(trial, lives)
            print(f"{number} of {len(todo)}", flush=True)
    await lives.begin()
    await trial.advance(15)
    for edge in todo:
        print(f"{'MISSED' if edge in missed else 'killed'}  {edge:75} {met[edge][0]}")
    never = [edge for edge in all_edges() if edge not in met and not edge.startswith((*ELSEWHERE, *CHANCE))]
    print(
        f"{len(todo) - len(missed)} crashes by scene: {dict(Counter(met[edge][0] for edge in todo))}; never met: {never}"
    )
    missed = [edge for edge in missed if not edge.startswith(tuple(CHANCE))]
    assert not missed, f"met before, but not when the daemon was to be killed there: {missed}"
    assert not never, f"no scene meets these, and nothing says why: {never}"


async def _meet(trial: Trial, lives: Lives) -> dict[str, tuple[str, int]]:
    """Edge → the first scene that meets it, and how often (1 or 2)."""
    await _catch_up(trial, lives, 200)
    await _catch_up(trial, lives)
    met: dict[str, tuple[str, int]] = {}
    for scene in SCENES:
        hits = await _life(trial, lives, scene, None)
        assert hits is not None
        met = {edge: (scene, times) for edge, times in hits.items()} | met
        print(f"{scene}: {len(hits)} boundaries met, {len(met)} until now", flush=True)
        await _catch_up(trial, lives)
    return met


def _old(trial: Trial) -> Path:
    return trial.daemon.folder / "old.db"


async def _crash(trial: Trial, lives: Lives, scene: str, edge: str, nth: int) -> bool:
    """One life that ends at the edge; tried again at its first time when there was no later one."""
    for times in (nth, 1, 1, 1):
        if await _life(trial, lives, scene, edge, times) is None:
            return True
    return False


async def _life(trial: Trial, lives: Lives, name: str, edge: str | None, nth: int = 1) -> Counter[str] | None:
    """None: it ended at the edge. Else the edges that it met."""
    scene = SCENES[name](trial, _old(trial))
    trial.sims.world.clock.move(0.5)
    await scene.before()
    await lives.begin(edge, nth)
    await scene.during(lives)
    status, hits, own = await lives.end(LIFE if name == "hanging" else 7 if edge else 4)
    await scene.after()
    if edge is not None and own and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    if own:
        assert status == 0, f"{name}: {status}\n{lives.daemon.tail()}"
    return hits


async def _catch_up(trial: Trial, lives: Lives, count: int = 0) -> None:
    """A life until everything is there that has to be found soon. The store as it was before stays as an old copy."""
    if trial.daemon.store.exists():
        copy_store(trial.daemon.store, _old(trial))
    known = len(await trial.topics.read()) if count == 0 else 0
    trial.sims.world.clock.move(STEP)
    await lives.begin()
    await trial.until_published(max(count, known + 1))
    await trial.satisfied(60, due=trial.sims.world.now() + trial.margin)
    _, _, own = await lives.end(0)
    assert not own, trial.daemon.tail()
