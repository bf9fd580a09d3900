"""Pure: compares what was published with the truth. Knows the ids of things by rules of its own."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeAlias

from poller.simulate.truth import plain

Event: TypeAlias = Mapping[str, Any]
Thing: TypeAlias = Mapping[str, Any]
State: TypeAlias = tuple[str, ...]

_ROUND = re.compile(r"(-?[0-9]+)\.0+")
MADE_UP = "simulated_fault"
"""A field of records that a fault made up: whether they are published is no question of truth."""
EXAMPLES = 20
"""How many findings of each kind are kept as sentences."""


@dataclass(slots=True)
class Verdict:
    """Counts, and the first examples of everything that is wrong."""

    expected: int = 0
    """Things that had to be published."""
    published_once: int = 0
    """Of those: exactly one `new`."""
    missing: int = 0
    twice: int = 0
    """The same event id again, or the same thing new again."""
    updates_expected: int = 0
    updates_published: int = 0
    updates_missing: int = 0
    updates_repeated: int = 0
    unknown: int = 0
    """Events, or states in them, that are not in the truth."""
    ahead: int = 0
    """Things published though nothing asked for them yet (not due, or not surely findable). Not wrong."""
    examples: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Nothing is missing, doubled, repeated or made up."""
        return not (self.missing or self.twice or self.updates_missing or self.updates_repeated or self.unknown)

    def found(self, kind: str, what: str, count: int = 1) -> None:
        """Counts a finding and keeps the first examples."""
        if count > 0:
            setattr(self, kind, getattr(self, kind) + count)
            if sum(example.startswith(kind) for example in self.examples) < EXAMPLES:
                self.examples.append(f"{kind}: {what}")


@dataclass(slots=True)
class _Got:
    new: int = 0
    partial: bool = False
    states: Counter[State] = field(default_factory=Counter)


def judge(
    truth: Iterable[Thing],
    events: Iterable[Event],
    *,
    sources: Mapping[str, str] | None = None,
    endpoints: Collection[str] | None = None,
    due: float = inf,
    own_after: float = -inf,
    least_visible: float = 0.0,
    mentions: bool = True,
) -> Verdict:
    """Compares. Everything with own time from `own_after` on must be there that a reader had surely found by `due`, the time at
    which it stopped reading.

    `sources`: source id → vendor (`{"mor-main": "mor"}`); where absent, the vendor is read off the beginning of the id.
    `endpoints`: only these are polled. `least_visible`: states that were gone sooner may be missing (after an outage).
    `mentions`: whether recordings are published from calls.
    """
    verdict = Verdict()
    known = {(thing["vendor"], thing["kind"], thing["id"]): thing for thing in truth}
    published = _gather(events, known, sources or {}, verdict)
    for key, thing in known.items():
        got = published.get(key) or _Got()
        states = [(_state(thing, state["fields"]), state) for state in thing["states"]]
        must = (
            _must(thing, states, due, own_after, least_visible)
            if endpoints is None or thing["endpoint"] in endpoints
            else Counter()
        )
        named = mentions and any(
            endpoints is None or mention["by"] in endpoints
            for mention in thing["mentions"]
            if _due(mention, mention["own_time"], due, own_after, least_visible)
        )
        _judge_thing(thing, got, must, Counter(state for state, _ in states), named, verdict)
    return verdict


def _gather(
    events: Iterable[Event], known: Mapping[tuple[str, str, str], Thing], sources: Mapping[str, str], verdict: Verdict
) -> dict[tuple[str, str, str], _Got]:
    ids: set[str] = set()
    published: dict[tuple[str, str, str], _Got] = defaultdict(_Got)
    for event in events:
        kind, change = event["type"].split(".")[1:3]
        if kind not in {"call", "recording"} or MADE_UP in (event["data"].get("vendor") or {}):
            continue
        vendor = _vendor(event["source"], sources)
        if event["id"] in ids:
            verdict.found("twice", f"event {event['id']} of {vendor} {kind} {event.get('subject')!r}")
            continue
        ids.add(event["id"])
        key = (vendor, kind, thing_id(vendor, kind, event["data"]))
        if key not in known:
            verdict.found("unknown", f"{vendor} {kind} {key[2]!r} ({change})")
            continue
        got = published[key]
        got.new += change == "new"
        if event["data"].get("partial"):
            got.partial = True
            verdict.found("unknown", f"a mention as an update: {key}", int(change != "new"))
        else:
            got.states[_state(known[key], event["data"].get("vendor") or {})] += 1
    return published


