"""What happens to replicas, phone systems, the receiver, and to the ways between them all."""

import os
import random
import signal
from collections.abc import Callable, Sequence
from functools import partial

from chaos_links import Link
from chaos_machine_faults import faults as machine_faults
from chaos_names import NameServer
from chaos_parts_faults import faults as parts_faults
from chaos_world import KINDS, NO_NAMES, Fault, World


class Strike:
    """Something that makes replicas lose their leases; nothing is to be noticed but that the others take over."""

    name = ""
    most = 1

    def __init__(self, world: World) -> None:
        self.world = world
        self.numbers: list[int] = []

    async def begin(self, rnd: random.Random) -> None:
        """Where none is left to which nothing has happened, nothing more happens."""
        self.numbers = self.world.take(rnd, self.most)
        for number in self.numbers:
            await self.strike(number)

    async def end(self) -> None:
        for number in self.numbers:
            await self.mend(number)
            self.world.struck.discard(number)

    async def strike(self, number: int) -> None:
        """It is gone for the others."""
        self.world.them.each[number].kill()

    async def mend(self, number: int) -> None:
        """It is back."""
        self.world.start(number)


class Killed(Strike):
    name = "replica killed"


class AllKilled(Strike):
    name = "all replicas killed"
    most = 3


class Asleep(Strike):
    """For longer than a lease."""

    name = "replica asleep"

    async def strike(self, number: int) -> None:
        os.kill(self.world.them.each[number].pid, signal.SIGSTOP)

    async def mend(self, number: int) -> None:
        os.kill(self.world.them.each[number].pid, signal.SIGCONT)


class Replaced(Strike):
    """As an upgrade does it. What it cannot finish, because something else is broken, is left to the others."""

    name = "replica replaced"

    async def strike(self, number: int) -> None:
        os.kill(self.world.them.each[number].pid, signal.SIGTERM)

    async def mend(self, number: int) -> None:
        code = await self.world.them.each[number].ended(30)
        assert code == 0, f"r{number} was told to stop and ended with {code}"
        self.world.start(number)


class NoDatabase(Strike):
    """One replica has no way to the database, and nobody tells it."""

    name = "cut off from the database"

    async def strike(self, number: int) -> None:
        _freeze(self.world.links["database"][number])

    async def mend(self, number: int) -> None:
        _thaw(self.world.links["database"][number])


class CutOff:
    """One replica has no way to something else that it needs: what is sent is lost, and nobody tells it."""

    def __init__(self, kind: str, world: World) -> None:
        self.name = f"cut off from the {kind}"
        self._all = world.links[kind]
        self._links: Sequence[Link] = ()

    async def begin(self, rnd: random.Random) -> None:
        self._links = rnd.choice(self._all)
        _freeze(self._links)

    async def end(self) -> None:
        _thaw(self._links)


class Late:
    """What one replica sends to the broker is held, for longer than a lease, and comes through afterwards."""

    name = "held before the broker"

    def __init__(self, world: World) -> None:
        self._all = world.links["broker"]
        self._links: Sequence[Link] = ()

    async def begin(self, rnd: random.Random) -> None:
        self._links = rnd.choice(self._all)
        for one in self._links:
            one.hold()

    async def end(self) -> None:
        for one in self._links:
            one.release()


class Bad:
    """One replica's ways to something, or everybody's, are slow or lossy."""

    def __init__(self, how: str, kind: str, world: World) -> None:
        self.name = f"{how} way to the {kind}"
        self._lossy = how == "lossy"
        self._all = world.links[kind]

    async def begin(self, rnd: random.Random) -> None:
        some = self._all if rnd.random() < 0.5 else [rnd.choice(self._all)]
        losses, delay, rate = rnd.uniform(0.05, 0.3), rnd.uniform(0.02, 0.3), rnd.uniform(8_000, 60_000)
        for one in _flat(some):
            one.rnd = random.Random(rnd.random())
            if self._lossy:
                one.losses = losses
            else:
                one.delay, one.rate = delay, rate

    async def end(self) -> None:
        for one in _flat(self._all):
            if self._lossy:
                one.losses = 0.0
            else:
                one.delay, one.rate = 0.0, 0.0


class Gone:
    """A phone system, or the webhook's receiver: killed, and started again."""

    def __init__(self, kind: str, world: World) -> None:
        self.name = f"{kind} killed"
        self._all = world.links[kind]
        self._links: Sequence[Link] = ()

    async def begin(self, rnd: random.Random) -> None:
        which = rnd.randrange(len(self._all[0]))
        self._links = [of_one[which] for of_one in self._all]
        for one in self._links:
            await one.shut()

    async def end(self) -> None:
        for one in self._links:
            await one.open()


class NoNames:
    """No name server answers, and all connections have to be made anew."""

    name = NO_NAMES

    def __init__(self, names: NameServer, world: World) -> None:
        self._names = names
        self._links = [one for kind in KINDS for one in _flat(world.links[kind])]

    async def begin(self, rnd: random.Random) -> None:  # noqa: ARG002 there is nothing to choose
        self._names.gone = True
        for one in self._links:
            one.reset()

    async def end(self) -> None:
        self._names.gone = False


def _flat(links: Sequence[Sequence[Link]]) -> list[Link]:
    return [one for of_one in links for one in of_one]


def _freeze(links: Sequence[Link]) -> None:
    for one in links:
        one.frozen = True


def _thaw(links: Sequence[Link]) -> None:
    for one in links:
        one.reset()
        one.frozen = False


FAULTS: Sequence[Callable[[World], Fault]] = (
    Killed,
    AllKilled,
    Asleep,
    Replaced,
    NoDatabase,
    *(partial(CutOff, kind) for kind in KINDS if kind != "database"),
    Late,
    *(partial(Bad, how, kind) for kind in KINDS for how in ("slow", "lossy")),
    partial(Gone, "vendor"),
    partial(Gone, "webhook"),
)


def faults(world: World) -> list[Fault]:
    """All that can happen here; what cannot is in `world.left_out`."""
    names = [NoNames(world.names, world)] if world.names is not None else []
    return [*(fault(world) for fault in FAULTS), *names, *parts_faults(world), *machine_faults(world.machine)]
