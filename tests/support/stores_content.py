"""Small contents for store tests: the same number always makes the same key, event or dead letter."""

import math
from collections.abc import Coroutine, Iterator
from hashlib import blake2b
from typing import Any

from poller.kept import Attempted, LetterPlace, Place, Retry, Which
from poller.model import DeadEvent, DeadRecord, Event, Healing, Held, PageCommit, Position, SeenKey, Segment
from poller.protocols import Store
from poller.segment import pack

DAY0 = 20_000
_ANY = Which()


def key(number: int, *, state: int = 1, day: int = DAY0) -> SeenKey:
    return SeenKey(day, blake2b(b"%d" % number, digest_size=16).digest(), state.to_bytes(8))


def event(number: int, *, day: int = DAY0) -> Event:
    return Event(
        id=f"{number:032x}",
        type="telephony.call.new",
        source="/poller/mor/calls",
        subject=str(number),
        time=None,
        key=str(number),
        seen=key(number, day=day),
        body=b'{"number":%06d}' % number,
    )


def segment(numbers: list[int], after: Position, *, at: float = 1000.0, day: int = DAY0) -> Segment:
    return pack([event(number, day=day) for number in numbers], after, at)


def page(held: Held, numbers: list[int], *, at: float = 1000.0, day: int = DAY0, **more: Any) -> PageCommit:
    """New calls with these numbers."""
    seen = [(key(number, day=day), held.last.seq + 1 + place) for place, number in enumerate(numbers)]
    fields: dict[str, Any] = {"segment": segment(numbers, held.last, at=at, day=day), "seen": seen} | more
    return PageCommit(**fields)


def dead_record(number: int, *, at: float | None = None) -> DeadRecord:
    return DeadRecord(
        id=f"record-{number}",
        source="mor",
        endpoint="mor.user_calls",
        ask="",
        reason="bad_record",
        error="no date",
        raw=b"\x00raw\xff",
        offset=None if number % 2 else 3600,
        at=float(number) if at is None else at,
    )


def dead_event(number: int, *, sink: str = "kafka") -> DeadEvent:
    return DeadEvent(
        id=f"event-{number}",
        sink=sink,
        shard=0,
        seq=number,
        reason="too_large",
        error="refused",
        event=event(number),
        at=float(number),
    )


def retry(seq: int, *, sink: str = "hook", due: float | None = 5.0, attempts: int = 1) -> Retry:
    return Retry(
        sink=sink,
        shard=0,
        seq=seq,
        event=event(seq),
        attempts=attempts,
        step=attempts,
        first=float(seq) if attempts else None,
        due=due,
        reason="timeout" if attempts else "",
        error="nothing came within 15 s" if attempts else "",
    )


def place(kept: Retry) -> Place:
    return Place(kept.seq, kept.event.key, kept.due, len(kept.event.body))


def at_once(store: Store, held: Held) -> Iterator[Coroutine[Any, Any, Any]]:
    """Every kind of write for a shard."""
    yield store.commit_page(held, page(held, [2]))
    yield store.commit_page(held, PageCommit())
    yield store.delivered(held, "kafka", Position())
    yield store.attempted(held, "hook", Attempted(position=Position()))
    yield store.heal(held, Healing(sink="kafka", position=held.last, last=held.last))


async def dead_letters(store: Store, which: Which = _ANY) -> list[DeadRecord | DeadEvent]:
    """All of these, oldest first."""
    heads = await store.letter_heads(which, after=LetterPlace(), until=math.inf, limit=1 << 30)
    return await store.letters([head.id for head in heads])


async def dead_events(store: Store, sink: str | None = None) -> list[DeadEvent]:
    """All dead events, oldest first."""
    return [letter for letter in await dead_letters(store, Which(sink=sink)) if isinstance(letter, DeadEvent)]


async def dead_records(store: Store) -> list[DeadRecord]:
    """All dead records, oldest first."""
    return [letter for letter in await dead_letters(store) if isinstance(letter, DeadRecord)]
