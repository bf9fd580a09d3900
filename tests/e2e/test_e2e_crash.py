"""The daemon killed (-9) at every step boundary of both lines, one after the other, in one world and on one store.

Boundaries are read from the code. Which scene meets a boundary is found out by a first life of each scene that is not killed.
A life that is to end somewhere makes the work that leads there and waits for what it must come to, never for a time.
"""

import os
import time
from collections import defaultdict
from pathlib import Path

import pytest
from e2e_daemon import Trial, daemon, kafka_sink, simulation, source, world
from e2e_edges import MODULES, edges
from e2e_elsewhere import excused, stale
from e2e_lives import Lives, copy_store, lives_of, put_store
from e2e_scenes import FIRST, SCENES, SEND, Scene
from e2e_work import Work

from poller.simulate.broker import Broker
from poller.simulate.run import simulators

pytestmark = [pytest.mark.anyio, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(2400)]

BETWEEN = 12
"""So many crashes, then a life whose end is judged."""
APART = 20
"""Or after so many seconds of the world: a state has to be found before the next one replaces it."""
MORE = 3
"""So many more rounds of work a life gets that has not come to its edge, before another life is tried."""
FEW = {"mor": ("user_calls", "recordings"), "thulium": ("connections",), "fonouc": ("cdrs", "recordings")}
ONLY = os.environ.get("CRASH_ONLY", "")
"""For trying out: only boundaries whose names hold this. The test is not passed then."""


async def test_killed_at_every_step_boundary_nothing_is_lost_or_doubled(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    assert not stale(edges()), f"excused, but not in the code: {stale(edges())}"
    config = simulation(world=world(calls_per_minute=40, history=400, slack=50, change_delay=(60, 90)))
    async with simulators(config) as sims:
        sources = {vendor: source(sims, vendor, interval="200ms", start="1h") for vendor in FEW}
        for vendor, kept in FEW.items():
            sources[vendor]["endpoints"] = {name: sources[vendor]["endpoints"][name] for name in kept}
        with daemon(tmp_path, sims, {"kafka": kafka_sink(broker.bootstrap, prefix)}, sources=sources) as running:
            trial = Trial(running, broker.bootstrap, prefix)
            trial.endpoints = frozenset(f"{vendor}.{name}" for vendor, names in FEW.items() for name in names)
            async with lives_of(running) as lives:
                crashes = Crashes(trial, lives)
                await crashes.first_life()
                await crashes.everywhere()
                await lives.begin()
                await trial.advance(15)
                await lives.end()
            crashes.report()


class Crashes:
    """What was met in which scene, and where the daemon was killed."""

    def __init__(self, trial: Trial, lives: Lives) -> None:
        self.trial = trial
        self.lives = lives
        self.work = Work(trial.sims)
        self.names = [edge.name for edge in edges(MODULES)]
        self.scenes: dict[str, dict[str, int]] = defaultdict(dict)
        """Edge → the scenes that have met it, and how often a life of each did."""
        self._judged_at = 0.0

    async def first_life(self) -> None:
        """Reads what has happened before the start. A copy is kept from before the first delivery."""
        for edge in FIRST:
            put_store(None, self.trial.daemon.store)
            Scene(self.trial, self.lives, self.work).rename()
            await self.lives.begin(edge, hold=SEND)
            assert not await self.lives.until(lambda: self.lives.times(SEND), "a first delivery"), edge
            await self.lives.end()
        await self.lives.begin(hold=SEND)
        assert await self.lives.until(lambda: self.lives.times(SEND), "a first delivery")
        copy_store(self.trial.daemon.store, self.trial.daemon.folder / "beginning.db")
        self.lives.release()
        # More than one chunk of a healing.
        await self.trial.until_published(1_001, 90)
        await self.lives.end()
        await self.judged()

    async def everywhere(self) -> None:
        """Finds out what the scenes meet, then kills the daemon everywhere there."""
        for name in SCENES:
            began = time.monotonic()
            await self.life(name)
            for edge, times in self.lives.hits().items():
                self.scenes[edge].setdefault(name, times)
            print(f"{name}: {len(self.scenes)} met until now, {time.monotonic() - began:.1f} s", flush=True)
            await self.judged()
        todo = [edge for edge in self.names if self.scenes[edge] and ONLY in edge]
        # One scene after the other: an id must not be changed while the store is empty, which then is nothing that could be healed.
        todo.sort(key=lambda edge: list(SCENES).index(next(iter(self.scenes[edge]))))
        scene = ""
        print(f"to be killed at: {len(todo)}", flush=True)
        unjudged = 0
        for number, edge in enumerate(todo, 1):
            before, scene = scene, next(iter(self.scenes[edge]))
            if scene != before:
                await self.judged()
            if not await self._killed(edge, 1 + number % 2):
                print(f"missed: {edge} {self.scenes[edge]}", flush=True)
            unjudged += 1
            if unjudged == BETWEEN or self.trial.sims.world.now() - self._judged_at > APART:
                await self.judged()
                unjudged = 0
                print(f"{number} of {len(todo)}", flush=True)

    async def _killed(self, edge: str, nth: int) -> bool:
        """One life that ends at the edge; more than one where it did not come to it, or not so often."""
        first, *others = self.scenes[edge]
        nth = min(nth, self.scenes[edge][first])
        for name, times in ((first, nth), (first, 1), *((name, 1) for name in others), (first, 1)):
            if await self.life(name, edge, times):
                return True
            await self.judged()
        return False

    async def life(self, name: str, edge: str | None = None, nth: int = 1) -> bool:
        """Whether it ended at the edge."""
        scene = SCENES[name](self.trial, self.lives, self.work)
        await scene.before()
        await self.lives.begin(edge, nth, hold=scene.hold)
        await scene.during()
        for _ in range(MORE if edge else 0):
            if self.lives.lasts:
                await scene.more()
        status = await self.lives.end()
        await scene.after()
        # Only a life that was told to stop ends by itself.
        assert status is None or status == 0, f"{name} ({edge}): {status}\n{self.trial.daemon.tail()}"
        return edge is not None and self.lives.at_edge

    async def judged(self) -> None:
        """A life until everything is there that has to be found soon.

        A copy of its store is kept, and calls are published after it: never of a store that is being healed or settled itself.
        """
        await self.lives.begin()
        scene = Scene(self.trial, self.lives, self.work)
        await scene.deliver()
        await self.trial.satisfied(120, due=self.trial.sims.world.now() + self.trial.margin)
        copy_store(self.trial.daemon.store, scene.old_store)
        await scene.deliver()
        assert self.lives.lasts, self.trial.daemon.tail()
        await self.lives.end()
        self._judged_at = self.trial.sims.world.now()

    def report(self) -> None:
        """How often each boundary was met and the daemon killed there. Raises AssertionError where one was not."""
        met, killed = self.lives.met, self.lives.killed
        print(f"{'killed':>6} {'met':>7}")
        for edge in edges(MODULES):
            where = next(iter(self.scenes[edge.name]), excused(edge))
            print(f"{killed[edge.name]:6} {met[edge.name]:7}  {edge.name:100} {where}")
        print(f"{sum(killed.values())} crashes at {len(killed)} of {len(self.names)} boundaries")
        never = {edge.name: met[edge.name] for edge in edges(MODULES) if not killed[edge.name] and not excused(edge)}
        assert not never, f"never killed there (but met so often), and nothing says why: {never}"
        assert not ONLY, "not every boundary was tried"
