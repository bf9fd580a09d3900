"""One schedule from the first start to the verdict: the whole program, killed and started again until everything is quiet.

Import this before anything of `poller`: it puts models in the place of the machine.
"""

import gc
import random
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import crash_aiokafka
import crash_disk
import crash_net
import crash_time
import e2e_edges
from crash_broker import Sent
from crash_fate import Fate, Gone
from crash_plan import Plan
from crash_time import NOW, Loop, Stuck, replace

MODULES = (
    *e2e_edges.ALL,
    "poller.app",
    "poller.shift",
    "poller.parts",
    "poller.shard",
    "poller.backlog",
    "poller.http",
    "poller.answer",
    "poller.credential",
    "poller.hosts",
    "poller.housekeeping",
    "poller.leases.replica",
    "poller.stores.sqlite.store",
    "poller.stores.sqlite.opening",
    "poller.sinks.kafka.sink",
    "poller.sinks.kafka.topics",
    "poller.sinks.kafka.hanging",
    "poller.sinks.webhook.sink",
    "poller.sinks.webhook.call",
    "poller.sinks.webhook.dial",
)


class Current:
    """The schedule that runs."""

    fate: Fate | None = None
    app: "App | None" = None
    """What the living process has opened."""


def _hit(name: str) -> Any:
    return Current.fate.meet(name) if Current.fate is not None else None


async def _before_thread(func: Callable[..., Any]) -> None:
    fate = Current.fate
    if fate is None:
        return
    name = getattr(func, "__qualname__", "work").partition(".<locals>")[0]
    if name.startswith(("SqliteStore", "_open")) and (held := fate.meet(f"thread: {name} waits")) is not None:
        await held


