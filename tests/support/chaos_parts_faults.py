"""What happens to the database and to the broker themselves, and so to all replicas at once."""

import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import anyio
import psycopg
from anyio import to_thread
from chaos_hours import six_hours_pass
from chaos_world import FULL, Fault, World

from poller.simulate.broker import Broker

_NOTICES = 30.0
"""Seconds within which a broker has tried to write, and ended."""
_SWITCHES = 4
"""So many files of what is written ahead may be there beforehand."""


class Killed:
    """One of them, and everything that it had started."""

    def __init__(self, name: str, kill: Callable[[], None], up: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self._kill = kill
        self._up = up

    async def begin(self, rnd: random.Random) -> None:  # noqa: ARG002 there is nothing to choose
        await to_thread.run_sync(self._kill)

    async def end(self) -> None:
        await self._up()


class Asleep:
    """One of them is stopped and woken again, with what it was doing: as in a long collection of garbage."""

    def __init__(self, name: str, send: Callable[[signal.Signals], object]) -> None:
        self.name = name
        self._send = send

    async def begin(self, rnd: random.Random) -> None:  # noqa: ARG002 there is nothing to choose
        self._send(signal.SIGSTOP)

    async def end(self) -> None:
        self._send(signal.SIGCONT)


def _to_broker(broker: Broker, sign: signal.Signals) -> None:
    if broker.pid is not None:  # else it was killed beside
        with suppress(ProcessLookupError):
            os.kill(broker.pid, sign)


class DatabaseFull:
    """Its tables cannot grow; half of the time it cannot even write ahead, and ends by itself."""

    name = f"{FULL} database"

    def __init__(self, world: World) -> None:
        self._world = world
        self._disk = world.parts.disks["database"]

    async def begin(self, rnd: random.Random) -> None:
        self._said = self._refusals()
        self._disk.fill()
        if rnd.random() < 0.5:
            await to_thread.run_sync(self._use_up)

    async def end(self) -> None:
        ended = not self._world.parts.server.state
        self._disk.empty()
        await self._world.parts.database_up()
        self._world.said.append(
            f"{self.name}: it {'had ended' if ended else 'lived'}; the replicas said {self._refusals() - self._said} times that it has no room"
        )

    def _use_up(self) -> None:
        """The files that it has already for what it writes ahead."""
        server = self._world.parts.server
        with suppress(psycopg.Error):
            for _ in range(_SWITCHES if server.state not in ("", "T") else 0):
                with psycopg.connect(server.dsn(), autocommit=True) as connection:
                    connection.execute("SELECT pg_logical_emit_message(false, 'filler', 'x'), pg_switch_wal()")

    def _refusals(self) -> int:
        return sum(
            "no room left" in str(line.get("error")) for one in self._world.them.each for line in one.said("failing")
        )


class BrokerFull:
    """It cannot write, and ends by itself, as brokers do."""

    name = f"{FULL} broker"

    def __init__(self, world: World) -> None:
        self._world = world
        self._disk = world.parts.disks["broker"]

    async def begin(self, rnd: random.Random) -> None:  # noqa: ARG002 there is nothing to choose
        self._disk.fill()
        self._began = time.monotonic()

    async def end(self) -> None:
        broker = self._world.parts.broker
        with anyio.move_on_after(_NOTICES):
            while broker.pid is not None and broker.ended is None:  # noqa: ASYNC110 a process of its own
                await anyio.sleep(0.1)
        how = (
            "was killed beside"
            if broker.pid is None
            else "lived"
            if broker.ended is None
            else f"had ended with {broker.ended}"
        )
        self._disk.empty()
        await self._world.parts.broker_up()
        self._world.said.append(f"{self.name}: it {how}")


class SixHours:
    """Six hours for everybody, a moment for whoever waits. The phone systems go on."""

    name = "6 hours without the database"

    def __init__(self, world: World) -> None:
        self._world = world
        self._links = [one for of_one in world.links["database"] for one in of_one]

    async def begin(self, rnd: random.Random) -> None:  # noqa: ARG002 there is nothing to choose
        for one in self._links:
            await one.shut()
        things = six_hours_pass(self._world.clock, self._world.sims)
        self._world.said.append(f"{self.name}: {things} things happened meanwhile")

    async def end(self) -> None:
        for one in self._links:
            await one.open()


_OF_DISKS: dict[str, Callable[[World], Fault]] = {"database": DatabaseFull, "broker": BrokerFull}


def faults(world: World) -> list[Fault]:
    """All that can befall them."""
    parts = world.parts
    return [
        Killed("database killed", parts.server.kill, parts.database_up),
        Asleep("database asleep", parts.server.send),
        Killed("broker killed", parts.broker.kill, parts.broker_up),
        Asleep("broker asleep", partial(_to_broker, parts.broker)),
        SixHours(world),
        *(fault(world) for what, fault in _OF_DISKS.items() if what in parts.disks),
    ]
