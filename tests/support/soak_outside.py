"""What is outside of the program in a long run: the phone systems and their truth, in a process of their own, so that what they
remember is none of the program's memory. Its clock is what each question says.

Import this only after `crash_time.install`.
"""

import multiprocessing
from collections.abc import Iterator, Mapping
from math import cos, pi
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from crash_net import Receiver
from crash_time import NOW, Loop
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from poller.simulate.judge import judge
from poller.simulate.run import Simulators, application

DAY = 86_400.0
LASTING = DAY
"""A state that was replaced while nobody could look may be missing; the last one of each thing may not."""
_ASKED = ("type", "method", "scheme", "path", "raw_path", "query_string", "root_path", "headers", "client", "server", "http_version", "asgi")  # fmt: skip


class Judged(NamedTuple):
    """What came of it all."""

    wrong: list[str]
    expected: int
    events: int
    calls: int
    """Of the webhook."""
    requests: int
    faults: int


class Outside(Receiver):
    """The way there, and the webhook's receiver."""

    def __init__(self, sims: Simulators, endpoints: frozenset[str], folder: Path, busiest: float) -> None:
        """`endpoints`: those that are asked. `busiest`: calls in a minute at noon; at midnight there are a tenth of them."""
        super().__init__()
        context = multiprocessing.get_context("fork")
        self._here, there = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(there, self._here, sims, endpoints, folder, busiest), daemon=True
        )
        self._process.start()
        there.close()

    def app(self, vendor: str) -> ASGIApp:
        """In place of a vendor's application."""

        async def forward(scope: Scope, receive: Receive, send: Send) -> None:
            body = (await receive()).get("body", b"")
            self._here.send(("ask", NOW.mono, vendor, {name: scope[name] for name in _ASKED}, body))
            for message in self._here.recv():
                await send(message)

        return forward

    def call(self, head: bytes, body: bytes, status: str) -> None:
        """The webhook is called."""
        found = Receiver()
        found.call(head, body, status)
        for identifier in (*found.got, *found.refused):
            self._here.send(("called", NOW.mono, identifier, hash(body)))

    def published(self, bodies: list[bytes]) -> None:
        """What a read_committed reader gets."""
        self._here.send(("events", NOW.mono, bodies))

    def vendor(self, name: str, down: str) -> None:
        """Goes away, or is there again."""
        self._here.send(("down", NOW.mono, name, down))

    def calm(self) -> None:
        """No fault any more."""
        self._here.send(("calm", NOW.mono))

    def judged(self, due: float) -> Judged:
        """The verdict on what had to be found by `due`, a time of `NOW.mono`."""
        self._here.send(("judge", NOW.mono, due))
        return Judged(*self._here.recv())

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.join()


# --- over there --------------------------------------------------------------------------------------------------------


class _There:
    def __init__(
        self, here: Connection, sims: Simulators, endpoints: frozenset[str], folder: Path, busiest: float
    ) -> None:
        self._here, self._sims, self._endpoints, self._busiest = here, sims, endpoints, busiest
        self._loop = Loop()
        self._apps = {vendor: application(sims, vendor) for vendor in sims.config.vendors}
        self._events = folder / "published"
        self._events.write_bytes(b"")
        self._count = 0
        self._ids: set[str] = set()
        self._bodies: dict[str, int] = {}
        self._wrong: list[str] = []
        self._calls = 0

    def ask(self, vendor: str, scope: Mapping[str, Any], body: bytes) -> None:
        said: list[Message] = []
        asked: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            return asked.pop()

        async def send(message: Message) -> None:
            said.append(message)

        async def answer() -> None:
            await self._apps[vendor](dict(scope), receive, send)

        self._loop.run_until_complete(answer())
        self._loop.kept.clear()
        self._here.send(said)

    def events(self, bodies: list[bytes]) -> None:
        with self._events.open("ab") as out:
            out.writelines(body + b"\n" for body in bodies)
        self._count += len(bodies)
        self._ids |= {msgspec.json.decode(body)["id"] for body in bodies}

    def called(self, identifier: str, body: int) -> None:
        self._calls += 1
        if self._bodies.setdefault(identifier, body) != body:
            self._wrong.append(f"the webhook was called with another body under one id: {identifier}")

    def down(self, name: str, how: Any) -> None:
        self._sims.sites[name].down = how

    def calm(self) -> None:
        for site in self._sims.sites.values():
            site.faults.calm()
            site.down = ""

    def judge(self, due: float) -> None:
        wall = NOW.wall - (NOW.mono - due)
        verdict = judge(
            self._sims.things(), self._published(), endpoints=self._endpoints, due=wall, least_visible=LASTING
        )
        wrong = list(self._wrong)
        wrong += [] if verdict.ok and verdict.expected else [f"{verdict.expected} expected; {verdict.examples[:5]}"]
        if lacking := self._ids - self._bodies.keys():
            wrong.append(f"the webhook lacks {len(lacking)} events")
        if unknown := self._bodies.keys() - self._ids:
            wrong.append(f"the webhook has {len(unknown)} events that the topics do not have")
        sites = self._sims.sites.values()
        wrong += [f"a simulator failed: {text}" for site in sites for text in site.crashes]
        requests = sum(sum(site.requests.values()) for site in sites)
        fired = sum(sum(site.faults.fired.values()) for site in sites)
        self._here.send((wrong, verdict.expected, self._count, self._calls, requests, fired))

    def _published(self) -> Iterator[dict[str, Any]]:
        with self._events.open("rb") as lines:
            yield from (msgspec.json.decode(line) for line in lines)

    def rhythm(self) -> None:
        """By day more happens than by night."""
        self._sims.world.rate = self._busiest * (0.55 - 0.45 * cos(2 * pi * (NOW.wall % DAY) / DAY))


def _serve(here: Connection, other: Connection, *given: Any) -> None:
    other.close()
    there = _There(here, *given)
    while True:
        try:
            what, NOW.mono, *rest = here.recv()
        except EOFError:
            return
        there.rhythm()
        getattr(there, what)(*rest)
