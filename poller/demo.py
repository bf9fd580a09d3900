"""`poller demo`: simulated phone systems, the daemon, a broker, and at the end the comparison with the truth."""

import json
import signal
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any, Protocol

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

from poller.demo_daemon import RUNGS, TOPICS, Daemon, Figures, Presence, write_config
from poller.errors import PollerError
from poller.operations import Status
from poller.simulate.broker import Broker, BrokerFault
from poller.simulate.judge import Verdict, judge
from poller.simulate.run import Simulation, Simulators, simulators
from poller.simulate.truth import merge
from poller.simulate.world import WorldOptions
from poller.sinks.kafka.tail import tail

LONGEST = 3600.0
"""Seconds after which a demo without a duration ends: what it compares with the truth is kept in memory."""
FAULTS: Mapping[str, float] = {
    "http_500": 0.02, "http_503_retry_after": 0.005, "html_200": 0.02, "empty_200": 0.02, "connection_reset": 0.02,
    "truncated": 0.02, "late": 0.03, "duplicate_rows": 0.1, "shuffled": 0.1,
    "repeat_page": 0.02, "bad_record": 0.02, "control_characters": 0.02, "numbers_as_strings": 0.05,
}  # fmt: skip
"""What the simulators do wrong with `--faults`: name → share of answers or records. No refused credentials: those are retried
too rarely for a demo."""
SETTLING = 60.0
"""Longest time, in seconds, in which the daemon finds nothing of the rest; doubled with faults, after which it waits before it
asks again."""
PATIENCE = 300.0
"""Longest time, in seconds, for the whole rest."""
_RECENT = 200
_DRAIN = 60.0
_START = 120.0
_LIVES = 20
_POLITE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

View = Callable[["Picture"], Coroutine[Any, Any, None]]
"""Draws the picture until it is cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to run. `folder` exists and is empty; `broker` is where a broker keeps its data, None for the ndjson sink."""

    folder: Path
    broker: Path | None
    duration: float = LONGEST
    seed: int = 1
    faults: bool = False


@dataclass(slots=True)
class Picture:
    """What there is to see at a moment."""

    phase: str = ""
    ends_at: float = inf
    """Monotonic seconds."""
    figures: Figures = field(default_factory=dict)
    status: Status | None = None
    errors: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Source and endpoint → when it last failed (epoch seconds), and how."""
    notes: list[str] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    """Everything that the consumer has read, in the order in which it came."""
    types: Counter[str] = field(default_factory=Counter)
    recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_RECENT))
    lags: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    """Seconds from when a record was seen to when its event was read by the consumer."""
    fired: Counter[str] = field(default_factory=Counter)
    """How often each simulated fault happened."""
    unread: str = ""
    """Why the consumer can read nothing now."""
    why: list[str] = field(default_factory=list)
    """What may explain that something is missing, at the end."""

    @property
    def refused(self) -> list[str]:
        """Sinks to which nothing can be delivered now, and why."""
        return [f"{each.sink}: {each.error}" for each in (self.status.sinks if self.status else ()) if each.error]

    def saw(self, bodies: Sequence[bytes], now: float) -> None:
        """Takes in what the consumer read."""
        for body in bodies:
            event = json.loads(body)
            self.events.append(body)
            self.recent.append(event)
            self.types[event["type"]] += 1
            self.lags.append(now - datetime.fromisoformat(event["recordedtime"]).timestamp())


class Reader(Protocol):
    """Reads what was published."""

    fault: str
    """Why nothing can be read now; empty while all is well."""

    async def read(self) -> list[bytes]:
        """The next events; waits for a moment where there are none."""

    async def at_end(self) -> bool:
        """Whether there is nothing more to read."""


class FileReader:
    """Reads the file of the ndjson sink, which may come later."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self.fault = ""

    async def read(self) -> list[bytes]:
        """The next whole lines."""
        await anyio.sleep(0.2)
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        return whole.splitlines()

    async def at_end(self) -> bool:
        """Whether the file ends here; one that never came is empty."""
        return not self._path.exists() or self._at == self._path.stat().st_size


class Phases:
    """A signal ends the phase that runs, never what tidies up behind it."""

    def __init__(self) -> None:
        self._scope: anyio.CancelScope | None = None
        self.signalled = False

    @contextmanager
    def phase(self, seconds: float = inf) -> Iterator[None]:
        """A part that may last so long, and not longer than the next signal."""
        with anyio.move_on_after(seconds) as self._scope:
            yield
        self._scope = None

    async def listen(self, *, task_status: TaskStatus[None]) -> None:
        """Until cancelled. Further signals while tidying up change nothing, nor do those that come after the end of this."""
        try:
            with anyio.open_signal_receiver(*_POLITE) as signals:
                task_status.started()
                async for _ in signals:
                    self.signalled = True
                    if self._scope is not None:
                        self._scope.cancel()
        finally:
            for each in _POLITE:  # the folder is still to be removed
                signal.signal(each, signal.SIG_IGN)