def _vendor(source: str, sources: Mapping[str, str]) -> str:
    name = source.split("/")[2]
    return sources.get(name) or next((v for v in ("mor", "thulium", "fonouc") if name.startswith(v[:4])), name)


def _due(life: Mapping[str, Any], own_time: float, due: float, own_after: float, least_visible: float) -> bool:
    lasted = (inf if life["gone_at"] is None else life["gone_at"]) - life["visible_at"]
    return not life["may_miss"] and lasted >= least_visible and life["found_by"] <= due and own_time >= own_after


def _must(
    thing: Thing, states: Iterable[tuple[State, Thing]], due: float, own_after: float, least_visible: float
) -> Counter[State]:
    """The states that have to be there: every distinct one once, or as often as there are equal things."""
    must = Counter(state for state, life in states if _due(life, thing["own_time"], due, own_after, least_visible))
    return must if thing["counted"] else Counter(dict.fromkeys(must, 1))


def _judge_thing(
    thing: Thing, got: _Got, must: Counter[State], allowed: Counter[State], named: bool, verdict: Verdict
) -> None:
    what = f"{thing['endpoint']} {thing['id']!r}"
    for state in got.states.keys() - allowed.keys():
        verdict.found("unknown", f"{what} in state {state}")
    if thing["counted"]:
        _judge_counted(what, got, must, allowed, verdict)
        return
    if must or named:
        verdict.expected += 1
        verdict.published_once += got.new == 1
        verdict.found("missing", what, int(not got.new))
    else:
        verdict.ahead += got.new > 0
    verdict.found("twice", f"{what} is new {got.new} times", got.new - 1)
    _judge_updates(what, got, must, verdict)


def _judge_updates(what: str, got: _Got, must: Counter[State], verdict: Verdict) -> None:
    """Every state but the first comes as an update; after a mention all of them do."""
    first = 0 if got.partial else 1
    verdict.updates_expected += max(0, len(must) - first)
    verdict.updates_published += max(0, got.states.total() - first)
    for state, times in got.states.items():
        verdict.found("updates_repeated", f"{what} in state {state}: {times} times", times - 1)
    if got.new:
        for state in must.keys() - got.states.keys():
            verdict.found("updates_missing", f"{what} in state {state}")


def _judge_counted(what: str, got: _Got, must: Counter[State], allowed: Counter[State], verdict: Verdict) -> None:
    """Rows without a vendor id: each state of each row makes one event, as a thing of its own or as another state."""
    verdict.expected += must.total()
    verdict.published_once += (must & got.states).total()
    for state in must.keys() | got.states.keys():
        verdict.found("missing", f"{what}: {got.states[state]} of {must[state]}", must[state] - got.states[state])
        if state in allowed:
            verdict.found(
                "twice", f"{what}: {got.states[state]} of {allowed[state]}", got.states[state] - allowed[state]
            )


def thing_id(vendor: str, kind: str, data: Mapping[str, Any]) -> str:
    """The id of a published thing: of calls from the raw record, of recordings as the event names it."""
    if kind == "recording":
        return str(data["recording_id"])
    raw = data["vendor"]
    if vendor == "thulium":
        return str(raw["connection_id"])
    if vendor == "fonouc":
        return str(raw["call_id"])
    if "terminator_device" in raw:
        return local_call_id(raw)
    return str(raw.get("uniqueid") or "") or plain(
        "|".join(str(raw.get(name) or "") for name in ("calldate2", "src", "dst", "clid"))
    )


def local_call_id(raw: Mapping[str, Any]) -> str:
    """Start, originator channel without its half, terminator device; both spellings of the channel's name."""
    date = raw.get("calldate")
    start = date.get("date") if isinstance(date, Mapping) else date
    channel = raw.get("orignator_channel") or raw.get("originator_channel") or ""
    return plain(f"{start}|{re.sub(r';[12]$', '', channel)}|{raw.get('terminator_device') or ''}")


def _state(thing: Thing, fields: Mapping[str, Any]) -> State:
    names = sorted(thing["states"][0]["fields"]) if thing["states"] else []
    return tuple([_normal(fields.get(name)) for name in names])


def _normal(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return _shown(value)
    if isinstance(value, Mapping):
        return " ".join(_normal(part.get("length") if isinstance(part, Mapping) else part) for part in value.values())
    return _shown(str(value))


def _shown(text: str) -> str:
    whole = _ROUND.fullmatch(text)
    return plain(whole[1] if whole else text)
