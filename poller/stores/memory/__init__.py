"""The honest fake: the same answers and the same checks as a database, nothing on disk. For tests and first looks."""

import copy
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Annotated, Literal, Self

from msgspec import structs
from pydantic import Field

from poller.errors import Outdated, StoreFull
from poller.kept import Attempted, Discarded, LetterHead, LetterPlace, LetterTotal, Place, Retry, Which
from poller.model import (
    Behind,
    CheckpointKey,
    DeadEvent,
    DeadRecord,
    Healing,
    Held,
    PageCommit,
    Position,
    SeenKey,
    Segment,
    Sighting,
)
from poller.options import Between, Options, Size
from poller.protocols import Facts
from poller.stores.memory.contents import Contents

_SEEN_BYTES = 40
"""What a row of `seen` takes in a database; here it only makes `max_bytes` mean about the same."""


class Config(Options):
    """`store: {kind: memory}`."""

    kind: Literal["memory"] = "memory"
    shards: int = Field(1, ge=1, le=1024, description="Parts that the sources are spread over.")
    max_bytes: Annotated[Size, Between("1B", "1048576GiB")] | None = Field(
        None, description="Polling pauses while the store holds more than this."
    )


class MemoryStore:
    """Everything in dictionaries; every call is one step of the event loop, so it is a transaction."""

    kind = "memory"

    def __init__(self, config: Config | None = None) -> None:
        self._config = config or Config()
        self.shards = self._config.shards
        self._now = Contents()

    def copy(self) -> Self:
        """A store with the same contents that goes its own way from here: a backup."""
        other = type(self)(self._config)
        other._now = copy.deepcopy(self._now)  # noqa: SLF001 another of the same class
        return other

    def restore(self, backup: "MemoryStore") -> None:
        """Takes over a backup's contents under whoever uses this store."""
        self._now = copy.deepcopy(backup._now)  # noqa: SLF001 another of the same class

    async def close(self) -> None:
        """Nothing to close; the contents stay."""

    async def hold(self, shard: int) -> Held:
        """Raises the epoch."""
        epoch = self._now.epochs[shard] = self._now.epochs.get(shard, 0) + 1
        return Held(shard, epoch, self._now.lasts.setdefault(shard, Position()))

    async def look_up(self, held: Held | None, keys: Sequence[SeenKey]) -> dict[int, Sighting]:
        """The nearest day is the id's, the earlier one first; the states of all three days count."""
        if held is not None:
            self._check(held)
        found = {}
        for index, key in enumerate(keys):
            days = self._now.states(key)
            states = {state for group in days.values() for state in group}
            if key.state not in states:
                day = min(days, key=lambda where: (abs(where - key.day), where), default=key.day)
                found[index] = Sighting(day, len(states))
        return found

    async def commit_page(self, held: Held, page: PageCommit) -> Held:
        """Raises StoreFull at the configured limit too."""
        self._check(held)
        limit = self._config.max_bytes
        if limit is not None and self._bytes() >= limit:
            raise StoreFull(f"the store in memory holds {self._bytes()} bytes and store.max_bytes is {limit}: raise it")
        last = self._append(held.shard, held.last, [page.segment] if page.segment else [])
        self._now.lasts[held.shard] = last
        self._now.remember(page.seen)
        self._now.checkpoints.update(page.checkpoints)
        for dead in page.dead:
            self._now.dead_records.setdefault(dead.id, dead)
        self._now.drop(page.closes)
        return Held(held.shard, held.epoch, last)

    async def checkpoints(self, source: str | None = None) -> dict[CheckpointKey, bytes]:
        """All, or one source's."""
        return {key: value for key, value in self._now.checkpoints.items() if source in (None, key.source)}

    async def seen_after(self, after: SeenKey | None, limit: int) -> list[SeenKey]:
        """By day, id and state."""
        rows = sorted(
            (day, id_, state) for day, ids in self._now.seen.items() for id_, states in ids.items() for state in states
        )
        return [SeenKey(*row) for row in rows if after is None or row > (after.day, after.id, after.state)][:limit]

    async def segments_after(self, shard: int, seq: int, max_bytes: int) -> list[Segment]:
        """`max_bytes` counts the bodies before compression."""
        found: list[Segment] = []
        size = 0
        for segment in self._now.log.get(shard, []):
            if segment.last > seq:
                size += segment.recorded_bytes
                if found and size > max_bytes:
                    break
                found.append(segment)
        return found

    async def holds(self, shard: int, position: Position) -> bool:
        """Also true for the end of the log after a healing, where no segment ends."""
        ends = {(segment.last, segment.chain) for segment in self._now.log.get(shard, [])}
        place = (position.seq, position.chain)
        return place in ends or position in (Position(), self._now.lasts.get(shard))

    async def find_event(self, shard: int, key: SeenKey) -> Segment | None:
        """None when it was never published or is no longer kept."""
        seqs = [seq for states in self._now.states(key).values() for seq in states.values() if seq]
        return next((s for s in self._now.log.get(shard, []) if seqs and s.first <= max(seqs) <= s.last), None)

    async def states_of(self, ids: Sequence[bytes]) -> list[tuple[SeenKey, int]]:
        """By day, id and state."""
        return [
            (SeenKey(day, one, state), seq)
            for day, known in sorted(self._now.seen.items())
            for one in sorted(set(ids) & known.keys())
            for state, seq in sorted(known[one].items())
        ]

    async def segments_before(self, shard: int, seq: int, max_bytes: int) -> list[Segment]:
        """`max_bytes` counts the bodies before compression."""
        found: list[Segment] = []
        size = 0
        for segment in reversed(self._now.log.get(shard, [])):
            if segment.last < seq:
                size += segment.recorded_bytes
                if found and size > max_bytes:
                    break
                found.append(segment)
        return found

    async def position(self, sink: str, shard: int) -> Position | None:
        """None: it has none yet."""
        return self._now.positions.get((sink, shard))

    async def positions(self) -> dict[tuple[str, int], Position]:
        """Removed sinks included."""
        return dict(self._now.positions)

    async def delivered(self, held: Held, sink: str, position: Position, dead: Sequence[DeadEvent] = ()) -> None:
        """Also when the store is at its limit."""
        self._check(held)
        for event in dead:
            self._now.dead_events.setdefault(event.id, event)
        self._now.positions[sink, held.shard] = position

    async def attempted(self, held: Held, sink: str, attempted: Attempted) -> None:
        """Also when the store is at its limit."""
        await self.delivered(held, sink, attempted.position, attempted.dead)
        kept = self._now.retries.setdefault((sink, held.shard), {})
        kept.update({retry.seq: retry for retry in attempted.later})
        for seq in attempted.due.keys() & kept.keys():
            kept[seq] = structs.replace(kept[seq], due=attempted.due[seq])
        for seq in attempted.over:
            kept.pop(seq, None)
        self._now.done[sink, held.shard] = tuple(sorted(set(attempted.done)))

    async def done(self, sink: str, shard: int) -> tuple[int, ...]:
        """Ascending, behind the position."""
        seq = self._now.positions.get((sink, shard), Position()).seq
        return tuple(number for number in self._now.done.get((sink, shard), ()) if number > seq)

    async def places(self, sink: str, shard: int) -> list[Place]:
        """By number."""
        kept = sorted(self._now.retries.get((sink, shard), {}).items())
        return [Place(seq, retry.event.key, retry.due, len(retry.event.body)) for seq, retry in kept]

    async def retries(self, sink: str, shard: int, seqs: Sequence[int]) -> list[Retry]:
        """By number."""
        kept = self._now.retries.get((sink, shard), {})
        return [kept[seq] for seq in sorted(kept.keys() & set(seqs))]

    async def retrying(self) -> dict[tuple[str, int], int]:
        """By sink and shard."""
        return {place: len(kept) for place, kept in self._now.retries.items() if kept}

    async def heal(self, held: Held, healing: Healing) -> Held:
        """The epoch stays."""
        self._check(held)
        if healing.position.seq < held.last.seq:
            raise ValueError(f"a healing goes back: {healing.position.seq} < {held.last.seq}")
        self._append(held.shard, healing.position, healing.segments)
        self._now.lasts[held.shard] = healing.last
        self._now.remember(healing.seen)
        self._now.checkpoints.update(healing.checkpoints)
        self._now.positions[healing.sink, held.shard] = healing.position
        return Held(held.shard, held.epoch, healing.last)

    async def backlog(self, shard: int, seq: int, sink: str) -> Behind:
        """Without the segments that are for other sinks alone."""
        log = self._now.log.get(shard, [])
        behind = [one for one in log if one.last > seq and (one.only is None or sink in one.only)]
        events, size = sum(one.last - one.first + 1 for one in behind), sum(one.recorded_bytes for one in behind)
        return Behind(events, size, min((one.at for one in behind), default=None))

    async def expire(
        self, *, log_before: float, seen_before_day: int, limit: int, sinks: Collection[str] | None = None
    ) -> int:
        """Segments first, then seen rows."""
        gone = 0
        for shard in self._now.log:
            gone += self._expire_log(shard, log_before, limit - gone, sinks)
        rows = sorted(
            (day, key, state)
            for day, ids in self._now.seen.items()
            if day < seen_before_day
            for key, states in ids.items()
            for state in states
        )[: limit - gone]
        for day, key, state in rows:
            del self._now.seen[day][key][state]
        return gone + len(rows)

    def _expire_log(self, shard: int, before: float, limit: int, sinks: Collection[str] | None) -> int:
        ends = {(sink, at.seq) for (sink, where), at in self._now.positions.items() if where == shard}
        passed = min((seq for sink, seq in ends if sinks is None or sink in sinks), default=0)
        kept = {seq for _, seq in ends}
        log = self._now.log[shard]
        gone = [s for s in log[:-1] if s.last < passed and s.at < before and s.last not in kept][:limit]
        self._now.log[shard] = [segment for segment in log if segment not in gone]
        return len(gone)

    async def letter_totals(self) -> list[LetterTotal]:
        """Counted each time: this store is for small ones."""
        sorts: dict[tuple[Literal["record", "event"], str, str, str], list[int]] = defaultdict(list)
        for head in self._now.heads():
            sorts[head.what, head.sink or "", head.source, head.reason].append(head.size)
        return sorted(LetterTotal(*sort, len(sizes), sum(sizes)) for sort, sizes in sorts.items())

    async def letter_heads(self, which: Which, *, after: LetterPlace, until: float, limit: int) -> list[LetterHead]:
        """By time and id."""
        found = [
            head for head in self._now.heads(which) if (head.at, head.id) > (after.at, after.id) and head.at <= until
        ]
        return found[:limit]

    async def letters_like(self, start: str, limit: int) -> list[LetterHead]:
        """By id."""
        found = [head for head in self._now.heads() if head.id.startswith(start)]
        return sorted(found, key=lambda head: head.id)[:limit]

    async def letters(self, ids: Sequence[str]) -> list[DeadRecord | DeadEvent]:
        """Those that are kept."""
        kept: dict[str, DeadRecord | DeadEvent] = {**self._now.dead_records, **self._now.dead_events}
        return [kept[letter] for letter in dict.fromkeys(ids) if letter in kept]

    async def dead_record_ids(self, source: str) -> set[str]:
        """One source's."""
        return {letter.id for letter in self._now.dead_records.values() if letter.source == source}

    async def expire_letters(self, *, before: float, limit: int) -> tuple[int, int]:
        """Oldest first."""
        gone = [head for head in self._now.heads() if head.at < before][:limit]
        self._now.drop(head.id for head in gone)
        records = sum(head.what == "record" for head in gone)
        return records, len(gone) - records

    async def discard_letters(self, sink: str, *, keep: int, limit: int) -> Discarded:
        """Oldest first."""
        heads = self._now.heads(Which(sink=sink))
        excess, gone = sum(head.size for head in heads) - keep, Discarded()
        for head in heads[:limit]:
            if gone.bytes >= excess:
                break
            self._now.drop([head.id])
            gone = Discarded(gone.letters + 1, gone.bytes + head.size, head.at)
        return gone

    async def forget_sink(self, sink: str) -> bool:
        """Removes its positions, retries and dead events."""
        positions = [place for place in self._now.positions if place[0] == sink]
        retries = [place for place in self._now.retries if place[0] == sink]
        events = [dead.id for dead in self._now.dead_events.values() if dead.sink == sink]
        for place in positions:
            del self._now.positions[place]
            self._now.done.pop(place, None)
        for place in retries:
            del self._now.retries[place]
        for dead in events:
            del self._now.dead_events[dead]
        return bool(positions or events or retries)

    async def forget_source(self, source: str) -> bool:
        """Removes its checkpoints."""
        keys = [key for key in self._now.checkpoints if key.source == source]
        for key in keys:
            del self._now.checkpoints[key]
        return bool(keys)

    async def empty(self, held: Sequence[Held]) -> None:
        """Epochs and facts stay."""
        for one in held:
            self._check(one)
        now, self._now = self._now, Contents()
        self._now.epochs, self._now.meta = now.epochs, now.meta

    async def get_meta(self, name: str) -> str | None:
        """None where there is none."""
        return self._now.meta.get(name)

    async def put_meta(self, name: str, value: str | None) -> None:
        """None removes it."""
        self._now.meta[name] = value

    async def swap_meta(self, name: str, before: str | None, value: str) -> bool:
        """False where something else is there than `before`."""
        if same := self._now.meta.get(name) == before:
            self._now.meta[name] = value
        return same

    async def facts(self) -> Facts:
        """`seen_ids` counts rows: one for each state of each id."""
        return Facts(
            bytes=self._bytes(), limit_bytes=self._config.max_bytes, seen_ids=self._now.count(),
            dead_records=len(self._now.dead_records), dead_events=len(self._now.dead_events),
        )  # fmt: skip

    def _check(self, held: Held) -> None:
        epoch, last = self._now.epochs.get(held.shard, 0), self._now.lasts.get(held.shard, Position())
        if (epoch, last) != (held.epoch, held.last):
            raise Outdated(
                f"shard {held.shard}: the writer believes epoch {held.epoch} and last seq {held.last.seq}, the store has "
                f"epoch {epoch} and last seq {last.seq}: it was restored, emptied, or taken over by another writer"
            )

    def _append(self, shard: int, last: Position, segments: Sequence[Segment]) -> Position:
        end = last
        for segment in segments:
            if segment.first != end.seq + 1:
                raise ValueError(f"a segment begins at {segment.first} behind {end.seq}")
            end = Position(segment.last, segment.chain)
        self._now.log.setdefault(shard, []).extend(segments)
        return end

    def _bytes(self) -> int:
        log = sum(len(segment.data) for segments in self._now.log.values() for segment in segments)
        kept = sum(len(retry.event.body) for retries in self._now.retries.values() for retry in retries.values())
        return log + kept + _SEEN_BYTES * self._now.count()


async def open_store(config: Config) -> MemoryStore:
    """An empty store."""
    return MemoryStore(config)


async def open_read(config: Config) -> MemoryStore:
    """An empty one, too: what a daemon has in memory only the daemon can show."""
    return MemoryStore(config)


def obstacles(config: Config) -> list[str]:  # noqa: ARG001 the same for every kind of store
    """None."""
    return []