async def _thread(func: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        return func(*args)
    except Gone:
        assert Current.fate is not None
        await Current.fate.dead()


def install() -> None:
    """The models in place of the machine."""
    crash_time.install(_before_thread, _thread)
    crash_net.install()
    crash_aiokafka.install()
    crash_disk.install()
    e2e_edges.install(_hit, MODULES)


install()

import crash_world  # noqa: E402 only now
from crash_judge import Judge  # noqa: E402
from crash_plants import PLANTS  # noqa: E402
from crash_world import World  # noqa: E402

from poller import app, segment  # noqa: E402
from poller.app_parts import App  # noqa: E402
from poller.errors import PollerError  # noqa: E402

LIFE = 12.0
"""Seconds after which a life ends that was not killed before."""
LONGEST = 300.0
"""Seconds within which all must be well again."""
LEAST = 25.0
"""Seconds that the last life goes on."""
LOOK = 13.0


@dataclass
class Result:
    """What came of a schedule."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    crashes: int = 0
    faults: int = 0
    events: int = 0
    lost: int = 0
    twice: int = 0
    seconds: float = 0.0
    """Until everything was well, after the last crash."""
    met: dict[str, int] = field(default_factory=dict)
    crashed: dict[str, int] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)


def prepare(plant: str | None = None) -> None:
    """Before any schedule. `plant`: one of the known defects."""
    crash_world.load_kinds()
    replace(app, "serve", _serve)
    replace(app, "serve_admin", _serve)
    replace(app, "set_up", _set_up)
    replace(app, "App", _app)
    if plant is not None:
        PLANTS[plant]()


def _app(*parts: Any) -> App:
    Current.app = App(*parts)
    return Current.app


async def _serve(*_: Any, task_status: Any, **__: Any) -> None:
    """In place of the sockets for people: neither of the lines has a part in them."""
    task_status.started(0)
    await anyio.sleep_forever()


def _set_up(**_: Any) -> None:
    import structlog  # noqa: PLC0415

    def keep(_: object, __: str, line: Any) -> Any:
        if Current.fate is not None:
            Current.fate.note(" ".join(f"{key}={value}" for key, value in line.items()))
        raise structlog.DropEvent

    structlog.configure(processors=[keep])


class Bench:
    """Runs one schedule."""

    def __init__(self, seed: int, plan: Plan, *, traced: bool = False) -> None:
        self.result = Result(seed)
        rnd = crash_time.seed(seed)
        self.fate = Current.fate = Fate(plan, rnd, traced=traced)
        self.folder = crash_world.new_folder("crash")
        self.disk = crash_disk.Disk(self.folder, self.fate)
        self.world = World(self.folder, rnd)
        self.net = crash_net.Net(self.fate, random.Random(rnd.getrandbits(64)))
        crash_world.connect(self.net, self.world.apps, self.world.receiver, self.world.broker)
        self.settings = self.world.settings()
        self.judge = Judge(self.world, self.result)
        self._dead: list[Loop] = []
        self._lives = self.fate.lives

    def run(self) -> Result:
        """All lives, and the verdict."""
        try:
            for life in range(self._lives):
                self._life(life)
                self._forget()
                self._between()
            if not self.fate.crashed:  # each life that was to be killed ended before
                self._lives += 1
                self._life(self._lives - 1)
                self._forget()
            self._last()
            self.judge.finally_()
        except Stuck as stuck:
            self.result.wrong.append(f"stuck: {stuck}")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        result, fate = self.result, self.fate
        result.met, result.crashed, result.trace = dict(fate.met), dict(fate.crashed), fate.trace
        result.crashes = fate.crashed.total()
        result.done = [str(entry) for entry in fate.done]
        result.faults = len(fate.done) - result.crashes
        return result

    def _life(self, number: int) -> None:
        """Until it is killed, at the latest after LIFE; or until it ends by itself, as it does when it is told to."""
        loop = self._begin(number)
        away = sum(entry.much for entry in self.fate.chosen("vendor"))
        if away:
            loop.call_later(LIFE / 3, self._vendors, "503")
            loop.call_later(LIFE / 3 + away, self._vendors, "")
        loop.call_later(LIFE + away, self._over, loop)
        self._forget_open()
        for much in self.fate.chosen("neighbour"):
            loop.call_later(self.fate.rnd.uniform(0, LIFE / 2), self._neighbour, much.much)
        loop.create_task(self._process(loop))
        loop.run_forever()
        if self.fate.loop is loop:
            self.fate.bury()
        self.judge.after_death(self.disk.path)

    def _over(self, loop: Loop) -> None:
        if self.fate.loop is loop:
            self.fate.kill("the end of its time")

    def _vendors(self, down: Any) -> None:
        for site in self.world.sims.sites.values():
            site.down = down

    def _neighbour(self, timeout: float) -> None:
        """Another installation that shares the progress topic leaves a transaction open there."""
        broker, identity = self.world.broker, "neighbour.kafka.0"
        if "poller.progress" in broker.topics:
            who = broker.begin(identity, timeout)
            broker.produce(identity, who, "poller.progress", 0, 0, [Sent(identity.encode(), b"{}")])

    def _begin(self, number: int) -> Loop:
        loop = Loop()
        self._dead.append(loop)
        self.fate.begin(number, loop)
        self.fate.note("begins")
        return loop

    async def _process(self, loop: Loop) -> None:
        self.net.begin()
        store = self.settings.store.model_copy(update={"path": self.disk.path})
        settings = self.settings.model_copy(update={"store": store})
        try:
            code = await app.run(settings)
            self.fate.note(f"exit code {code}")
            self.code: int | None = code
        except Exception as error:  # noqa: BLE001 the verdict is ours
            self.code = None
            self._ended(error)
        finally:
            loop.end()

    def _ended(self, error: Exception) -> None:
        """What is wrong with the machine may end it, and somebody starts it again; nothing else may."""
        first: BaseException = error
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        self.fate.note(f"ends: {first!r}")
        if not isinstance(first, PollerError) or not any(entry.life == self.fate.life for entry in self.fate.done):
            said = "".join(traceback.format_exception(first)[-3:])
            self.result.wrong.append(f"it ended by itself: {first!r} {said}")

    @staticmethod
    def _forget() -> None:
        """What a process has in memory is lost with it."""
        segment._recent.clear()

    def _forget_open(self) -> None:
        crash_aiokafka.Cluster.open = crash_net.Vendors.open = crash_net.Lines.open = 0

    def _between(self) -> None:
        for what in (entry.what for entry in self.fate.chosen("between")):
            if what == "empty":
                self.disk.put(None)
            elif not self.disk.put("backup"):
                continue
            self.judge.store_changed()
            self.fate.note(f"the store: {what}")
        self.disk.keep("backup")
        NOW.mono += self.fate.rnd.choice((0.1, 1.0, 5.0, 60.0, 200.0))

    def _last(self) -> None:
        """Nothing more goes wrong: all must become well, and it must end in order when it is told to."""
        loop = self._begin(self._lives)
        self._forget_open()
        self._vendors("")
        began, events = NOW.mono, self.disk.events()
        task = loop.create_task(self._process(loop))

        def look() -> None:
            if task.done():
                return
            late = NOW.mono - began > LONGEST
            if late or self.judge.hopeless() or (NOW.mono - began >= LEAST and self.judge.satisfied()):
                self.result.seconds = NOW.mono - began
                if late:
                    self.result.wrong.append("it never gets going again: " + self.judge.lacking())
                self.judge.quiet(loop, Current.app, events)
                loop.signal(15)
                loop.call_later(60.0, self._too_long, loop)
            else:
                loop.call_later(LOOK, look)

        loop.call_later(LOOK, look)
        loop.run_forever()
        if self.code != 0:
            self.result.wrong.append(f"the last life ended with {self.code}")
        self.judge.ended(loop)
        self.fate.bury()
        self.judge.after_death(self.disk.path)

    def _too_long(self, loop: Loop) -> None:
        self.result.wrong.append("it does not end when it is told to")
        loop.end()


def run(seed: int, plan: Plan, *, traced: bool = False) -> Result:
    """One schedule, in a process of its own."""
    gc.disable()
    with suppress(AttributeError):
        sys.unraisablehook = lambda _: None
    return Bench(seed, plan, traced=traced).run()


__all__ = ["Result", "prepare", "run"]
