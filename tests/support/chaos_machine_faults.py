"""What befalls a machine: its disk, its clock, its open files, vendors that hang or flood, outages of hours."""

import resource
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import anyio
from chaos_hours import six_hours_pass
from chaos_machine import Machine
from chaos_vendor import FLOODS, HANGS, Mood, WorstVendor
from e2e_memory import resident

JUMPS = {"minutes": 300, "hours": 6 * 3600, "days": 3 * 86_400, "a year": 365 * 86_400}
"""Seconds."""
CONNECTIONS = 300
_FEW = 100
_ASKED = 10.0
"""Seconds."""


class MachineFault(ABC):
    """Something that happens to the machine, and to no replica."""

    name = ""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.daemon = machine.daemon

    async def begin(self, rnd: Random) -> None:
        self.machine.since = min(self.machine.since, self.machine.sims.world.now())
        await self.strike(rnd)

    @abstractmethod
    async def strike(self, rnd: Random) -> None:
        """It happens."""

    @abstractmethod
    async def end(self) -> None:
        """It is over."""

    def say(self, text: str) -> None:
        """What was measured of it."""
        self.machine.said.append(f"{self.name}: {text}")


class DiskFull(MachineFault):
    """Not a byte is left, neither for the store nor for the file sink."""

    name = "disk full"

    async def strike(self, rnd: Random) -> None:  # noqa: ARG002 there is nothing to choose
        self._said = len(self._words())
        self.machine.disk.fill(self.daemon.pid)

    async def end(self) -> None:
        felt = self._words()[self._said :]
        self.say(f"by {'a filesystem' if self.machine.disk.real else 'a limit on files'}, said {len(felt)} times")
        self.machine.disk.empty()

    def _words(self) -> list[str]:
        said = (str(line.get("error")) for line in self.daemon.said("failing"))
        return [
            text for text in said if any(word in text for word in ("no room", "No space", "too large", "use its disk"))
        ]


class ClockJumps(MachineFault):
    """The machine's clock is set wrong, by minutes to a year, and right again."""

    def __init__(self, machine: Machine, ahead: int) -> None:
        super().__init__(machine)
        self.name = f"clock jumps {'ahead' if ahead > 0 else 'back'}"
        self._way = ahead

    async def strike(self, rnd: Random) -> None:
        how = rnd.choice(list(JUMPS))
        self._apart = self._way * JUMPS[how] * rnd.uniform(1.0, 1.2)
        self.machine.clock.jump(self._apart)
        self.say(how)

    async def end(self) -> None:
        self.machine.clock.jump(-self._apart)


class FilesExhausted(MachineFault):
    """The process may open no file and no connection more, and some of those it has break."""

    name = "no more open files"

    async def strike(self, rnd: Random) -> None:  # noqa: ARG002 there is nothing to choose
        _limit_files(self.machine, open_files(self.daemon.pid) - 4)
        for site in self.machine.sims.sites.values():
            site.faults.force("connection_reset", 2)

    async def end(self) -> None:
        _limit_files(self.machine)


class Scraped(MachineFault):
    """Somebody opens the metrics' port by the hundreds and asks nothing, and the process may open fewer files than that."""

    name = "metrics' port taken"

    async def strike(self, rnd: Random) -> None:  # noqa: ARG002 there is nothing to choose
        port = self.daemon.said("listening")[-1]["metrics_port"]
        _limit_files(self.machine, open_files(self.daemon.pid) + _FEW)
        self._open = [socket.socket() for _ in range(CONNECTIONS)]
        for one in self._open:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))

    async def end(self) -> None:
        for one in self._open:
            one.close()
        _limit_files(self.machine)


class Worst(MachineFault):
    """One vendor does its worst beside the others, which go on at their time."""

    def __init__(self, machine: Machine, name: str, worst: WorstVendor, moods: Mapping[Mood, str]) -> None:
        super().__init__(machine)
        self.name = name
        self._worst = worst
        self._moods = moods

    async def strike(self, rnd: Random) -> None:
        self._worst.turn("well")
        with anyio.move_on_after(_ASKED):  # what happens beside may keep the daemon from asking
            await self.daemon.until(lambda: self._worst.asked, _ASKED, "the vendor to be asked while it is well")
        mood = rnd.choice(list(self._moods))
        forget_most(self.daemon.pid)
        self._worst.turn(mood)
        self._began = time.time()

    async def end(self) -> None:
        worst = self._worst
        # Thulium can be asked for whole minutes only, so it is asked once in one.
        others = [site.log for name, site in self.machine.sims.sites.items() if name != "thulium"]
        self.say(
            f"{self._moods[worst.mood]}, asked {worst.asked} times, sent {worst.sent / 2**20:.0f} MiB; at most "
            f"{resident(self.daemon.pid, 'VmHWM'):.0f} MiB resident; the others' longest pause "
            f"{max(longest_pause(log, self._began) for log in others):.1f} s"
        )
        worst.turn("well")


class LongOutage(MachineFault):
    """Six hours for everybody, a moment for whoever waits."""

    def __init__(self, machine: Machine, what: str, away: Callable[[], None], back: Callable[[], None]) -> None:
        super().__init__(machine)
        self.name = f"6 hours without {what}"
        self._away, self._back = away, back

    async def strike(self, rnd: Random) -> None:  # noqa: ARG002 there is nothing to choose
        self._away()
        self.say(f"{six_hours_pass(self.machine.clock, self.machine.sims)} things happened meanwhile")

    async def end(self) -> None:
        self._back()


def faults(of: Machine) -> list[MachineFault]:
    """All that can befall it."""
    found = [
        DiskFull(of),
        *(ClockJumps(of, ahead) for ahead in (1, -1)),
        FilesExhausted(of),
        Scraped(of),
        Worst(of, "a vendor hangs for ever", of.worst["hangs"], HANGS),
        Worst(of, "a vendor's answers grow to gigabytes", of.worst["floods"], FLOODS),
        LongOutage(of, "any vendor", lambda: of.down("refuse"), lambda: of.down("")),
    ]
    return found if of.door is None else [*found, LongOutage(of, "Kafka", of.door.hold, of.door.release)]


def longest_pause(log: Sequence[Mapping[str, Any]], since: float) -> float:
    """Seconds between two requests, from a vendor's log."""
    at: list[float] = [since, *(line["real_time"] for line in log if line["real_time"] > since), time.time()]
    return max(after - before for before, after in pairwise(at))


def open_files(pid: int) -> int:
    """Of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def forget_most(pid: int) -> None:
    """The most that it has in memory is counted anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def _limit_files(machine: Machine, most: int | None = None) -> None:
    """How many the daemon may have open; None: as many as before."""
    soft, hard = machine.files
    resource.prlimit(machine.daemon.pid, resource.RLIMIT_NOFILE, (soft if most is None else most, hard))
