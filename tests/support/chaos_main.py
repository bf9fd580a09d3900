"""`make chaos`: a seeded random sequence of faults in a world of real parts. Says what happens, and at the end what came of it."""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path

import anyio
from chaos_faults import Strike, faults
from chaos_judge import BOUND, Recovery, lost, twice
from chaos_machine_faults import MachineFault
from chaos_parts import Parts, broker_on_a_small_disk, database_on_a_small_disk
from chaos_world import Fault, World, opened
from e2e_replicas import LEASE

MOST = 3
"""At once."""
TAKEN_OVER = 60.0
"""Seconds: the patience of this bench. How long it took is told."""
LONG = 60.0
"""Seconds of recovery after which it is told what came last."""
SELDOM = 0.2


@dataclass
class Line:
    """What one fault has cost so far; of several at once, each is told the same."""

    times: int = 0
    kafka: float = 0.0
    webhook: float = 0.0
    lost: int = 0
    twice: int = 0

    def add(self, found: Recovery) -> None:
        self.times += 1
        self.kafka, self.webhook = max(self.kafka, found.kafka), max(self.webhook, found.webhook)
        self.lost += found.lost
        self.twice += found.twice


@dataclass
class Run:
    """One run: what happens is drawn from the seed; how long it takes is up to the machine."""

    world: World
    rnd: random.Random
    say: Callable[[str], None] = print
    lines: dict[str, Line] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    by_two: float = 0.0
    taken_over: float = 0.0
    passed_by: int = 0

    async def go(self, minutes: float, faults: Sequence[Fault]) -> None:
        """Until the time is over and everything has happened once, or something is wrong."""
        self.lines = {fault.name: Line() for fault in faults}
        bag: list[Fault] = []
        await self._begin()
        while not self.wrong and (time.monotonic() - self.began < minutes * 60 or self.untried()):
            if not bag:
                bag = self.rnd.sample(faults, len(faults))
            count = min(len(bag), self.rnd.randint(1, MOST))
            group, bag = bag[:count], bag[count:]
            await self._happen(group)
        await self._end()

    def untried(self) -> list[str]:
        """What has not happened yet."""
        return [name for name, line in self.lines.items() if not line.times]

    async def _begin(self) -> None:
        since = self.world.sims.world.now()
        for number in range(len(self.world.them.each)):
            self.world.start(number)
        await self.world.them.until_shared(*self.world.them.each, seconds=60)
        found = await self.world.judge.recovered(since, self.world.watch)
        self._note("the beginning", found)

    async def _happen(self, group: Sequence[Fault]) -> None:
        """They begin, last for a while, and end; then all has to come back."""
        names, since, began = " + ".join(fault.name for fault in group), self.world.sims.world.now(), time.monotonic()
        self.said(f"begins: {names}")
        for fault in group:
            await fault.begin(self.rnd)
            await anyio.sleep(self.rnd.uniform(0, 1))
        await self._taken_over(group)
        await anyio.sleep(max(0.0, began + self._lasts() - time.monotonic()))
        for fault in self.rnd.sample(group, len(group)):
            await fault.end()
        lasted = time.monotonic() - began
        found, apart = await self._recovered(since)
        for fault in group:
            self.lines[fault.name].add(apart if isinstance(fault, MachineFault) else found)
        self._note(names, found, lasted)
        if any(isinstance(fault, MachineFault) for fault in group):
            self._note("on the machine", apart, lasted)
        for text in self.world.told():
            self.said(text)
        if found.well:
            await self.world.them.until_shared(*self.world.them.each, seconds=60)
            if self.world.them.changed_hands():
                self.by_two = max(self.by_two, self.world.them.polled_by_two())

    async def _recovered(self, since: float) -> tuple[Recovery, Recovery]:
        """The replicas' and the machine's, each from now on."""
        found: dict[str, Recovery] = {}

        async def apart() -> None:
            found["machine"] = await self.world.machine.recovered()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(apart)
            found["replicas"] = await self.world.judge.recovered(since, self.world.watch)
        return found["replicas"], found["machine"]

    def _lasts(self) -> float:
        """Seconds: longer than a lease. Once everything has happened, now and then much longer."""
        long = not self.untried() and self.rnd.random() < SELDOM
        return self.rnd.uniform(20, 60) if long else self.rnd.uniform(LEASE + 1, LEASE + 6)

    async def _taken_over(self, group: Sequence[Fault]) -> None:
        """Where all else is well, the others have all shards soon."""
        rest = self.world.rest()
        if rest and all(isinstance(fault, Strike) for fault in group):
            self.taken_over = max(self.taken_over, await self.world.them.until_shared(*rest, seconds=TAKEN_OVER))

    def _note(self, names: str, found: Recovery, lasted: float = 0) -> None:
        self.said(
            f"ended:  {names}; lasted {lasted:.0f} s, then all in Kafka after {found.kafka:.1f} s, at the webhook after "
            f"{found.webhook:.1f} s; {found.lost} lost, {found.twice} twice"
        )
        if LONG < found.kafka < inf:
            self.said(f"came last: {'; '.join(found.came_last)}")
        if not found.well:
            self.wrong += [
                f"after {names}: {found.lost} lost, {found.twice} twice, within {BOUND:.0f} s",
                *found.examples,
            ]

    def said(self, text: str) -> None:
        self.say(f"{time.monotonic() - self.began:6.0f} s  {text}")

    async def _end(self) -> None:
        """The world stands still, the replicas end in order, and everything is judged once more."""
        world = self.world
        for site in world.sims.sites.values():
            site.faults.calm()
        if not self.wrong:
            world.sims.world.clock.run_at(0)
            at = world.machine.sims.world.now()
            for name, found in zip(
                ("the end", "the end on the machine"), await self._recovered(world.sims.world.now()), strict=True
            ):
                self._note(name, found)
            self.passed_by = world.judge.passed_by(world.sims.world.now()) + world.machine.judge.passed_by(at)
        if (code := await world.machine.daemon.stop(60)) != 0:
            self.wrong.append(f"the daemon on the machine ended with {code}")
        for number, one in enumerate(world.them.each):
            world.struck.add(number)
            if (code := await one.stop(60)) != 0:
                self.wrong.append(f"r{number} ended with {code}")
        world.watch()
        verdict = await world.judge.verdict(world.sims.world.now())
        if lost(verdict) or twice(verdict):
            self.wrong += [f"at the end: {lost(verdict)} lost, {twice(verdict)} twice", *verdict.examples]
        self.wrong += world.judge.at_the_webhook()
        if not world.them.changed_hands():
            self.wrong.append("no source changed hands: nothing can be told about two that poll it at once")
        if self.by_two >= LEASE:
            self.wrong.append(f"an endpoint was polled by two replicas for {self.by_two:.1f} s")

    def report(self) -> int:
        """The table and the line of totals; the exit code."""
        width = max(map(len, self.lines))
        self.say(f"{'fault':{width}}  times  Kafka s  webhook s  lost  twice")
        for name, line in self.lines.items():
            self.say(
                f"{name:{width}}  {line.times:5}  {line.kafka:7.1f}  {line.webhook:9.1f}  {line.lost:4}  {line.twice:5}"
            )
        for name, why in self.world.left_out.items():
            self.say(f"left out: {name}: {why}")
        for text in self.wrong:
            self.say(f"WRONG: {text}")
        events, minutes = len(self.world.judge.published()), (time.monotonic() - self.began) / 60
        fired = sum(sum(site.faults.fired.values()) for site in self.world.sims.sites.values())
        self.say(
            f"{minutes:.1f} minutes, {sum(line.times for line in self.lines.values())} faults, {fired} of the phone systems', {events} events, "
            f"{self.world.inbox.times} webhook calls taken, {len(self.world.restarts)} restarts, shards taken over within "
            f"{self.taken_over:.1f} s, polled by two for {self.by_two:.1f} s, "
            f"{self.passed_by} states came and went unseen: {sum(line.lost for line in self.lines.values())} lost, {sum(line.twice for line in self.lines.values())} twice"
        )
        return 1 if self.wrong else 0


