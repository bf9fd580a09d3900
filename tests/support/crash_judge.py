"""What must hold: by the simulators' truth, the topics, the receiver and the store's own file, never by the program's word."""

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from crash_disk import copy
from crash_time import Loop
from crash_world import LADDER, World, left_open

from poller import segment
from poller.app_parts import App
from poller.checkpoint import Checkpoint, complete_until
from poller.metrics import EVENT_TYPES
from poller.model import Segment
from poller.simulate.judge import Verdict, judge, thing_id

if TYPE_CHECKING:
    from crash_bench import Result

TASKS = 60
"""So many tasks at most, whatever went wrong before."""
LASTING = 86_400.0
"""A state that was replaced while nobody looked may be missing; the last one of each thing may not."""
EDGE = 2.0
"""Seconds by which what is claimed may be off, since bounds are whole seconds."""
Event = Mapping[str, Any]


class Judge:
    """Of one schedule."""

    def __init__(self, world: World, result: "Result") -> None:
        self._world = world
        self._result = result
        self._due = 0.0
        """By when things had to be found that must be there."""
        self._changed = False
        """Whether the store was exchanged."""
        self._decoded: dict[bytes, Event] = {}
        self._logged: set[str] = set()
        """Ids of the log as the last life left it."""

    def published(self) -> list[Event]:
        """What a read_committed reader has."""
        bodies = self._world.published()
        for body in bodies:
            if body not in self._decoded:
                self._decoded[body] = msgspec.json.decode(body)
        return [self._decoded[body] for body in bodies]

    def _verdict(self) -> Verdict:
        world = self._world
        return judge(
            world.sims.things(), self.published(), endpoints=world.endpoints, due=self._due, least_visible=LASTING
        )

    def satisfied(self) -> bool:
        """Whether all is there that must be by now."""
        self._due = self._world.sims.world.now()
        verdict = self._verdict()
        return verdict.ok and verdict.expected > 0 and not self._not_called()

    def hopeless(self) -> bool:
        """Whether something is there that must not be: nothing will make it good."""
        self._due = self._world.sims.world.now()
        verdict = self._verdict()
        return bool(verdict.twice or verdict.updates_repeated or verdict.unknown)

    def lacking(self) -> str:
        """What is not."""
        return f"{self._verdict().examples[:3]}, the webhook lacks {len(self._not_called())}"

    def store_changed(self) -> None:
        """Somebody put another file there."""
        self._changed = True

    def _not_called(self) -> set[str]:
        """What the topics have and the webhook was neither told of nor refused."""
        world = self._world
        if not world.webhook:
            return set()
        return {event["id"] for event in self.published()} - world.receiver.got.keys() - world.receiver.refused

    # --- a life ends -------------------------------------------------------------------------------------------------

    def after_death(self, path: Path) -> None:
        """The file claims nothing that was not read."""
        if not path.exists():
            return
        place = path.parent / "looked"
        place.mkdir()
        copy(path, place / path.name)
        with closing(sqlite3.connect(place / path.name)) as store:
            if not store.execute("SELECT 1 FROM sqlite_master WHERE name = 'checkpoint'").fetchone():
                return
            claims = self._claims(store)
            logged = _log(store)
        self._logged = {event["id"] for event in logged}
        events = {event["id"]: event for event in (*logged, *self.published())}
        shutil.rmtree(place)
        self._check_claims(claims, list(events.values()))

    def _claims(self, store: sqlite3.Connection) -> dict[str, tuple[int, int]]:
        """Endpoint → from when until when all is claimed to be there."""
        found = {}
        for endpoint, value in store.execute("SELECT endpoint, value FROM checkpoint"):
            checkpoint = msgspec.json.decode(value, type=Checkpoint)
            until = complete_until(checkpoint)
            if until is not None:
                found[endpoint] = (checkpoint.start, until)
        return found

    def _check_claims(self, claims: Mapping[str, tuple[int, int]], events: list[Event]) -> None:
        back = LADDER[-1][0] - EDGE
        there = set()
        for event in events:
            vendor, kind = event["source"].split("/")[2], event["type"].split(".")[1]
            there.add((vendor, kind, thing_id(vendor, kind, event["data"])))
        for thing in self._world.sims.things():
            begin, until = claims.get(thing["endpoint"], (0, 0))
            own = thing["own_time"]
            promised = any(one["visible_at"] - own <= back for one in thing["states"])
            if begin <= own < until - EDGE and promised and (thing["vendor"], thing["kind"], thing["id"]) not in there:
                self._wrong(f"claimed and never read: {thing['endpoint']} {thing['id']}, complete until {until}")

    # --- the end -----------------------------------------------------------------------------------------------------

    def quiet(self, loop: Loop, app: App | None, before: int) -> None:
        """Everything is well: what is kept in memory is little, and what was counted in this life adds up.

        `before`: the last number of the log before it.
        """
        if loop.living > TASKS:
            self._wrong(f"{loop.living} tasks")
        if app is None:
            self._wrong("nothing was opened")
            return
        more = app.shards[0].held.last.seq - before
        counted = sum(int(app.metrics.events[kind].value or 0) for kind in EVENT_TYPES)
        if counted != more and not self._changed:
            self._wrong(f"{counted} events were counted, the log has {more} more")

    def ended(self, loop: Loop) -> None:
        """It ended in order: nothing is left open."""
        for what, count in left_open().items():
            if count:
                self._wrong(f"{count} {what} were never closed")
        for text in loop.unexpected:
            self._wrong(f"the loop was told: {text}")

    def finally_(self) -> None:
        """The verdict."""
        verdict, result = self._verdict(), self._result
        result.events = len(self._world.published())
        result.lost = verdict.missing + verdict.updates_missing
        result.twice = verdict.twice + verdict.updates_repeated
        if not verdict.ok:
            self._wrong(f"{verdict.examples[:5]}")
        if not verdict.expected:
            self._wrong("nothing had to be there")
        self._judge_webhook()
        for site in self._world.sims.sites.values():
            for text in site.crashes:
                self._wrong(f"a simulator failed: {text}")

    def _judge_webhook(self) -> None:
        if lacking := self._not_called():
            self._wrong(f"the webhook was never called with {len(lacking)} events")
        got = self._world.receiver.got
        known = {event["id"] for event in self.published()}
        # Where the end came before a transaction of others did, Kafka is behind.
        if (unknown := got.keys() - known - self._logged) and not self._changed:
            self._wrong(f"the webhook was called with {len(unknown)} ids that the topics do not have")
        for identifier, bodies in got.items():
            if len(set(bodies)) > 1 and not self._changed:
                self._wrong(f"the webhook was called with other bodies under one id: {identifier}")

    def _wrong(self, text: str) -> None:
        self._result.wrong.append(text)


def _log(store: sqlite3.Connection) -> list[Event]:
    rows = store.execute("SELECT first, last, chain, at, data, recorded_bytes FROM segment")
    segments = [Segment(*row) for row in rows]
    return [msgspec.json.decode(event.body) for one in segments for event in segment.unpack(one)]
