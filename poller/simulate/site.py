"""One simulated vendor: its world, faults and switches, and what the control endpoints tell and change."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Literal, TypeAlias

from starlette.requests import Request

from poller.simulate.faults import Faults
from poller.simulate.judge import MADE_UP
from poller.simulate.things import Raw
from poller.simulate.truth import Truth
from poller.simulate.world import World

_KEPT = 20_000
"""Requests that are remembered."""
Down: TypeAlias = Literal["", "503", "hang", "reset", "refuse"]


@dataclass(slots=True)
class Site:
    """What all parts of one simulated vendor share."""

    vendor: str
    world: World
    truth: Truth
    faults: Faults
    down: Down = ""
    """`refuse`: nothing listens (set by the runner)."""
    date_skew: float = 0.0
    """Seconds that the vendor's clock (its Date header alone) is off."""
    requests: dict[str, int] = field(default_factory=dict)
    """How often each path was asked for."""
    log: list[dict[str, Any]] = field(default_factory=list)
    """The last requests: time, method, path, host and names of parameters, and when that really was. What an operator of the
    vendor would see."""
    wrong_hashes: list[str] = field(default_factory=list)
    listening: bool = False
    crashes: list[str] = field(default_factory=list)
    """Requests on which the simulator itself failed: a defect of ours, not a vendor's."""

    def saw_request(self, request: Request, names: list[str]) -> None:
        """Counts and remembers a request."""
        path = request.url.path
        self.requests[path] = self.requests.get(path, 0) + 1
        self.log.append(
            {
                "at": self.world.clock.now(),
                "method": request.method,
                "path": path,
                "host": request.url.hostname,
                "parameters": names,
                "real_time": time.time(),
            }
        )
        del self.log[:-_KEPT]

    def date(self) -> str | None:
        """The Date header of an answer that begins now; None: there is none."""
        if self.faults.fires("date_header_missing"):
            return None
        if self.faults.fires("date_header_absurd"):
            return "Thu, 99 Foo 2024 25:61:61 GMT"
        skew = -240 if self.faults.fires("date_header_skewed") else self.date_skew
        return formatdate(self.world.clock.now() + skew, usegmt=True)

    def state(self) -> dict[str, Any]:
        """For `/_control`."""
        return {
            "vendor": self.vendor,
            "now": self.world.clock.now(),
            "speed": self.world.clock.speed,
            "rate": self.world.rate,
            "down": self.down,
            "date_skew": self.date_skew,
            "requests": self.requests,
            "wrong_hashes": self.wrong_hashes,
            "crashes": self.crashes,
            "real_time": time.time(),
        }

    def change(self, wanted: Mapping[str, Any]) -> None:
        """Applies `{"move", "set_to", "speed", "rate", "down", "date_skew"}`. Raises ValueError for another key."""
        changes = {
            "move": lambda value: self.world.clock.move(float(value)),
            "set_to": lambda value: self.world.clock.set_to(float(value)),
            "speed": lambda value: self.world.clock.run_at(float(value)),
            "rate": lambda value: setattr(self.world, "rate", float(value)),
            "down": lambda value: setattr(self, "down", str(value)),
            "date_skew": lambda value: setattr(self, "date_skew", float(value)),
        }
        for name, value in wanted.items():
            if name not in changes:
                raise ValueError(f"nothing is called {name!r}; there are {', '.join(changes)}")
            changes[name](value)
        self.world.now()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the records of one endpoint can be spoilt without becoming other things."""

    names: tuple[str, ...]
    """Fields that carry a name and no identity."""
    optional: tuple[str, ...]
    """Fields that may be absent."""
    bad: Raw
    absurd: Raw


def spoil(records: list[Raw], shape: Shape, faults: Faults) -> list[Raw]:
    """The records as they are sent: copies, with the faults that fire."""
    records = [_spoil_one(record, shape, faults) for record in records]
    if records and faults.fires("duplicate_rows"):
        records = _doubled(records)
    if faults.fires("bad_record"):
        records.insert(len(records) // 2, {**shape.bad, MADE_UP: "bad_record"})
    if faults.fires("absurd_dates"):
        records.insert(len(records) // 2, {**shape.absurd, MADE_UP: "absurd_dates"})
    if len(records) > 1 and faults.fires("shuffled"):
        faults.random().shuffle(records)
    return records


def _doubled(records: list[Raw]) -> list[Raw]:
    """Only rows with a vendor's id: two equal rows without one are two calls."""
    doubled = []
    for record in records:
        countable = "calldate2" in record and not record.get("uniqueid")
        doubled.extend([record] if countable else [record, record])
    return doubled


def _spoil_one(record: Raw, shape: Shape, faults: Faults) -> Raw:
    if not faults.rates and not faults.forced:
        return record
    record = dict(record)
    if faults.fires("control_characters"):
        record.update({name: f"{record.get(name) or ''}\x01\x1b" for name in shape.names})
    if faults.fires("extra_fields"):
        record.update({"zz_new": {"nested": [1, None]}, "": "nameless"} if faults.vendor != "mor" else {"zz_new": "1"})
    if faults.fires("missing_fields"):
        record = {name: value for name, value in record.items() if name not in shape.optional}
    if faults.fires("null_fields"):
        record = {name: None if value == "" else value for name, value in record.items()}
    if faults.fires("numbers_as_strings"):
        record = {name: str(value) if type(value) is int else value for name, value in record.items()}
    return record