async def run(folder: Path, parts: Parts, *, prefix: str, asked: argparse.Namespace) -> int:
    """One whole run; the exit code."""
    async with opened(folder, parts, prefix, asked.seed) as world:
        every = faults(world)
        chosen = [fault for fault in every if fault.name in (asked.fault or fault.name)]
        for name, why in world.left_out.items():
            print(f"left out: {name}: {why}")
        if not chosen:
            print(f"nothing here is called {asked.fault!r}; there are: {', '.join(fault.name for fault in every)}")
            return 2
        this = Run(world, random.Random(asked.seed))
        await this.go(asked.minutes, chosen)
        return this.report()


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(1 << 30)))
    parser.add_argument("--fault", default=None, help="nothing else happens, such as 'broker killed'")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended
    folder = Path(tempfile.mkdtemp(prefix="poller-chaos-"))
    print(f"seed {asked.seed}; logs are in {folder} and stay there if anything is wrong", flush=True)
    with broker_on_a_small_disk(folder) as (broker, doors, one), database_on_a_small_disk() as (server, other):
        parts = Parts(broker, doors, server, {**one, **other})
        code = anyio.run(partial(run, folder, parts, prefix=f"c{os.getpid()}", asked=asked))
    if not code:
        shutil.rmtree(folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