async def demo(wanted: Wanted, picture: Picture, view: View) -> Verdict | None:
    """Runs it all and tidies up. None: a signal came before there was anything to compare.

    Raises PollerError, or a group of them, where the daemon or the broker does not start.
    """
    phases, verdict = Phases(), None
    async with anyio.create_task_group() as tasks:
        await tasks.start(phases.listen)
        tasks.start_soon(view, picture)
        verdict = await _Run(wanted, picture, phases).all()
        tasks.cancel_scope.cancel()
    return verdict


class _Run:
    """One demo from the first process to the last."""

    def __init__(self, wanted: Wanted, picture: Picture, phases: Phases) -> None:
        self._wanted = wanted
        self._picture = picture
        self._phases = phases
        self._presence = Presence()

    async def all(self) -> Verdict | None:
        async with AsyncExitStack() as stack:
            broker = await self._start_broker(stack)
            if self._phases.signalled:
                return None
            self._picture.phase = "starting the daemon"
            sims = await stack.enter_async_context(simulators(self._simulation()))
            port = write_config(self._wanted.folder, sims, broker.bootstrap if broker else None)
            daemon = Daemon(self._wanted.folder, port, sims.environment())
            stack.push_async_callback(daemon.stop)
            daemon.start()
            reader = await stack.enter_async_context(_reader(self._wanted.folder, broker))
            return await self._watched(daemon, broker, sims, reader)

    async def _start_broker(self, stack: AsyncExitStack) -> Broker | None:
        if self._wanted.broker is None:
            return None
        self._picture.phase = "starting Kafka"
        broker = Broker(self._wanted.broker)
        stack.push_async_callback(_in_thread, broker.stop)
        await _in_thread(broker.start)
        return broker

    def _simulation(self) -> Simulation:
        world = WorldOptions(
            seed=self._wanted.seed, calls_per_minute=40, history=120, ladder=RUNGS, slack=8, call_seconds=(1, 6),
            usual_delay=(0.0, 3.0), late_max=90, change_delay=(15, 90), recording_delay=(0.5, 8.0), file_delay=(0.0, 3.0),
        )  # fmt: skip
        faults = FAULTS if self._wanted.faults else {}
        return Simulation(world=world, truth=self._wanted.folder / "truth.ndjson", faults=faults)

    async def _watched(self, daemon: Daemon, broker: Broker | None, sims: Simulators, reader: Reader) -> Verdict | None:
        """Lets it run, lets it settle, stops the daemon, reads to the end, compares."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow, reader)
            async with anyio.create_task_group() as looking:
                looking.start_soon(self._look, daemon, broker, sims)
                with self._phases.phase():
                    await self._up()
                    self._enter("running", self._wanted.duration)
                    await anyio.sleep(self._wanted.duration)
                until = _quiet(sims)
                if self._picture.figures:
                    await self._settle(sims, until)
                looking.cancel_scope.cancel()
            self._enter("the daemon stops")
            await daemon.stop()
            with anyio.move_on_after(_DRAIN, shield=True):
                while not await reader.at_end():  # noqa: ASYNC110 it reads in the other task, and is asked here
                    await anyio.sleep(0.1)
            tasks.cancel_scope.cancel()
        if not self._picture.figures:
            return None
        verdict = await self._compared(sims, until)
        if not verdict.ok:
            self._picture.why = _why(self._picture, daemon, broker)
        return verdict

    def _enter(self, phase: str, seconds: float = inf) -> None:
        self._picture.phase, self._picture.ends_at = phase, time.monotonic() + seconds

    async def _up(self) -> None:
        """Waits until the daemon answers. Raises PollerError where it does not."""
        with anyio.move_on_after(_START):
            while not self._picture.figures:  # noqa: ASYNC110 it is looked at twice a second, not told
                await anyio.sleep(0.1)
            return
        raise PollerError(f"the daemon does not answer after {_START:g} seconds; it is stopped")

    async def _settle(self, sims: Simulators, until: float) -> None:
        """Until everything that could be found has been published, or nothing more of it comes."""
        limit = SETTLING * (2 if self._wanted.faults else 1)
        self._enter("no new calls; the daemon finds the rest", limit)
        least = inf
        with self._phases.phase(PATIENCE):
            while not (verdict := await self._compared(sims, until)).ok:
                left = verdict.missing + verdict.updates_missing
                if left < least or self._picture.refused or self._picture.unread:
                    self._picture.ends_at = time.monotonic() + limit
                elif time.monotonic() > self._picture.ends_at:
                    return
                least = min(least, left)
                await anyio.sleep(0.5)

    async def _compared(self, sims: Simulators, until: float) -> Verdict:
        """Truth and events in a thread: a long demo takes a second. Must be there: what could be read at `until`."""
        sims.world.now()
        lines, events, missed = list(sims.truth.lines), list(self._picture.events), self._presence.missed

        def compare() -> Verdict:
            things = merge(_when_readable(json.loads(line), missed) for line in lines)
            return judge(things, [json.loads(body) for body in events], due=until)

        return await anyio.to_thread.run_sync(compare)

    async def _follow(self, reader: Reader) -> None:
        while True:
            self._picture.saw(await reader.read(), time.time())
            self._picture.unread = reader.fault

    async def _look(self, daemon: Daemon, broker: Broker | None, sims: Simulators) -> None:
        """Keeps the figures fresh, and starts again what was killed. Raises PollerError where that does not help."""
        picture, lives = self._picture, 0
        while True:
            if daemon.ended is not None:
                lives += 1
                unwilling = not picture.figures and daemon.ended >= 0  # rather than killed before it could answer
                if unwilling or lives > _LIVES:
                    raise PollerError(f"the daemon ended ({_how(daemon.ended)}); {daemon.last_words()}")
                again = "" if broker else "; a file may get its last events again, unlike Kafka"
                how = _how(daemon.ended)
                picture.notes.append(f"the daemon ended ({how}) and was started again; it counts from 0 now{again}")
                daemon.start()
            if broker is not None and (code := broker.ended) is not None:
                picture.notes.append(f"the Kafka broker ended ({_how(code)}) and was started again")
                await _in_thread(broker.start)
            picture.figures = await daemon.figures() or picture.figures
            status = await daemon.status()
            self._presence.looked(status, sims.world.now())
            picture.status = status or picture.status
            for each in picture.status.endpoints if picture.status else ():
                if each.error is not None:
                    picture.errors[f"{each.source} {each.endpoint}"] = (time.time(), each.error)
            fired = (Counter(site.faults.fired) for site in sims.sites.values())
            picture.fired = sum(fired, Counter())
            await anyio.sleep(0.5)


@asynccontextmanager
async def _reader(folder: Path, broker: Broker | None) -> AsyncIterator[Reader]:
    if broker is None:
        yield FileReader(folder / "events.ndjson")
    else:
        async with tail(broker.bootstrap, list(TOPICS.values())) as reader:
            yield reader


def _why(picture: Picture, daemon: Daemon, broker: Broker | None) -> list[str]:
    """What the daemon, the consumer and the broker said last."""
    found = [f"sink {each}" for each in picture.refused]
    found += [f"{each.sink}: {each.pending} events wait" for each in (picture.status.sinks if picture.status else ())]
    found += [f"the consumer: {picture.unread}"] if picture.unread else []
    found += [f"{name}, {time.time() - at:.0f} s ago: {text}" for name, (at, text) in picture.errors.items()]
    found += [f"daemon.log: {line}" for line in daemon.warnings()]
    return found + [f"broker.log: {line}" for line in (broker.warnings() if broker else ())]


def _quiet(sims: Simulators) -> float:
    """No calls begin any more and no fault happens. Returns the world's time."""
    sims.world.rate = 0
    for site in sims.sites.values():
        site.faults.calm()
    return sims.world.now()


def _when_readable(line: dict[str, Any], missed: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
    """The truth says when each state is found at the latest; here counts when it could be read at the earliest, if at all."""
    for life in [*line["states"], *([line["mention"]] if "mention" in line else [])]:
        at = max(life["visible_at"], life.get("own_time", line["own_time"]))
        # Thulium can be asked for whole minutes only, so it is asked once each of them is over.
        life["found_by"] = (at // 60 + 1) * 60 if line["vendor"] == "thulium" else at
        life["may_miss"] = life["may_miss"] or missed(life)
    return line


def _how(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


async def _in_thread(work: Callable[[], None]) -> None:
    """Waits for it, cancelled or not. Raises PollerError for a broker's fault."""
    with anyio.CancelScope(shield=True):
        try:
            await anyio.to_thread.run_sync(work)
        except BrokerFault as error:
            raise PollerError(str(error)) from None
