"""Three replicas under whatever happens, in a seeded random order: nothing is missing, nothing twice, nobody polls beside another."""

import os
import random
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import anyio
import pytest
from e2e_daemon import Trial, kafka_sink, simulation
from e2e_replicas import LEASE, Replicas, kafka_fails, outages, replicas
from postgres_server import Server
from tcp_proxy import Proxy, proxy

from poller.simulate.broker import Broker
from poller.simulate.run import simulators

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
]

ALONE = ("killed", "asleep", "cut off", "replaced")
"""What happens to one replica while others go on."""
ALL = ("no database", "no broker")
TAKEN_OVER = LEASE + 3


class Chaos:
    """Replicas, and what can happen to them. Each replica has a proxy of its own before the database."""

    def __init__(
        self, them: Replicas, proxies: Mapping[int, Proxy], doors: Sequence[Proxy], server: Server, broker: Broker, trial: Trial,
    ) -> None:  # fmt: skip
        self.them = them
        self.proxies = proxies
        self.doors = doors
        self.server = server
        self.broker = broker
        self.trial = trial

    async def strike(self, number: int, what: str) -> None:
        """One replica is gone for the others."""
        one = self.them.each[number]
        if what == "killed":
            one.kill()
        elif what == "asleep":
            os.kill(one.pid, signal.SIGSTOP)
        elif what == "cut off":
            self.proxies[number].frozen = True
        else:
            assert await one.stop() == 0

    async def mend(self, number: int, what: str) -> None:
        """It is back."""
        one = self.them.each[number]
        if what in {"killed", "replaced"}:
            one.start()
        elif what == "asleep":
            os.kill(one.pid, signal.SIGCONT)
        else:
            self.proxies[number].cut()
            self.proxies[number].frozen = False

    async def without(self, victims: Mapping[int, str]) -> None:
        """The others take over what those had, and go on alone."""
        rest = [one for number, one in enumerate(self.them.each) if number not in victims]
        self.trial.daemon = rest[0]
        for number, what in victims.items():
            await self.strike(number, what)
        await self.them.until_shared(*rest, seconds=TAKEN_OVER)
        await self.trial.advance(8)
        for number, what in victims.items():
            await self.mend(number, what)

    async def apart(self, rnd: random.Random) -> None:
        """One cannot reach the broker. It may be killed meanwhile: then what it has found is for the others to publish."""
        one = rnd.choice(self.them.polling())
        door = self.doors[self.them.each.index(one)]
        await self.them.cut_off_for_a_lease(one, door)
        if rnd.random() < 0.5:
            one.kill()
            one.start()
        door.release()

    async def outage(self, what: str, victim: int) -> None:
        """All lose what they all need, and one is killed meanwhile."""
        down, up = (
            (self.server.stop, self.server.start) if what == "no database" else (self.broker.kill, self.broker.start)
        )
        await anyio.to_thread.run_sync(down)
        try:
            self.trial.sims.world.clock.move(5)
            rest = [one for number, one in enumerate(self.them.each) if number != victim]
            notices = outages if what == "no database" else kafka_fails
            # Of the brokers only those have a word who have something to publish.
            needed = all if what == "no database" else any
            await rest[0].until(lambda: needed(notices(one) for one in rest), 60, f"a word about {what}")
            self.them.each[victim].kill()
        finally:
            await anyio.to_thread.run_sync(up)
        self.them.each[victim].start()


async def test_whatever_happens_nothing_is_missing_and_nothing_comes_twice(
    broker: Broker, doors: list[Proxy], prefix: str, tmp_path: Path, postgres_server: Server
) -> None:
    rnd = random.Random(os.environ.get("POLLER_CHAOS", "5"))
    name, sinks = prefix.replace("-", "_"), {"kafka": kafka_sink(broker.bootstrap, prefix)}
    port = postgres_server.port
    async with simulators(simulation()) as sims, proxy(port) as p0, proxy(port) as p1, proxy(port) as p2:
        ports = {"r0": p0.port, "r1": p1.port, "r2": p2.port}
        with replicas(tmp_path, sims, sinks, postgres_server, name, ports) as them:
            them.publish_through(doors)
            trial = Trial(them.each[0], broker.bootstrap, prefix)
            chaos = Chaos(them, {0: p0, 1: p1, 2: p2}, doors, postgres_server, broker, trial)
            for one in them.each:
                one.start()
            await them.until_shared(*them.each)
            await trial.advance(10)
            for step in schedule(rnd, chaos):
                await step()
                await them.until_shared(*them.each)
                await trial.advance(8)
            for one in them.each:
                assert await one.stop() == 0
                assert "Traceback" not in one.log.read_text(encoding="utf-8")
            print("polled by two for", them.polled_by_two(), "s")
            assert them.polled_by_two() < LEASE


def schedule(rnd: random.Random, chaos: Chaos) -> list[Callable[[], Awaitable[None]]]:
    """Everything happens once, some of it to two at once."""
    kinds = rnd.sample(ALONE, len(ALONE))
    steps: list[Callable[[], Awaitable[None]]] = []
    while kinds:
        victims = rnd.sample(range(3), min(len(kinds), rnd.choice([1, 2])))
        steps.append(partial(chaos.without, {number: kinds.pop() for number in victims}))
    steps += [partial(chaos.outage, what, rnd.randrange(3)) for what in ALL]
    steps.append(partial(chaos.apart, rnd))
    rnd.shuffle(steps)
    for step in steps:
        print("chaos:", getattr(step, "args", ()))
    return steps
