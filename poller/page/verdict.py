"""Pure: what a person has to know first, in plain words: which phone system is behind and why, what waits, what is set aside."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from poller.event import instant
from poller.operations import ShardStatus, SinkStatus, Status, WebhookStatus
from poller.page.advice import advice
from poller.page.shown import span
from poller.source_status import EndpointStatus

_LEAST_SAID = 60.0
WAITS = 900.0
"""Seconds for which an event may wait before that is said."""
Weight = Literal["bad", "watch"]
Standing = Literal["behind", "failing", "gap", "starting", "complete", "removed"]
_ORDER: tuple[Standing, ...] = ("behind", "failing", "gap", "starting", "complete", "removed")


class Trouble(Struct, frozen=True):
    """One thing that is not as it should be."""

    weight: Weight
    what: str
    why: str
    anchor: str
    """Section of the runbook."""
    do: str = ""
    """What to do about it, in plain words."""
    source: str | None = None
    """The phone system that it is about."""


class Row(Struct, frozen=True):
    """One list of one phone system, and how it stands."""

    it: EndpointStatus
    standing: Standing


class View(Struct, frozen=True):
    """The page."""

    sentence: str
    well: bool
    troubles: list[Trouble]
    rows: list[Row]


def view(status: Status, webhooks: Sequence[WebhookStatus], now: float) -> View:
    """What is worst comes first."""
    rows = sorted((Row(one, standing(one)) for one in status.endpoints), key=_worst_first)
    troubles = [
        *([Trouble("bad", "Polling pauses.", "; ".join(status.paused), "pollerpaused")] if status.paused else []),
        *(_ownerless(status.shards)),
        *_of_rows(rows),
        *(trouble for one in status.sinks for trouble in _of_sink(one, webhooks, now)),
    ]
    troubles.sort(key=lambda one: one.weight != "bad")
    return View(sentence=_sentence(rows, troubles), well=not troubles, troubles=troubles, rows=rows)


def _worst_first(row: Row) -> tuple[int, float, str, str]:
    it = row.it
    return _ORDER.index(row.standing), -it.behind if row.standing == "behind" else 0.0, it.source, it.endpoint


def standing(one: EndpointStatus) -> Standing:
    """In one word."""
    if not one.configured:
        return "removed"
    if one.overdue_rungs:
        return "behind"
    if one.error:
        return "failing"
    if one.open_gaps:
        return "gap"
    return "complete" if one.complete_until is not None else "starting"


def _sentence(rows: Sequence[Row], troubles: Sequence[Trouble]) -> str:
    lists = [row for row in rows if row.standing != "removed"]
    behind = [row for row in lists if row.standing in {"behind", "failing"}]
    if behind:
        names: dict[str, str] = {}
        for row in behind:
            names.setdefault(row.it.source, _why(row.it))
        some = [f"{name}{why}" for name, why in names.items()]
        shown = ", ".join(some[:3]) + (f" and {len(some) - 3} more" if len(some) > 3 else "")
        return f"{len(behind)} of {len(lists)} lists {'is' if len(behind) == 1 else 'are'} not up to date: {shown}."
    if troubles:
        return f"All {len(lists)} lists are up to date, but {troubles[0].what[0].lower()}{troubles[0].what[1:]}"
    return f"All {len(lists)} lists are up to date, and nothing waits too long." if lists else "Nothing is polled."


def _ownerless(shards: Sequence[ShardStatus]) -> list[Trouble]:
    free = [one for one in shards if one.owner is None]
    if not free:
        return []
    sources = ", ".join(name for one in free for name in one.sources) or "no configured source"
    numbers = ", ".join(str(one.shard) for one in free)
    why = f"Nobody polls or delivers for shards {numbers} ({sources})."
    return [
        Trouble("bad", _count(len(free), "shard has", "shards have") + " no owner.", why, "pollershardwithoutowner")
    ]


def _why(it: EndpointStatus) -> str:
    said = advice(it.reason)
    return f" ({said.what})" if said is not None else ""


def _of_rows(rows: Sequence[Row]) -> list[Trouble]:
    """One for the lists of a phone system that stand alike for the same reason."""
    alike: dict[tuple[str, str, str | None], list[Row]] = {}
    for row in rows:
        if row.standing in {"behind", "failing"}:
            alike.setdefault((row.it.source, row.standing, row.it.reason), []).append(row)
    found = [_of_alike(same) for same in alike.values()]
    return [*found, *(_of_gaps(row.it) for row in rows if row.it.configured and row.it.open_gaps)]


def _of_alike(same: Sequence[Row]) -> Trouble:
    it, most = same[0].it, max(row.it.behind for row in same)
    name = f"{it.source}, {', '.join(row.it.endpoint for row in same)}"
    said = advice(it.reason)
    because = f": it {said.what}." if said is not None else "."
    do = said.do if said is not None else ""
    if same[0].standing == "failing":
        what = f"{name} {'has' if len(same) == 1 else 'have'} begun to fail{because}"
        return Trouble("watch", what, it.error or "", "pollersourcebehind", do, it.source)
    by = f" by {span(most)}" if most >= _LEAST_SAID else ""
    what = f"{name} {'is' if len(same) == 1 else 'are'} behind{by}{because}"
    why = it.error or "Its passes take longer than their turns, or a long one after an outage is under way."
    return Trouble("bad", what, why, "pollersourcebehind", do, it.source)


def _of_gaps(it: EndpointStatus) -> Trouble:
    what = f"{it.source}, {it.endpoint} has {_count(it.open_gaps, 'open gap', 'open gaps')}."
    where = "; ".join(f"{instant(gap.begin)} to {instant(gap.end)} ({gap.reason})" for gap in it.gaps)
    why = f"{where or 'A span'} cannot be read. The rest goes on; completeness stays below it."
    return Trouble("watch", what, why, "polleropengap", "It is tried again by itself.", it.source)


def _of_sink(one: SinkStatus, webhooks: Sequence[WebhookStatus], now: float) -> list[Trouble]:
    found, hook = list[Trouble](), next((each for each in webhooks if each.sink == one.sink), None)
    said = one.error or (hook.why or hook.heard if hook else None)
    if one.state == "disabled":
        found.append(Trouble("bad", f"Sink {one.sink} is disabled.", said or "", "pollersinkdisabled"))
    elif one.state == "down":
        found.append(Trouble("bad", f"Sink {one.sink} is down.", said or "", "pollereventswait"))
    elif one.error:
        found.append(Trouble("bad", f"Sink {one.sink} fails.", one.error, "pollereventswait"))
    elif one.configured and one.oldest_pending is not None and now - one.oldest_pending > WAITS:
        why = said or f"{one.pending} events wait."
        found.append(Trouble("bad", f"Events for {one.sink} wait too long.", why, "pollereventswait"))
    if one.dead_letters:
        why = "Events that it will not get by itself any more."
        what = f"Sink {one.sink} has {_count(one.dead_letters, 'dead letter', 'dead letters')}."
        found.append(Trouble("watch", what, why, "pollereventssetaside"))
    return found


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
